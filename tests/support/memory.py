"""A DynamoDB client that keeps items in memory: for one writer at a time, since it looks at no condition.

It is what a simple fake in somebody's own tests would be, and counts write units by the documented rules. With it,
years of a session's life pass in a second.
"""

from __future__ import annotations

from typing import Any

from openai_agents_session.storage.capacity import item_size, write_units


class MemoryClient:
    """The operations that a session whose history fits one item asks for, and no others."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.units = 0

    async def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        item = self.items.get(request["Key"]["session_id"]["S"])
        return {"Item": dict(item)} if item else {}

    async def put_item(self, **request: Any) -> dict[str, Any]:
        """PutItem."""
        key = request["Item"]["session_id"]["S"]
        self._charge(self.items.get(key, {}), request["Item"])
        self.items[key] = dict(request["Item"])
        return {}

    async def delete_item(self, **request: Any) -> dict[str, Any]:
        """DeleteItem."""
        self._charge(self.items.pop(request["Key"]["session_id"]["S"], {}))
        return {}

    def _charge(self, *items: dict[str, Any]) -> int:
        units = write_units(max(map(item_size, items)))
        self.units += units
        return units


class MemoryTable(MemoryClient):
    """All that a session asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.update_units = 0

    async def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """BatchGetItem."""
        ((table, asked),) = request["RequestItems"].items()
        keys = [key["session_id"]["S"] for key in asked["Keys"]]
        return {"Responses": {table: [dict(self.items[key]) for key in keys if key in self.items]}}

    async def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem, as far as it gives a part another expiry."""
        item = self.items[request["Key"]["session_id"]["S"]]
        self.update_units += self._charge(item)
        item["ttl"] = request["ExpressionAttributeValues"][":ttl"]
        return {}
