"""Finds the stored sizes that the meter needs: one request's units, with look-ups of its own that nobody pays for.

Sizes of written items are remembered, so a look-up is needed only for an item not seen before and after each
UpdateItem. Everything that writes to a metered table must therefore pass through the same ledger.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tools.emulation import meter
from tools.emulation.meter import Touched, Units

Payload = Mapping[str, Any]
Place = tuple[str, str]
"""Table name and key in canonical JSON: which item."""

Ask = Callable[[str, Payload], Awaitable[Payload]]
"""Sends an operation to the engine, unmetered, and returns the answer; raises LookupError on an error."""

Send = Callable[[], Awaitable[tuple[int, str | None, Payload]]]
"""Sends the request itself: HTTP status, error name and answer."""

_FREE = re.compile(
    r"(Create|Describe|Update|Delete|List|Tag|Untag)(\w*)(Table|Tables|TimeToLive|Resource|Tags\w*|Backups)$"
)
_UNFILTERED = ("FilterExpression", "ProjectionExpression", "Select", "AttributesToGet", "QueryFilter", "ScanFilter")


class UnknownCostError(Exception):
    """The meter has no rules for an operation."""


class Ledger:
    """The sizes of the items behind one endpoint."""

    def __init__(self) -> None:
        self._sizes: dict[Place, int] = {}
        self._key_names: dict[str, tuple[str, ...]] = {}
        self._locks: dict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tokens: set[str] = set()

    async def units(self, operation: str, payload: Payload, send: Send, ask: Ask) -> Units:
        """Send a request and tell what it cost.

        Writers of one item take turns, so that each is charged for what it really found there.

        Args:
            operation: Such as ``"PutItem"``.
            payload: The request in wire form.
            send: Sends it; called exactly once.
            ask: Sends look-ups.

        Raises:
            UnknownCostError: the operation is one that the meter has no rules for; it was not sent.
        """
        try:
            writes = [(place, write) async for place, write in self._writes(operation, payload, ask)]
        except LookupError:  # no such table, or a request that the engine will refuse
            await send()
            return Units()
        if writes:
            return await self._write(operation, payload, writes, send, ask)
        if operation in _READERS:
            status, error, answer = await send()
            if not meter.is_charged(status, error):
                return Units()
            return await _READERS[operation](self, payload, answer, ask)
        if not _FREE.match(operation):
            raise UnknownCostError(f"no rule for what {operation} costs")
        await send()
        if operation == "DeleteTable":
            self._forget(payload["TableName"])
        return Units()

    async def _write(
        self, operation: str, payload: Payload, writes: list[tuple[Place, Payload]], send: Send, ask: Ask
    ) -> Units:
        async with self._turn(place for place, _ in writes):
            before = {place: await self._size(place, ask) for place, _ in writes}
            status, error, answer = await send()
            left = {"RequestItems": answer.get("UnprocessedItems", {})}
            unprocessed = {place async for place, _ in self._writes("BatchWriteItem", left, ask)}
            done = [(place, kind) for place, kind in writes if place not in unprocessed]
            if status == 200:
                for place, kind in done:
                    await self._note(place, kind, ask)
            elif not meter.is_charged(status, error):
                # A failure on the server's side may have applied the write.
                for place, _ in writes if status >= 500 else ():
                    self._sizes.pop(place, None)
                return Units()
            touched = [Touched(before[place], self._sizes[place]) for place, _ in done]
        if operation != "TransactWriteItems":
            return meter.written(touched)
        token = payload.get("ClientRequestToken")
        replayed = token in self._tokens
        if token and status == 200:
            self._tokens.add(token)
        return meter.transaction_written(touched, replayed=replayed)

    async def _note(self, place: Place, write: Payload, ask: Ask) -> None:
        """Remember an item's size after a write that went through."""
        match write:
            case {"Item": item}:
                self._sizes[place] = meter.item_size(item)
            case {"Delete": True}:
                self._sizes[place] = 0
            case {"Update": True}:
                self._sizes[place] = await _stored_size(place, ask)

    async def _writes(self, operation: str, payload: Payload, ask: Ask) -> AsyncIterator[tuple[Place, Payload]]:
        """Each item that a request writes or checks, with the write in a common form."""
        for table, kind, write in _flat(operation, payload):
            if kind == "Put":
                names = await self._key(table, ask)
                yield _place(table, {name: write["Item"][name] for name in names}), {"Item": write["Item"]}
            else:
                yield _place(table, write["Key"]), {kind: True}

    async def _key(self, table: str, ask: Ask) -> tuple[str, ...]:
        if table not in self._key_names:
            description = await ask("DescribeTable", {"TableName": table})
            schema = description["Table"]["KeySchema"]
            self._key_names[table] = tuple(part["AttributeName"] for part in schema)
        return self._key_names[table]

    def _forget(self, table: str) -> None:
        self._key_names.pop(table, None)
        self._sizes = {place: size for place, size in self._sizes.items() if place[0] != table}

    async def _size(self, place: Place, ask: Ask) -> int:
        if place not in self._sizes:
            self._sizes[place] = await _stored_size(place, ask)
        return self._sizes[place]

    @asynccontextmanager
    async def _turn(self, places: Iterable[Place]) -> AsyncIterator[None]:
        async with AsyncExitStack() as turns:
            for place in sorted(set(places)):  # in one order, so that two writers cannot wait for each other
                await turns.enter_async_context(self._locks[place])
            yield

    async def _get(self, payload: Payload, answer: Payload, ask: Ask) -> Units:
        consistent = payload.get("ConsistentRead", False)
        if "ProjectionExpression" in payload or "AttributesToGet" in payload:
            return meter.read_each([await _stored_size(_place_of(payload), ask)], consistent=consistent)
        return meter.read_each([meter.item_size(answer.get("Item", {}))], consistent=consistent)

    async def _batch_get(self, payload: Payload, answer: Payload, ask: Ask) -> Units:
        total = 0.0
        for table, wanted in payload["RequestItems"].items():
            left = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            processed = [key for key in wanted["Keys"] if key not in left]
            if "ProjectionExpression" in wanted or "AttributesToGet" in wanted:
                sizes = [await _stored_size(_place(table, key), ask) for key in processed]
            else:
                sizes = [meter.item_size(item) for item in answer.get("Responses", {}).get(table, [])]
                sizes += [0] * (len(processed) - len(sizes))
            total += meter.read_each(sizes, consistent=wanted.get("ConsistentRead", False)).read
        return Units(read=total)

    async def _transact_get(self, payload: Payload, answer: Payload, ask: Ask) -> Units:
        return meter.transaction_read(
            [await _stored_size(_place_of(part["Get"]), ask) for part in payload["TransactItems"]]
        )

    async def _evaluate(self, operation: str, payload: Payload, answer: Payload, ask: Ask) -> Units:
        """Query or Scan: what a filter or projection left out is paid for all the same, so look again without them."""
        items = answer.get("Items", [])
        if any(name in payload for name in _UNFILTERED):
            items = (
                (await ask(operation, _unfiltered(payload, answer["ScannedCount"])))["Items"]
                if answer["ScannedCount"]
                else []
            )
        return meter.read_together(map(meter.item_size, items), consistent=payload.get("ConsistentRead", False))

    async def _query(self, payload: Payload, answer: Payload, ask: Ask) -> Units:
        return await self._evaluate("Query", payload, answer, ask)

    async def _scan(self, payload: Payload, answer: Payload, ask: Ask) -> Units:
        return await self._evaluate("Scan", payload, answer, ask)


_Reader = Callable[[Ledger, Payload, Payload, Ask], Awaitable[Units]]
_READERS: Mapping[str, _Reader] = {
    "GetItem": Ledger._get,
    "BatchGetItem": Ledger._batch_get,
    "TransactGetItems": Ledger._transact_get,
    "Query": Ledger._query,
    "Scan": Ledger._scan,
}


def _flat(operation: str, payload: Payload) -> Iterable[tuple[str, str, Payload]]:
    """Table, kind (Put, Update, Delete, ConditionCheck) and body of each write in a request."""
    match operation:
        case "PutItem" | "UpdateItem" | "DeleteItem":
            yield payload["TableName"], operation.removesuffix("Item"), payload
        case "BatchWriteItem":
            for table, requests in payload.get("RequestItems", {}).items():
                for request in requests:
                    ((name, write),) = request.items()
                    yield table, name.removesuffix("Request"), write
        case "TransactWriteItems":
            for action in payload.get("TransactItems", ()):
                ((kind, write),) = action.items()
                yield write["TableName"], kind, write


def _unfiltered(payload: Payload, evaluated: int) -> Payload:
    """The same query over the same items, each whole."""
    bare = {name: value for name, value in payload.items() if name not in _UNFILTERED}
    used = set(re.findall(r"[#:]\w+", bare.get("KeyConditionExpression", "")))
    for names in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        kept = {name: value for name, value in bare.pop(names, {}).items() if name in used}
        if kept:
            bare[names] = kept
    return {**bare, "Limit": evaluated}


def _place(table: str, key: Payload) -> Place:
    return table, json.dumps(key, sort_keys=True)


def _place_of(request: Payload) -> Place:
    return _place(request["TableName"], request["Key"])


async def _stored_size(place: Place, ask: Ask) -> int:
    table, key = place
    answer = await ask("GetItem", {"TableName": table, "Key": json.loads(key), "ConsistentRead": True})
    return meter.item_size(answer.get("Item", {}))
