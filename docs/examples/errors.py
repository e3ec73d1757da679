import asyncio

from aiobotocore.session import get_session

from openai_agents_session import (
    DynamoDBSession,
    OutcomeUnknownError,
    SessionError,
    WrongOwnerError,
    create_table_if_not_exists,
)


async def append(session, items):
    """Append once, whatever happens."""
    count = len(await session.get_items())
    try:
        await session.add_items(items)
    except OutcomeUnknownError:  # stored or not: only the history knows
        if len(await session.get_items()) == count:
            raise
    except SessionError as error:  # every other error: nothing was stored
        print(f"nothing was stored: {type(error).__name__}")


async def main():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        await append(
            DynamoDBSession("mine", client, "agent-sessions", owner="ada"),
            [{"role": "user", "content": "Hi"}],
        )
        try:
            await DynamoDBSession(
                "mine", client, "agent-sessions", owner="bob"
            ).get_items()
        except WrongOwnerError:
            print("not bob's")


asyncio.run(main())
