"""The one file that talks to DynamoDB.

Each method of ``Table`` makes one kind of request and says what came of it in the store's own terms (``aws_errors``).
Reads are repeated here, as repeating them is always safe. Whether a write may be repeated is for the caller to say.
Every request is paid from its operation's ``RetryBudget``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ..errors import StorageError, TableNotFoundError, UnavailableError
from ..events import Event, Observer
from .aws_errors import RequestFailed, refusal, translated, unavailable, without_index
from .capacity import BATCH_GET_LIMIT_BYTES, BATCH_GET_LIMIT_KEYS
from .head import Attributes, Head
from .part import Part, part_attributes, part_end, part_from_attributes
from .record import DamagedRecordError
from .retry import RetryBudget

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

OWNER_INDEX = "owner-active-index"
"""The index that lists the conversations of an owner."""

_KEY_DEFINITIONS: Sequence[Any] = [{"AttributeName": "session_id", "AttributeType": "S"}]
INDEX_DEFINITIONS: Sequence[Any] = [
    *_KEY_DEFINITIONS,
    {"AttributeName": "owner", "AttributeType": "S"},
    {"AttributeName": "active", "AttributeType": "N"},
]
"""The attributes that the keys of the table and of its index are."""

INDEX: Mapping[str, Any] = {
    "IndexName": OWNER_INDEX,
    "KeySchema": [
        {"AttributeName": "owner", "KeyType": "HASH"},
        {"AttributeName": "active", "KeyType": "RANGE"},
    ],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"]},
}
"""The index, as a request to make it describes it."""

_READS = frozenset({"get_item", "batch_get_item", "query", "scan", "describe_table", "describe_time_to_live"})
_COUNTED = frozenset(
    {"get_item", "batch_get_item", "query", "scan", "put_item", "update_item", "delete_item", "transact_write_items"}
)
_OF_A_HEAD = ("session_id", "state", "parts", "owner", "ttl", "updated_at", "title", "active", "profile")
_AT_ONCE = 8
_BATCH_BYTES = BATCH_GET_LIMIT_BYTES * 3 // 4


_T = TypeVar("_T")


async def at_once(work: Callable[[_T], Awaitable[Any]], entries: Iterable[_T]) -> list[Any]:
    """The results of the same work on each entry, a few at a time, in the order of the entries.

    All have ended when it returns or raises: an operation that is over sends no more requests.
    """
    numbered = enumerate(entries)
    results: dict[int, Any] = {}

    async def worker() -> None:
        for number, entry in numbered:
            results[number] = await work(entry)

    outcomes = await asyncio.gather(*(worker() for _ in range(_AT_ONCE)), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [results[number] for number in sorted(results)]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of the index.

    Attributes:
        session_id: The session.
        active: Unix millisecond of the first write on the day of its last one.
        title: Its title, or None.
    """

    session_id: str
    active: int
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of sessions, through a client that somebody else owns."""

    client: DynamoDBClient
    name: str
    observer: Observer | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """Distinguishes this table from others that the process uses."""
        meta = getattr(self.client, "meta", None)
        return str(getattr(meta, "endpoint_url", "")), self.name

    # --- heads -----------------------------------------------------------------------------------------------------

    async def read_item(self, key: str, budget: RetryBudget) -> Attributes | None:
        """The item under a key, strongly consistent; None when there is none."""
        response = await self._read("get_item", budget, TableName=self.name, Key=_key(key), ConsistentRead=True)
        item: Attributes | None = response.get("Item")
        return item

    async def put_head(self, attributes: Mapping[str, Any], expected: Head, budget: RetryBudget) -> None:
        """Write a head in place of the one that was seen.

        Raises:
            ConditionFailed: The table holds another.
            RequestFailed: It failed, or nobody knows.
        """
        await self._put(attributes, *_unchanged(expected), budget)

    async def _put(
        self,
        item: Mapping[str, Any],
        condition: str,
        names: dict[str, str],
        values: dict[str, Any],
        budget: RetryBudget,
    ) -> None:
        await self._send(
            "put_item",
            budget,
            TableName=self.name,
            Item=dict(item),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **_expression(names, values),
        )

    async def put_whole(
        self, attributes: Mapping[str, Any], parts: Sequence[Part], expected: Head, budget: RetryBudget
    ) -> None:
        """Write a head in place of the one that was seen, and parts in place of nothing: all of it or nothing.

        Raises:
            ConditionFailed: The table holds another head, or something under the key of a part.
            RequestFailed: It failed, or nobody knows.
        """
        head = _transacted(self.name, attributes, *_unchanged(expected))
        free: tuple[str, dict[str, str], dict[str, Any]] = ("attribute_not_exists(#key)", {"#key": "session_id"}, {})
        writes = [head, *(_transacted(self.name, part_attributes(part), *free) for part in parts)]
        await self._send("transact_write_items", budget, TransactItems=writes)

    async def read_items(self, keys: Iterable[str], budget: RetryBudget) -> list[Attributes]:
        """The items under some keys, strongly consistent; nothing for those that are missing."""
        return await self._read_items(dict.fromkeys(keys, 0), budget, ConsistentRead=True)

    async def read_heads(self, keys: Iterable[str], budget: RetryBudget) -> list[Attributes]:
        """The heads under some keys, without their items; nothing for those that are missing."""
        names = {f"#{number}": name for number, name in enumerate(_OF_A_HEAD)}
        projection = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        return await self._read_items(dict.fromkeys(keys, 0), budget, ConsistentRead=True, **projection)

    async def read_index(
        self, owner: str, start: IndexEntry | None, limit: int, budget: RetryBudget
    ) -> tuple[list[IndexEntry], IndexEntry | None]:
        """Entries of an owner, newest first, and the one to go on after; None at the end. Eventually consistent.

        Args:
            owner: The owner.
            start: The entry to go on after; None for the newest.
            limit: How many at the most.
            budget: The operation's.

        Raises:
            IndexNotFoundError: The table has no such index.
            UnavailableError: It is being built.
        """
        more = {} if start is None else {"ExclusiveStartKey": _index_key(owner, start)}
        try:
            response = await self._read(
                "query",
                budget,
                TableName=self.name,
                IndexName=OWNER_INDEX,
                KeyConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": owner}},
                ScanIndexForward=False,
                Limit=limit,
                **more,
            )
        except StorageError as error:
            raise without_index(self.name, OWNER_INDEX, error) from error.__cause__
        last = response.get("LastEvaluatedKey")
        return [_index_entry(item) for item in response["Items"]], last and _index_entry(last)

    async def delete_head(self, head: Head, budget: RetryBudget) -> None:
        """Delete a head that is as it was seen. Raises like ``put_head``."""
        await self._delete(head.session_id, *_unchanged(head), budget)

    async def delete_seen(self, session_id: str, item: Attributes, budget: RetryBudget) -> None:
        """Delete a session's item if it is still the one that was seen, readable or not. Raises like ``put_head``."""
        await self._delete(session_id, *_still(item.get("commit"), item.get("conversation_data")), budget)

    async def _delete(
        self, key: str, condition: str, names: dict[str, str], values: dict[str, Any], budget: RetryBudget
    ) -> None:
        await self._send(
            "delete_item",
            budget,
            TableName=self.name,
            Key=_key(key),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **_expression(names, values),
        )

    # --- parts -----------------------------------------------------------------------------------------------------

    async def read_parts(
        self, sizes: Mapping[str, int], budget: RetryBudget, *, consistent: bool
    ) -> dict[str, Part | None]:
        """The parts under some keys; None for those that cannot be decoded, none for those that are missing.

        Args:
            sizes: The keys, each with the expected size of its item in bytes.
            budget: How long to ask again for what DynamoDB leaves unprocessed.
            consistent: Strongly consistent, at twice the price. A part never changes its content within a generation,
                so the cheaper read is enough when it finds the generation that the head names.
        """
        items = await self._read_items(sizes, budget, ConsistentRead=consistent)
        return {item["session_id"]["S"]: _part(item) for item in items}

    async def read_ends(self, keys: Iterable[str], budget: RetryBudget) -> dict[str, int | None]:
        """When each part expires, in Unix seconds, or None for never; nothing for those that are missing."""
        projection = {
            "ProjectionExpression": "#key, #ttl",
            "ExpressionAttributeNames": {"#key": "session_id", "#ttl": "ttl"},
        }
        items = await self._read_items(dict.fromkeys(keys, 0), budget, ConsistentRead=True, **projection)
        return {item["session_id"]["S"]: part_end(item) for item in items}

    async def _read_items(self, sizes: Mapping[str, int], budget: RetryBudget, **how: Any) -> list[Attributes]:
        batches = await at_once(lambda keys: self._read_batch(keys, budget, how), _batches(sizes))
        return [item for batch in batches for item in batch]

    async def _read_batch(self, keys: Sequence[str], budget: RetryBudget, how: Mapping[str, Any]) -> list[Attributes]:
        items: list[Attributes] = []
        asked: Any = {self.name: {"Keys": [_key(key) for key in keys], **how}}
        while True:
            response = await self._read("batch_get_item", budget, RequestItems=asked)
            items.extend(response["Responses"].get(self.name, []))
            asked = response.get("UnprocessedKeys") or {}
            if not asked:
                return items
            if not await budget.pause():
                raise UnavailableError(f"table {self.name!r}: BatchGetItem kept leaving keys unprocessed")

    async def put_part(self, part: Part, budget: RetryBudget) -> None:
        """Write a slot, unless it holds something of this generation or newer, or of another life of the session.

        Raises:
            ConditionFailed: It does. ``item`` is what it holds.
            RequestFailed: It failed, or nobody knows.
        """
        await self._put(
            part_attributes(part),
            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation < :generation)",
            {"#key": "session_id", "#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": part.epoch}, ":generation": {"N": str(part.generation)}},
            budget,
        )

    async def replace_part(self, part: Part, orphan: Part, budget: RetryBudget) -> None:
        """Write a slot in place of exactly that part. Raises like ``put_part``."""
        await self._put(
            part_attributes(part),
            "#epoch = :epoch AND #generation = :generation",
            {"#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": orphan.epoch}, ":generation": {"N": str(orphan.generation)}},
            budget,
        )

    async def delete_part(self, key: str, epoch: bytes, before_generation: int, budget: RetryBudget) -> None:
        """Delete a slot's item if it is of this life and older than a generation, else raise ``ConditionFailed``."""
        await self._delete(
            key,
            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation < :generation)",
            {"#key": "session_id", "#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": epoch}, ":generation": {"N": str(before_generation)}},
            budget,
        )

    async def delete_own_part(self, key: str, put_id: bytes, budget: RetryBudget) -> None:
        """Delete a slot's item if it is the very part that was put under this id, else raise ``ConditionFailed``."""
        condition, names = (
            "attribute_not_exists(#key) OR #put_id = :put_id",
            {"#key": "session_id", "#put_id": "put_id"},
        )
        await self._delete(key, condition, names, {":put_id": {"B": put_id}}, budget)

    async def delete_key(self, key: str, budget: RetryBudget) -> None:
        """Delete an item whatever it is: for repair and for erasing a session, never in passing."""
        await self._send("delete_item", budget, TableName=self.name, Key=_key(key))

    async def set_part_expiry(
        self, key: str, epoch: bytes, generation: int, expires: int | None, number: int, budget: RetryBudget
    ) -> None:
        """Let a part live longer: until ``expires``, or without an end. It never makes a part's life shorter.

        Args:
            key: The part.
            epoch: Its life.
            generation: Its generation.
            expires: Unix seconds, or None for no end.
            number: Of the head write that needs it. What an earlier one still wants, ``bound_part`` above all, is void.
            budget: The operation's.

        Raises:
            ConditionFailed: It already lives longer, or is not that part any more.
            RequestFailed: It failed, or nobody knows.
        """
        condition, names, values = _part_condition(epoch, generation, number)
        condition += " AND (attribute_not_exists(#fence) OR #fence <= :number)"
        if expires is None:
            update = "SET #fence = :number REMOVE #ttl"
        else:
            update = "SET #fence = :number, #ttl = :ttl"
            condition += " AND attribute_exists(#ttl) AND #ttl < :ttl"
            values[":ttl"] = {"N": str(expires)}
        await self._update(key, update, condition, names, values, budget)

    async def bound_part(
        self, key: str, epoch: bytes, before_generation: int, expires: int, number: int, budget: RetryBudget
    ) -> None:
        """Give a part without an end one, unless a later head needs it, or it was replaced.

        Args:
            key: The part.
            epoch: Its life.
            before_generation: What it must be older than.
            expires: Unix seconds.
            number: Of the head that was written and wants it. What a later one needs, ``set_part_expiry``, is not
                touched. What others wanted to write under the same number has lost, so an equal one does not count.
            budget: The operation's.

        Raises:
            ConditionFailed: There is no such part, it has an end, or a later head needs it.
            RequestFailed: It failed, or nobody knows.
        """
        _, names, values = _part_condition(epoch, before_generation, number)
        condition = "#epoch = :epoch AND #generation < :generation AND attribute_not_exists(#ttl)"
        condition += " AND (attribute_not_exists(#fence) OR #fence <= :number)"
        values[":ttl"] = {"N": str(expires)}
        await self._update(key, "SET #fence = :number, #ttl = :ttl", condition, names, values, budget)

    async def _update(
        self,
        key: str,
        update: str,
        condition: str,
        names: dict[str, str],
        values: dict[str, Any],
        budget: RetryBudget,
    ) -> None:
        await self._send(
            "update_item",
            budget,
            TableName=self.name,
            Key=_key(key),
            UpdateExpression=update,
            ConditionExpression=condition,
            **_expression(names, values),
        )

    # --- the table itself ------------------------------------------------------------------------------------------

    async def create(self, *, enable_ttl: bool, with_index: bool = False, budget: RetryBudget) -> None:
        """Create the table if it does not exist, wait until it can be used, and enable TTL where it is not.

        With the index that lists conversations, if that is asked for; an existing table gets it (``add_index``).

        Raises:
            StorageError: It could not be done.
        """
        try:
            await self._until_active(budget, created=False)
        except TableNotFoundError:
            await self._create(budget, with_index=with_index)
            await self._until_active(budget, created=True)
        if with_index:
            await self.add_index(budget)
        if enable_ttl:
            await self._enable_ttl(budget)

    async def add_index(self, budget: RetryBudget) -> bool:
        """Have DynamoDB build the index where there is none, and wait until it can be read.

        Returns:
            Whether there was none.

        Raises:
            UnavailableError: It is not built when the budget is over; it will be later.
            StorageError: It could not be done.
        """
        described = await self._described(budget)
        is_missing = _index_in(described) is None
        if is_missing:
            throughput = _like_the_table(described)
            try:
                await self._once("update_table", budget, TableName=self.name, **_index_update(throughput))
            except ClientError as error:
                if _code(error) != "ResourceInUseException":  # somebody else is creating it
                    raise refusal(self.name, error) from error
        while (index := _index_in(await self._described(budget))) is None or index["IndexStatus"] != "ACTIVE":
            if not await budget.pause():
                raise UnavailableError(
                    f"table {self.name!r}: its index {OWNER_INDEX!r} is still being built after {budget.seconds:g} s. "
                    "DynamoDB goes on with it; look again later."
                )
        return is_missing

    async def _described(self, budget: RetryBudget) -> Mapping[str, Any]:
        answer = await self._read("describe_table", budget, TableName=self.name)
        described: Mapping[str, Any] = answer.get("Table", {})
        return described

    async def _create(self, budget: RetryBudget, *, with_index: bool) -> None:
        own = {"AttributeDefinitions": _KEY_DEFINITIONS}
        index = {"AttributeDefinitions": INDEX_DEFINITIONS, "GlobalSecondaryIndexes": [INDEX]}
        try:
            await self._once(
                "create_table",
                budget,
                TableName=self.name,
                KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                **(index if with_index else own),
            )
        except ClientError as error:
            if _code(error) != "ResourceInUseException":  # somebody else is creating it
                raise refusal(self.name, error) from error

    async def _until_active(self, budget: RetryBudget, *, created: bool) -> None:
        """Wait while the table is being made, by whomever: until it is active every request to it is refused.

        Args:
            budget: How long.
            created: Whether somebody is known to make it: then DynamoDB may not have heard of it yet.
        """
        while True:
            try:
                answer = await self._read("describe_table", budget, TableName=self.name)
            except TableNotFoundError:
                if not created:
                    raise
                answer = {"Table": {"TableStatus": "CREATING"}}
            status = answer.get("Table", {}).get("TableStatus", "ACTIVE")
            if status in ("ACTIVE", "UPDATING"):
                return
            if not await budget.pause():
                raise UnavailableError(f"table {self.name!r}: it is still {status} after {budget.seconds:g} s")

    async def _enable_ttl(self, budget: RetryBudget) -> None:
        answer = await self._read("describe_time_to_live", budget, TableName=self.name)
        if answer.get("TimeToLiveDescription", {}).get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            return
        try:
            await self._once(
                "update_time_to_live",
                budget,
                TableName=self.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"},
            )
        except ClientError as error:
            if "already enabled" not in str(error):
                raise refusal(self.name, error) from error

    async def _once(self, operation: str, budget: RetryBudget, **request: Any) -> Any:
        """A request about the table itself, whose refusals its caller looks at."""
        try:
            async with asyncio.timeout(budget.request_seconds()):
                return await getattr(self.client, operation)(**request)
        except (BotoCoreError, ResponseParserError, TimeoutError) as error:
            raise translated(self.name, error, sent_once=self._sends_once) from error

    async def scan_page(
        self, start: Attributes | None, budget: RetryBudget, *, heads_only: bool = False
    ) -> tuple[list[Attributes], Attributes | None]:
        """One page of all items, and where the next begins: for operators. In the end it reads the whole table.

        Eventually consistent, at half the price: what a scan saw must be looked at again before it is acted on.

        Args:
            start: Where to begin; None for the beginning.
            budget: How long to repeat it.
            heads_only: Leave out parts. They are read and paid for all the same.
        """
        more: dict[str, Any] = {"ExclusiveStartKey": start} if start else {}
        if heads_only:
            more |= {
                "FilterExpression": "attribute_not_exists(#generation)",
                "ExpressionAttributeNames": {"#generation": "generation"},
            }
        response = await self._read("scan", budget, TableName=self.name, **more)
        return response["Items"], response.get("LastEvaluatedKey")

    # --- how requests end ------------------------------------------------------------------------------------------

    async def _read(self, operation: str, budget: RetryBudget, **request: Any) -> Any:
        while True:
            try:
                return await self._send(operation, budget, **request)
            except RequestFailed as failure:
                if not await budget.pause():
                    raise unavailable(self.name, budget, failure) from failure.cause

    async def _send(self, operation: str, budget: RetryBudget, **request: Any) -> Any:
        if self.observer is None:
            return await self._answer(operation, budget, request)
        if operation in _COUNTED:
            request["ReturnConsumedCapacity"] = "TOTAL"
        began = time.perf_counter()
        error: BaseException | None = None
        answer: Any = {}
        try:
            answer = await self._answer(operation, budget, request)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.observer(_request_event(operation, answer, time.perf_counter() - began, error))
        return answer

    async def _answer(self, operation: str, budget: RetryBudget, request: dict[str, Any]) -> Any:
        seconds = budget.request_seconds()
        if not seconds:
            raise RequestFailed(TimeoutError("the time of the operation is over"), may_have_landed=False)
        try:
            async with asyncio.timeout(seconds):
                return await getattr(self.client, operation)(**request)
        except (ClientError, BotoCoreError, ResponseParserError, TimeoutError) as error:
            raise translated(self.name, error, sent_once=self._sends_once) from error

    @property
    def _sends_once(self) -> bool:
        """Whether the client is known to send each request once: then its error is about the only try."""
        retries = getattr(getattr(getattr(self.client, "meta", None), "config", None), "retries", None) or {}
        return bool(retries.get("total_max_attempts") == 1)


def _request_event(operation: str, answer: Any, seconds: float, error: BaseException | None) -> Event:
    consumed = answer.get("ConsumedCapacity") or []
    units = sum(entry.get("CapacityUnits", 0.0) for entry in (consumed if isinstance(consumed, list) else [consumed]))
    return Event(
        name="request",
        operation=operation,
        seconds=seconds,
        read_units=units if operation in _READS else 0.0,
        write_units=0.0 if operation in _READS else units,
        error=type(error).__name__ if error else None,
    )


# --- wire forms ------------------------------------------------------------------------------------------------------


def _index_in(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    indexes = described.get("GlobalSecondaryIndexes") or []
    return next((index for index in indexes if index["IndexName"] == OWNER_INDEX), None)


def _like_the_table(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The capacity of an index that is built: what the table has, unless that is paid for by request."""
    capacity = described.get("ProvisionedThroughput", {})
    units = {name: capacity.get(name, 0) for name in ("ReadCapacityUnits", "WriteCapacityUnits")}
    is_by_request = described.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    return {} if is_by_request or not all(units.values()) else {"ProvisionedThroughput": units}


def _index_update(throughput: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "AttributeDefinitions": INDEX_DEFINITIONS,
        "GlobalSecondaryIndexUpdates": [{"Create": {**INDEX, **throughput}}],
    }


def _index_key(owner: str, entry: IndexEntry) -> dict[str, Any]:
    return {**_key(entry.session_id), "owner": {"S": owner}, "active": {"N": str(entry.active)}}


def _index_entry(item: Attributes) -> IndexEntry:
    return IndexEntry(item["session_id"]["S"], int(item["active"]["N"]), item.get("title", {}).get("S"))


def _transacted(
    table: str, item: Mapping[str, Any], condition: str, names: dict[str, str], values: dict[str, Any]
) -> dict[str, Any]:
    put = {"TableName": table, "Item": dict(item), "ConditionExpression": condition, **_expression(names, values)}
    return {"Put": {**put, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}


def _key(key: str) -> dict[str, Any]:
    return {"session_id": {"S": key}}


def _expression(names: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    expression: dict[str, Any] = {"ExpressionAttributeNames": names}
    return {**expression, "ExpressionAttributeValues": values} if values else expression


def _unchanged(head: Head) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The condition that the table still holds this head, exactly.

    A commit id is never used twice, so equal ids mean an equal item, even if a session was cleared and begun again in
    between. What the reference library wrote has none: it is compared whole.
    """
    if not head.exists:
        return "attribute_not_exists(#key)", {"#key": "session_id"}, {}
    if head.commit is not None:
        return _still({"B": head.commit}, None)
    return _still(None, None if head.foreign_text is None else {"S": head.foreign_text})


def _still(commit: Any, data: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The condition that an item has the same commit id, or as the reference library wrote it, the same history."""
    if commit is not None:
        return "#commit = :commit", {"#commit": "commit"}, {":commit": commit}
    names = {"#commit": "commit", "#data": "conversation_data", "#key": "session_id"}
    foreign = "attribute_exists(#key) AND attribute_not_exists(#commit)"
    if data is None:
        return f"{foreign} AND attribute_not_exists(#data)", names, {}
    return f"{foreign} AND #data = :data", names, {":data": data}


def _part_condition(epoch: bytes, generation: int, number: int) -> tuple[str, dict[str, str], dict[str, Any]]:
    names = {"#epoch": "epoch", "#generation": "generation", "#ttl": "ttl", "#fence": "fence"}
    values = {":epoch": {"B": epoch}, ":generation": {"N": str(generation)}, ":number": {"N": str(number)}}
    return "#epoch = :epoch AND #generation = :generation", names, values


def _part(item: Attributes) -> Part | None:
    try:
        return part_from_attributes(item)
    except DamagedRecordError:
        return None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _batches(sizes: Mapping[str, int]) -> Iterable[list[str]]:
    """The keys, in batches that one BatchGetItem answers whole."""
    batch: list[str] = []
    filled = 0
    for key, size in sizes.items():
        if batch and (len(batch) == BATCH_GET_LIMIT_KEYS or filled + size > _BATCH_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(key)
        filled += size
    if batch:
        yield batch
