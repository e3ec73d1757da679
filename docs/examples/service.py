import asyncio
import os
from uuid import uuid4

from agents import Agent
from agents.testing import ScriptedModel, assistant_message
from aiobotocore.session import get_session

from openai_agents_session import create_table_if_not_exists
from openai_agents_session.service import AgentService

TABLE = os.environ.setdefault("SESSION_TABLE", "agent-sessions")


def build_agent(settings):
    answers = [[assistant_message("Hello!")], [assistant_message("Again!")]]
    return Agent(name="Clerk", model=ScriptedModel(answers))


service = AgentService(build_agent)
handler = service.handler


class Context:
    """What Lambda gives a handler beside the event, as far as it is read."""

    function_name = "clerk"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:1:function:clerk"

    def __init__(self):
        self.aws_request_id = str(uuid4())

    def get_remaining_time_in_millis(self):
        return 60_000


async def make_table():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, TABLE)


asyncio.run(make_table())
for message in ("Hello.", "And again."):
    event = {"session_id": "local", "message": message}
    print(handler(event, Context())["answer"])
