"""Fills a table with thousands of sessions quickly: a few are written by the library, the others are copies of these.

python -m tests.support.bulk ENDPOINT TABLE 20000
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from aiobotocore.session import get_session

from openai_agents_session import DynamoDBSession, StorageOptions, create_table_if_not_exists
from openai_agents_session.storage.keys import SEPARATOR

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

PATTERN = (2, 4, 4, 6, 8, 8, 12, 2, 4, 40)
"""Items of the sessions that are copied: one of ten has parts."""

_BATCH = 25
_AT_ONCE = 8


async def fill(client: DynamoDBClient, table: str, count: int, *, owner: str | None = None) -> list[str]:
    """Put so many sessions of ordinary sizes into a table.

    Args:
        client: Of the engine.
        table: The table; it must exist.
        count: How many sessions.
        owner: Whom they are bound to, or None.

    Returns:
        Their ids.
    """
    templates = [await _template(client, table, number, owner) for number in range(len(PATTERN))]
    names = [f"user-{number:06}@{number:032x}" for number in range(count)]

    async def write(batch: list[Any]) -> None:
        requests: Any = {table: [{"PutRequest": {"Item": item}} for item in batch]}
        while requests:
            requests = (await client.batch_write_item(RequestItems=requests)).get("UnprocessedItems")

    items = _copies(names, templates)
    while batches := [batch for _ in range(_AT_ONCE) if (batch := list(islice(items, _BATCH)))]:
        await asyncio.gather(*(write(batch) for batch in batches))
    for number in range(len(PATTERN)):
        await DynamoDBSession(_name(number), client, table, owner=owner).clear_session()
    return names


def _name(number: int) -> str:
    return f"template-{number}"


async def _template(client: DynamoDBClient, table: str, number: int, owner: str | None) -> list[Any]:
    words = random.Random(number)
    session = DynamoDBSession(_name(number), client, table, owner=owner, options=StorageOptions(cache=None))
    for turn in range(PATTERN[number] // 2):
        question = " ".join(
            words.choices(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], k=20)
        )
        answer = "".join(words.choices("abcdefghijklmnopqrstuvwxyz ", k=400))
        await session.add_items([{"role": "user", "content": f"{turn} {question}"}])
        await session.add_items([{"role": "assistant", "content": answer}])
    head = (await client.get_item(TableName=table, Key={"session_id": {"S": _name(number)}}))["Item"]
    found: list[Any] = [head]
    for slot in range(100):
        part = await client.get_item(TableName=table, Key={"session_id": {"S": f"{_name(number)}{SEPARATOR}{slot}"}})
        if "Item" not in part:
            break
        found.append(part["Item"])
    return found


def _copies(names: Iterable[str], templates: Iterable[list[Any]]) -> Iterator[Any]:
    """The items of the copies. No checksum covers the id, so a copy is as whole as what it was made from."""
    for name, items in zip(names, cycle(list(templates)), strict=False):
        for item in items:
            _, separator, slot = item["session_id"]["S"].partition(SEPARATOR)
            yield {**item, "session_id": {"S": f"{name}{separator}{slot}"}}


async def _main(endpoint_url: str, table: str, count: int) -> None:
    session = get_session()
    session.set_credentials("test", "test")
    async with session.create_client("dynamodb", region_name="us-east-1", endpoint_url=endpoint_url) as client:
        await create_table_if_not_exists(client, table)
        names = await fill(client, table, count)
        print(f"{len(names):,} sessions, such as {list(islice(names, 2))}")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
