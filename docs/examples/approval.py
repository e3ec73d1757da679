import asyncio

from agents import Agent, Runner, RunState, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession, create_table_if_not_exists
from openai_agents_session.runs import PendingRuns, calls_of


@function_tool(needs_approval=True)
def issue_refund(order: str, amount: float) -> str:
    """Pay money back."""
    return f"Refunded {amount:.2f} euros for order {order}."


def clerk(*steps):
    return Agent(
        name="Clerk", tools=[issue_refund], model=ScriptedModel([list(steps)])
    )


async def ask(session):
    """The invocation that a customer makes: it ends with a run that waits."""
    agent = clerk(
        function_call(
            "issue_refund", {"order": "A-17", "amount": 25}, call_id="call_1"
        )
    )
    result = await Runner.run(
        agent, "Refund 25 euros for order A-17", session=session
    )
    run = await PendingRuns(session).park(
        result.to_state().to_string(), calls_of(result.interruptions)
    )
    print("waits:", run.approvals[0].tool, run.approvals[0].arguments)
    return run.run_id


async def decide(session, run_id):
    """A supervisor's invocation, anywhere: of two at once, one gets the run."""
    runs = PendingRuns(session)
    run = await runs.claim(run_id, {"call_1": True})
    agent = clerk(assistant_message("The money is on its way."))
    state = await RunState.from_string(agent, run.state)
    for interruption in state.get_interruptions():
        state.approve(interruption)
    result = await Runner.run(agent, state, session=session)
    await runs.settle(run_id)
    print(result.final_output)


async def main():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        run_id = await ask(
            DynamoDBSession("approvals", client, "agent-sessions")
        )
        await decide(
            DynamoDBSession("approvals", client, "agent-sessions"), run_id
        )


asyncio.run(main())
