import asyncio
import json
import os
from threading import Lock

from agents import Agent, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from aiobotocore.session import get_session
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner

from openai_agents_session import (
    DynamoDBSession,
    create_table_if_not_exists,
    durable,
)
from openai_agents_session.environment import open_session, run
from openai_agents_session.runs import PendingRuns

TABLE = os.environ.setdefault("SESSION_TABLE", "agent-sessions")


@function_tool(needs_approval=True)
def issue_refund(order: str, amount: float) -> str:
    """Pay money back."""
    return f"Refunded {amount:.2f} euros for order {order}."


refund = {"order": "A-17", "amount": 25}
script = [
    [function_call("issue_refund", refund, call_id="call_1")],
    [assistant_message("The money is on its way.")],
]
agent = Agent(name="Clerk", tools=[issue_refund], model=ScriptedModel(script))


@durable_execution
def handler(event, context):
    session = run(open_session(event["session_id"]))
    message = event["message"]
    return durable.run(context, agent, message, session=session).to_dict()


alone = Lock()  # Lambda's environments have one invocation at a time


def invoked(event, context):
    with alone:
        return handler(event, context)


async def with_session(work):
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, TABLE)
        await work(DynamoDBSession("durable", client, TABLE))


async def approve(session):
    """Another function's part: it decides, and sends that to the callback."""
    waiting = await PendingRuns(session).get()
    print("waits:", waiting.approvals[0].tool, waiting.approvals[0].arguments)
    decisions = {call.call_id: True for call in waiting.approvals}
    send = service.send_callback_success
    await durable.decide(session, waiting.run_id, decisions, send=send)


with DurableFunctionTestRunner(invoked) as service:
    asyncio.run(with_session(DynamoDBSession.clear_session))
    event = {"session_id": "durable", "message": "Refund 25 euros."}
    execution = service.run_async(input=json.dumps(event))
    service.wait_for_callback(execution, timeout=60)
    with alone:  # the invocation that asked has ended, and its run waits
        asyncio.run(with_session(approve))
    ended = service.wait_for_result(execution, timeout=60)
    print(ended.error or json.loads(ended.result)["answer"])
