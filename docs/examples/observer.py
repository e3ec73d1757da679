import asyncio
from collections import Counter

from aiobotocore.session import get_session

from openai_agents_session import (
    DynamoDBSession,
    StorageOptions,
    create_table_if_not_exists,
)

units = Counter()


def observer(event):
    """Called for each request: do what takes microseconds, such as counting."""
    units["read"] += event.read_units
    units["write"] += event.write_units


async def main():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        options = StorageOptions(observer=observer)
        session = DynamoDBSession(
            "observed", client, "agent-sessions", options=options
        )
        await session.add_items([{"role": "user", "content": "Hello"}])
        print(dict(units))


asyncio.run(main())
