"""The one file that talks to DynamoDB.

Each method of ``Table`` makes one kind of request and says what came of it in the store's own terms; botocore's errors
become ours in one place, ``_translated``. Reads are repeated here, as repeating them is always safe. Whether a write
may be repeated is for the caller to say, so writes raise ``Unsettled`` or ``Refused``.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ChecksumError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from ..errors import (
    AccessDeniedError,
    StorageError,
    TableNotFoundError,
    UnavailableError,
)
from ..events import Event, Observer
from .capacity import BATCH_GET_LIMIT_BYTES, BATCH_GET_LIMIT_KEYS
from .head import Attributes, Head
from .manifest import Part
from .record import DamagedRecordError
from .retry import RetryBudget

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    }
)
_FAILED = frozenset({"InternalServerError", "InternalFailure", "ServiceUnavailable", "RequestTimeout", "500", "503"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
# What came back, if anything, was not the answer: the request may have been carried out all the same.
_NO_ANSWER = (
    HTTPClientError,
    BotoConnectionError,
    IncompleteReadError,
    ChecksumError,
    ResponseParserError,
    TimeoutError,
)
_READS = frozenset({"get_item", "batch_get_item", "scan", "describe_table"})
_BATCH_BYTES = BATCH_GET_LIMIT_BYTES * 3 // 4


class Unsettled(Exception):
    """The request failed.

    Attributes:
        cause: botocore's exception.
        may_have_landed: Whether DynamoDB may have carried it out all the same.
    """

    def __init__(self, cause: BaseException, *, may_have_landed: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.may_have_landed = may_have_landed


class Refused(Exception):
    """A condition did not hold.

    Attributes:
        item: What the table holds instead, when DynamoDB said so; None when it holds nothing or did not say.
        told: Whether DynamoDB said what it holds.
        retried: Whether botocore had sent the request before, so that the refusal may be of our own write's making.
    """

    def __init__(self, item: Attributes | None, *, told: bool, retried: bool) -> None:
        super().__init__("the condition did not hold")
        self.item = item
        self.told = told
        self.retried = retried


@dataclass(frozen=True, slots=True)
class Table:
    """A table of sessions, through a client that somebody else owns."""

    client: DynamoDBClient
    name: str
    observer: Observer | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """What tells this table from others in the process."""
        meta = getattr(self.client, "meta", None)
        return str(getattr(meta, "endpoint_url", "")), self.name

    # --- heads -----------------------------------------------------------------------------------------------------

    async def read_item(self, key: str, patience: RetryBudget) -> Attributes | None:
        """The item under a key, strongly consistent; None when there is none."""
        response = await self._read("get_item", patience, TableName=self.name, Key=_key(key), ConsistentRead=True)
        item: Attributes | None = response.get("Item")
        return item

    async def put_head(self, attributes: Mapping[str, Any], expected: Head) -> None:
        """Write a head in place of the one that was seen.

        Raises:
            Refused: The table holds another.
            Unsettled: It failed, or nobody knows.
        """
        await self._put(attributes, *_unchanged(expected))

    async def put_over(self, attributes: Mapping[str, Any], item: Attributes) -> None:
        """Write a head in place of an item that was seen, readable or not. Raises like ``put_head``."""
        await self._put(attributes, *_still(item.get("commit"), item.get("conversation_data")))

    async def _put(
        self, item: Mapping[str, Any], condition: str, names: dict[str, str], values: dict[str, Any]
    ) -> None:
        await self._send(
            "put_item",
            TableName=self.name,
            Item=dict(item),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **_expression(names, values),
        )

    async def delete_head(self, head: Head) -> None:
        """Delete a head that is as it was seen. Raises like ``put_head``."""
        condition, names, values = _unchanged(head)
        await self._delete(head.session_id, condition, names, values)

    async def delete_seen(self, session_id: str, item: Attributes) -> None:
        """Delete a session's item if it is still the one that was seen, readable or not. Raises like ``put_head``."""
        condition, names, values = _still(item.get("commit"), item.get("conversation_data"))
        await self._delete(session_id, condition, names, values)

    async def _delete(self, key: str, condition: str, names: dict[str, str], values: dict[str, Any]) -> None:
        await self._send(
            "delete_item",
            TableName=self.name,
            Key=_key(key),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **_expression(names, values),
        )

    # --- parts -----------------------------------------------------------------------------------------------------

    async def read_parts(
        self, sizes: Mapping[str, int], patience: RetryBudget, *, consistent: bool
    ) -> dict[str, Part | None]:
        """The parts under some keys; None for those that cannot be decoded, none for those that are missing.

        Args:
            sizes: The keys, each with the expected size of its item in bytes.
            patience: How long to ask again for what DynamoDB leaves unprocessed.
            consistent: Strongly consistent, at twice the price. A part never changes its content within a generation,
                so the cheaper read is enough when it finds the generation that the head names.
        """
        items = await self._read_items(sizes, patience, ConsistentRead=consistent)
        return {item["session_id"]["S"]: _part(item) for item in items}

    async def read_ends(self, keys: Iterable[str], patience: RetryBudget) -> dict[str, int | None]:
        """When each part expires, in Unix seconds, or None for never; nothing for those that are missing."""
        projection = {
            "ProjectionExpression": "#key, #ttl",
            "ExpressionAttributeNames": {"#key": "session_id", "#ttl": "ttl"},
        }
        items = await self._read_items(dict.fromkeys(keys, 0), patience, ConsistentRead=True, **projection)
        return {item["session_id"]["S"]: int(item["ttl"]["N"]) if "ttl" in item else None for item in items}

    async def _read_items(self, sizes: Mapping[str, int], patience: RetryBudget, **how: Any) -> list[Attributes]:
        batches = await asyncio.gather(*(self._read_batch(keys, patience, how) for keys in _batches(sizes)))
        return [item for batch in batches for item in batch]

    async def _read_batch(self, keys: Sequence[str], patience: RetryBudget, how: Mapping[str, Any]) -> list[Attributes]:
        items: list[Attributes] = []
        asked: Any = {self.name: {"Keys": [_key(key) for key in keys], **how}}
        while True:
            response = await self._read("batch_get_item", patience, RequestItems=asked)
            items.extend(response["Responses"].get(self.name, []))
            asked = response.get("UnprocessedKeys") or {}
            if not asked:
                return items
            if not await patience.pause():
                raise UnavailableError(f"table {self.name!r}: BatchGetItem kept leaving keys unprocessed")

    async def put_part(self, part: Part) -> None:
        """Write a slot, unless it holds something of this generation or newer, or of another life of the session.

        Raises:
            Refused: It does. ``item`` tells what.
            Unsettled: It failed, or nobody knows.
        """
        await self._put(
            part_attributes(part),
            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation < :generation)",
            {"#key": "session_id", "#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": part.epoch}, ":generation": {"N": str(part.generation)}},
        )

    async def replace_part(self, part: Part, orphan: Part) -> None:
        """Write a slot in place of exactly that part. Raises like ``put_part``."""
        await self._put(
            part_attributes(part),
            "#epoch = :epoch AND #generation = :generation",
            {"#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": orphan.epoch}, ":generation": {"N": str(orphan.generation)}},
        )

    async def delete_part(self, key: str, epoch: bytes, before_generation: int) -> None:
        """Delete a slot's item if it is of this life and older than a generation. Raises ``Refused`` if it is not."""
        await self._delete(
            key,
            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation < :generation)",
            {"#key": "session_id", "#epoch": "epoch", "#generation": "generation"},
            {":epoch": {"B": epoch}, ":generation": {"N": str(before_generation)}},
        )

    async def delete_key(self, key: str) -> None:
        """Delete an item whatever it is: for repair and for erasing a session, never in passing."""
        await self._send("delete_item", TableName=self.name, Key=_key(key))

    async def set_part_expiry(self, key: str, epoch: bytes, generation: int, expires: int | None, number: int) -> None:
        """Let a part live longer: until ``expires``, or for good. Never shorter than it already does.

        Args:
            key: The part.
            epoch: Its life.
            generation: Its generation.
            expires: Unix seconds, or None for good.
            number: Of the head write that needs it. What an earlier one still wants, ``bound_part`` above all, is void.

        Raises:
            Refused: It already lives longer, or is not that part any more.
            Unsettled: It failed, or nobody knows.
        """
        condition, names, values = _part_condition(epoch, generation, number)
        condition += " AND (attribute_not_exists(#fence) OR #fence <= :number)"
        if expires is None:
            update = "SET #fence = :number REMOVE #ttl"
        else:
            update = "SET #fence = :number, #ttl = :ttl"
            condition += " AND attribute_exists(#ttl) AND #ttl < :ttl"
            values[":ttl"] = {"N": str(expires)}
        await self._update(key, update, condition, names, values)

    async def bound_part(self, key: str, epoch: bytes, before_generation: int, expires: int, number: int) -> None:
        """Give a part that lived for good an end, unless a later head needs it, or it was replaced.

        Args:
            key: The part.
            epoch: Its life.
            before_generation: What it must be older than.
            expires: Unix seconds.
            number: Of the head write that wants it. What a later one needs, ``set_part_expiry``, is not touched.

        Raises:
            Refused: There is no such part, it has an end, or a later head needs it.
            Unsettled: It failed, or nobody knows.
        """
        _, names, values = _part_condition(epoch, before_generation, number)
        condition = "#epoch = :epoch AND #generation < :generation AND attribute_not_exists(#ttl)"
        condition += " AND (attribute_not_exists(#fence) OR #fence < :number)"
        values[":ttl"] = {"N": str(expires)}
        await self._update(key, "SET #fence = :number, #ttl = :ttl", condition, names, values)

    async def _update(
        self, key: str, update: str, condition: str, names: dict[str, str], values: dict[str, Any]
    ) -> None:
        await self._send(
            "update_item",
            TableName=self.name,
            Key=_key(key),
            UpdateExpression=update,
            ConditionExpression=condition,
            **_expression(names, values),
        )

    # --- the table itself ------------------------------------------------------------------------------------------

    async def create(self, *, enable_ttl: bool) -> None:
        """Create the table if it does not exist, and wait until it can be used."""
        try:
            await self._send("describe_table", TableName=self.name)
            return
        except TableNotFoundError:
            pass
        except Unsettled as failure:
            raise StorageError(f"table {self.name!r}: {failure}") from failure.cause
        try:
            await self.client.create_table(
                TableName=self.name,
                KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except self.client.exceptions.ResourceInUseException:
            pass  # somebody else is creating it
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"table {self.name!r} could not be created: {error}") from error
        await self.client.get_waiter("table_exists").wait(TableName=self.name)
        if enable_ttl:
            await self._enable_ttl()

    async def _enable_ttl(self) -> None:
        try:
            await self.client.update_time_to_live(
                TableName=self.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
            )
        except ClientError as error:
            if "already enabled" not in str(error):
                raise StorageError(f"table {self.name!r}: TTL could not be enabled: {error}") from error

    async def scan_page(
        self, start: Attributes | None, patience: RetryBudget, *, heads_only: bool = False
    ) -> tuple[list[Attributes], Attributes | None]:
        """One page of all items, and where the next begins: for operators. In the end it reads the whole table.

        Eventually consistent, at half the price: what a scan saw must be looked at again before it is acted on.

        Args:
            start: Where to begin; None for the beginning.
            patience: How long to repeat it.
            heads_only: Leave out parts. They are read and paid for all the same.
        """
        more: dict[str, Any] = {"ExclusiveStartKey": start} if start else {}
        if heads_only:
            more |= {
                "FilterExpression": "attribute_not_exists(#generation)",
                "ExpressionAttributeNames": {"#generation": "generation"},
            }
        response = await self._read("scan", patience, TableName=self.name, **more)
        return response["Items"], response.get("LastEvaluatedKey")

    # --- how requests end ------------------------------------------------------------------------------------------

    async def _read(self, operation: str, patience: RetryBudget, **request: Any) -> Any:
        while True:
            try:
                return await self._send(operation, **request)
            except Unsettled as failure:
                if not await patience.pause():
                    raise unavailable(self.name, patience, failure) from failure.cause

    async def _send(self, operation: str, **request: Any) -> Any:
        if self.observer is None:
            return await self._answer(operation, request)
        if operation != "describe_table":
            request["ReturnConsumedCapacity"] = "TOTAL"
        began = time.perf_counter()
        error: BaseException | None = None
        answer: Any = {}
        try:
            answer = await self._answer(operation, request)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.observer(_request_event(operation, answer, time.perf_counter() - began, error))
        return answer

    async def _answer(self, operation: str, request: dict[str, Any]) -> Any:
        try:
            return await getattr(self.client, operation)(**request)
        except (ClientError, BotoCoreError, ResponseParserError, TimeoutError) as error:
            raise _translated(self.name, error) from error


def unavailable(table_name: str, patience: RetryBudget, failure: Unsettled) -> UnavailableError:
    """What to raise when patience ran out over failures."""
    return UnavailableError(
        f"table {table_name!r}: DynamoDB kept failing for {patience.seconds:g} s, last with: {failure}. "
        "Check the table's throttling metrics, the endpoint and, in a VPC, its DynamoDB gateway endpoint."
    )


def _translated(table_name: str, error: Exception) -> Exception:
    """Our error for one of botocore's."""
    if isinstance(error, ClientError):
        return _translated_answer(table_name, error)
    if isinstance(error, _NO_ANSWER):
        return Unsettled(error, may_have_landed=True)
    return StorageError(f"table {table_name!r}: the request could not be made: {error}")


def _translated_answer(table_name: str, error: ClientError) -> Exception:
    answer: Any = error.response
    code = answer.get("Error", {}).get("Code", "")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    retried = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
    if code == "ConditionalCheckFailedException":
        return Refused(answer.get("Item"), told="Item" in answer, retried=retried)
    if code in _THROTTLED:
        return Unsettled(error, may_have_landed=retried)
    if code in _FAILED or status >= 500:
        return Unsettled(error, may_have_landed=True)
    if code in {"ResourceNotFoundException", "TableNotFoundException"}:
        return TableNotFoundError(
            f"table {table_name!r} does not exist in this account and region. Deploy the template, or create it with "
            "create_table_if_not_exists()."
        )
    if code in _DENIED:
        return AccessDeniedError(f"table {table_name!r}: {error}. The function's role lacks this permission.")
    return StorageError(f"table {table_name!r}: {error}")


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


def part_attributes(part: Part) -> dict[str, Any]:
    """The stored form of a part."""
    attributes: dict[str, Any] = {
        "session_id": {"S": part.key},
        "epoch": {"B": part.epoch},
        "generation": {"N": str(part.generation)},
        "put_id": {"B": part.put_id},
        "chunk": {"S": f"{part.index}/{part.chunks}/{zlib.crc32(part.data):08x}"},
        "first": {"N": str(part.first)},
        "count": {"N": str(part.count)},
        "data": {"B": part.data},
        "updated_at": {"N": str(part.written)},
    }
    if part.expires is not None:
        attributes["ttl"] = {"N": str(part.expires)}
    return attributes


def _part(item: Attributes) -> Part | None:
    try:
        return part_from_attributes(item)
    except DamagedRecordError:
        return None


def part_from_attributes(item: Attributes) -> Part:
    """The part that an item holds.

    Raises:
        DamagedRecordError: When it is not one.
    """
    try:
        index, chunks, checksum = item["chunk"]["S"].split("/")
        data = bytes(item["data"]["B"])
        return Part(
            key=item["session_id"]["S"],
            epoch=bytes(item["epoch"]["B"]),
            generation=int(item["generation"]["N"]),
            put_id=bytes(item["put_id"]["B"]),
            index=int(index),
            chunks=int(chunks),
            first=int(item["first"]["N"]),
            count=int(item["count"]["N"]),
            data=data,
            written=int(item["updated_at"]["N"]),
            expires=int(item["ttl"]["N"]) if "ttl" in item else None,
            is_intact=zlib.crc32(data) == int(checksum, 16),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"not a part: {error!r}") from error


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
