import asyncio

from agents import Agent, Runner
from agents.testing import ScriptedModel, assistant_message
from aiobotocore.session import get_session

from openai_agents_session import (
    DynamoDBSession,
    LeaseUnavailableError,
    create_table_if_not_exists,
)
from openai_agents_session.turns import turn


class Context:
    """Stands for what Lambda hands to a handler."""

    def get_remaining_time_in_millis(self):
        return 30_000


agent = Agent(
    name="Assistant",
    model=ScriptedModel([[assistant_message("Good morning.")]]),
)


async def main(context):
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        session = DynamoDBSession("turns", client, "agent-sessions")
        async with turn(session, context) as running:
            print(f"stopped in {running.seconds_left:.0f} s at the latest")
            try:  # whoever comes meanwhile is told to wait
                async with turn(
                    DynamoDBSession("turns", client, "agent-sessions"),
                    context,
                    wait_seconds=0,
                ):
                    pass
            except LeaseUnavailableError as error:
                print(f"busy for at most {error.retry_after:.0f} s")
            result = await Runner.run(agent, "Hello", session=session)
        print(result.final_output)


asyncio.run(main(Context()))
