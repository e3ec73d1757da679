"""The writer of the reference library (PyPI openai-agents-session 0.1.0), as far as the table sees it.

It reads the item, eventually consistent, extends its list and puts the whole back without a condition. What it
overwrites is lost, and that is its own doing; the oracle asks only that ours then never takes a write for stored,
or stores it again, without knowing.
"""

from __future__ import annotations

import json
from typing import Any

from .wire import Client


class ReferenceSession:
    """A session of the reference library.

    Args:
        key: The session.
        client: The client.
        table: The table's name.
        now: Unix seconds.
        ttl: ``ttl_seconds``.
    """

    def __init__(self, key: str, client: Client, table: str, now: Any, ttl: int | None) -> None:
        self._key = key
        self._client = client
        self._table = table
        self._now = now
        self._ttl = ttl

    async def get_items(self) -> list[Any]:
        """Its history."""
        response = await self._client.get_item(
            TableName=self._table,
            Key={"session_id": {"S": self._key}},
            ProjectionExpression="conversation_data",
        )
        items: list[Any] = json.loads(response.get("Item", {}).get("conversation_data", {}).get("S", "[]"))
        return items

    async def add_items(self, items: list[Any]) -> None:
        """Append."""
        await self._put([*await self.get_items(), *items])

    async def pop_item(self) -> Any:
        """Take the newest."""
        items = await self.get_items()
        if not items:
            return None
        item = items.pop()
        await self._put(items)
        return item

    async def clear_session(self) -> None:
        """Delete."""
        await self._client.delete_item(TableName=self._table, Key={"session_id": {"S": self._key}})

    async def _put(self, items: list[Any]) -> None:
        item: dict[str, Any] = {
            "session_id": {"S": self._key},
            "conversation_data": {"S": json.dumps(items)},
            "updated_at": {"N": str(int(self._now()))},
        }
        if self._ttl is not None:
            item["ttl"] = {"N": str(int(self._now()) + self._ttl)}
        await self._client.put_item(TableName=self._table, Item=item)
