import asyncio

from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession, create_table_if_not_exists


@function_tool
def stock(article: str) -> int:
    """How many pieces of an article are in stock."""
    return {"lamp": 7}.get(article, 0)


# A model without a key, which answers as written here. Without `model=` the
# agent asks OpenAI.
script = ScriptedModel(
    [
        [function_call("stock", {"article": "lamp"}, call_id="call_1")],
        [assistant_message("Seven lamps are left.")],
        [assistant_message("You asked about lamps.")],
    ]
)
agent = Agent(
    name="Clerk",
    instructions="You know what is in stock.",
    tools=[stock],
    model=script,
)


async def main():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        for message in ("How many lamps are left?", "What did I ask?"):
            session = DynamoDBSession(
                "notebook", client, "agent-sessions"
            )  # a new object, as in a new process
            result = await Runner.run(agent, message, session=session)
            print(result.final_output)


asyncio.run(main())
