import asyncio
import sys

from agents import SQLiteSession
from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession, create_table_if_not_exists


async def move(old, new):
    """Copy a session of any kind of the SDK's, unless it is there already."""
    if await new.get_items(limit=1):
        print(f"{old.session_id}: is there already")
        return
    items = await old.get_items()
    await new.add_items(items)  # one batch: whole, or not at all
    print(f"{old.session_id}: {len(items)} items")


async def main(path, session_ids):
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        for session_id in session_ids:
            old = SQLiteSession(session_id, path)
            await move(
                old, DynamoDBSession(session_id, client, "agent-sessions")
            )
            old.close()


asyncio.run(main(sys.argv[1], sys.argv[2:]))
