"""The floor: each batch written once at its own size, and one read of the newest 4 KB a turn.

No store that can be read back does with less, unless it compresses; the deflated floor writes each batch deflated. The
same three calls made raw are what the client's CPU time is compared with.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from tools.bench.workers import worker

_NEWEST_BYTES = 4_096


class Floor:
    """Raw calls of one client, for one conversation."""

    def __init__(self, client: Any, session_id: str, *, deflate: bool) -> None:
        self._client = client
        self._session_id = session_id
        self._deflate = deflate

    async def prepare(self) -> None:
        """Write the 4 KB that every turn reads."""
        item = self._item("newest", [])
        used = sum(len(name) + len(text) for name, value in item.items() for text in value.values())
        item["padding"] = {"S": "x" * (_NEWEST_BYTES - used - len("padding"))}
        await self._client.put_item(TableName=worker.TABLE, Item=item)

    async def turn(self, number: int, turn: worker.Turn) -> int:
        """One read, one write a batch."""
        await self._client.get_item(TableName=worker.TABLE, Key=self._key("newest"), ConsistentRead=True)
        for index, batch in enumerate(turn):
            await self._client.put_item(TableName=worker.TABLE, Item=self._item(f"{number}.{index}", batch))
        return number - 1

    async def read(self) -> int:
        """The one read."""
        await self._client.get_item(TableName=worker.TABLE, Key=self._key("newest"), ConsistentRead=True)
        return 0

    def questions(self, history: int) -> int:
        """What could be there, if it could be read."""
        return history

    def _key(self, part: str) -> dict[str, Any]:
        return {"session_id": {"S": f"{self._session_id}/{part}"}}

    def _item(self, part: str, batch: Any) -> dict[str, Any]:
        text = json.dumps(batch)
        data = {"B": zlib.compress(text.encode())} if self._deflate else {"S": text}
        return {**self._key(part), "data": data}


async def make_table(client: Any) -> None:
    """Make the table that the reference documents, unless it is there."""
    try:
        await client.create_table(
            TableName=worker.TABLE,
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise


@asynccontextmanager
async def client(task: worker.Task) -> AsyncIterator[Any]:
    """A client of the task's endpoint, with the table made."""
    session = get_session()
    async with session.create_client("dynamodb", region_name=worker.REGION, endpoint_url=task.endpoint_url) as opened:
        await make_table(opened)
        yield opened


@asynccontextmanager
async def open_stores(task: worker.Task) -> AsyncIterator[Mapping[str, worker.Store]]:
    """The floor alone."""
    async with client(task) as opened:
        floor = Floor(opened, task.session_id, deflate=task.options.get("deflate", False))
        await floor.prepare()
        yield {"session": floor}


if __name__ == "__main__":
    worker.main(open_stores)
