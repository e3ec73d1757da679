"""Calls the reference library for `tests.support.reference`, in an environment where it has our import name.

It takes one JSON request a line on its standard input and answers with one JSON line: the method's result, or the
error's class and message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any


async def main() -> None:
    """Answer until the input ends."""
    from aiobotocore.session import get_session

    session = get_session()
    session.set_credentials("test", "test")
    clients: dict[str, Any] = {}
    async with AsyncExitStack() as opened:
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked: Any = json.loads(line)
            url = asked["endpoint_url"]
            if url not in clients:
                connecting = session.create_client("dynamodb", region_name="us-east-1", endpoint_url=url)
                clients[url] = await opened.enter_async_context(connecting)
            print(json.dumps(await answer(clients[url], asked)), flush=True)


async def answer(client: Any, asked: Any) -> dict[str, Any]:
    """What a method of a new session object returns, or raises."""
    from openai_agents_session import DynamoDBSession

    session = DynamoDBSession(asked["session"], client, asked["table"], ttl_seconds=asked["ttl"])
    try:
        return {"result": await getattr(session, asked["method"])(*asked["arguments"])}
    except Exception as error:  # noqa: BLE001 - whatever the reference does is for the test to judge
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    asyncio.run(main())
