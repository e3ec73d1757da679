import asyncio

from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession, create_table_if_not_exists


async def main():
    async with get_session().create_client("dynamodb") as client:
        await create_table_if_not_exists(client, "agent-sessions")
        session = DynamoDBSession(
            "user-42", client, "agent-sessions", ttl_seconds=30 * 86400
        )
        await session.add_items([{"role": "user", "content": "Hello"}])
        print(await session.get_items(limit=10))
        print(await session.describe())


asyncio.run(main())
