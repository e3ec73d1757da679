"""A DynamoDB table in memory, by DynamoDB's documented rules and no milder.

A request is carried out at one instant. Parameters, placeholders and values that no expression uses, items over 400 KB,
keys over 2,048 bytes, numbers that are none: all refused. Eventually consistent reads give, item by item, what was true
at some instant of the last second. Deletion by TTL comes at once, at some time, or never: as the weather wants it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from botocore.exceptions import ClientError

from .expressions import InvalidExpression, Item, condition, projection, update

ITEM_LIMIT = 409_600
KEY_LIMIT = 2_048
STALE_SECONDS = 1.0
"""How old what an eventually consistent read sees may be."""

_EXPRESSION = {"ExpressionAttributeNames", "ExpressionAttributeValues"}
_WRITE = {
    "TableName",
    "ConditionExpression",
    "ReturnValuesOnConditionCheckFailure",
    "ReturnConsumedCapacity",
    *_EXPRESSION,
}
_READ = {"TableName", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames", "ReturnConsumedCapacity"}
_PARAMETERS = {
    "GetItem": _READ | {"Key"},
    "BatchGetItem": {"RequestItems", "ReturnConsumedCapacity"},
    "PutItem": _WRITE | {"Item"},
    "DeleteItem": _WRITE | {"Key"},
    "UpdateItem": _WRITE | {"Key", "UpdateExpression"},
}


@dataclass(frozen=True, slots=True)
class Write:
    """An item that changed.

    Attributes:
        key: Its key.
        old: What it was; None when there was none.
        new: What it is; None when it is gone.
        request: The name of the request.
        cause: Whoever sent it: what was handed to ``apply``.
    """

    key: str
    old: Item | None
    new: Item | None
    request: str
    cause: Any


def answer_error(
    operation: str, code: str, status: int = 400, message: str = "simulated", item: Item | None = None
) -> ClientError:
    """What botocore makes of an answer that is an error."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    if item is not None:
        answer["Item"] = dict(item)
    return ClientError(answer, operation)


class Table:
    """The table.

    Args:
        name: Its name.
        now: The servers' clock, in Unix seconds.
        noise: What eventually consistent reads see is drawn from it.
        watch: Called with every write, at its instant.
    """

    def __init__(
        self, name: str, now: Callable[[], float], noise: random.Random, watch: Callable[[Write], None]
    ) -> None:
        self.name = name
        self.items: dict[str, Item] = {}
        self.invalid: list[str] = []
        self._now = now
        self._noise = noise
        self._watch = watch
        self._past: dict[str, list[tuple[float, Item | None]]] = {}

    def apply(self, operation: str, request: Mapping[str, Any], cause: Any, *, stale: float = 0.0) -> dict[str, Any]:
        """Carry out a request.

        Args:
            operation: Its name.
            request: Its parameters.
            cause: Who sent it.
            stale: Share of the items of an eventually consistent read that may be seen as they were.

        Raises:
            ClientError: What DynamoDB would answer.
        """
        try:
            self._check(operation, request)
            if operation == "GetItem":
                found = self._seen(_key(request["Key"]), request, stale)
                return {"Item": found} if found is not None else {}
            if operation == "BatchGetItem":
                return self._batch(request, stale)
            key, item = self._changed(operation, request)
        except (InvalidExpression, KeyError, TypeError, ValueError) as error:
            self.invalid.append(f"{operation}: {error!r}")
            raise answer_error(operation, "ValidationException", message=repr(error)) from error
        self.put(key, item, operation, cause)
        return {}

    def put(self, key: str, item: Item | None, request: str, cause: Any) -> None:
        """Change an item, no question asked: how everything is stored in the end."""
        old = self.items.get(key)
        past = self._past.setdefault(key, [])
        past.append((self._now(), old))
        del past[:-20]
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item
        if old is not None or item is not None:
            self._watch(Write(key, old, item, request, cause))

    def delete_expired(self, key: str) -> bool:
        """What DynamoDB's TTL does to an item: whether it was expired, and is gone."""
        item = self.items.get(key)
        end = expiry(item)
        if end is None or end > self._now():
            return False
        self.put(key, None, "TTL", None)
        return True

    # --- reads -----------------------------------------------------------------------------------------------------

    def _seen(self, key: str, how: Mapping[str, Any], stale: float) -> dict[str, Any] | None:
        item = self.items.get(key)
        if stale and not how.get("ConsistentRead") and self._noise.random() < stale:
            item = self._noise.choice(self._versions(key))
        if item is None or "ProjectionExpression" not in how:
            return None if item is None else dict(item)
        names = how.get("ExpressionAttributeNames", {})
        wanted = projection(how["ProjectionExpression"])
        if set(names) - wanted:
            raise InvalidExpression(f"unused names: {set(names) - wanted}")
        paths = {names[name] if name.startswith("#") else name for name in wanted}
        return {name: value for name, value in item.items() if name in paths}

    def _versions(self, key: str) -> list[Item | None]:
        """What an eventually consistent read may see: every version of the last second."""
        versions = [self.items.get(key)]
        for until, item in reversed(self._past.get(key, [])):
            if until < self._now() - STALE_SECONDS:
                break
            versions.append(item)
        return versions

    def _batch(self, request: Mapping[str, Any], stale: float) -> dict[str, Any]:
        ((table, asked),) = request["RequestItems"].items()
        known = {"Keys", "ConsistentRead", "ProjectionExpression", "ExpressionAttributeNames"}
        if table != self.name or set(asked) - known:
            raise ValueError(f"{table}: {set(asked) - known}")
        keys = [_key(key) for key in asked["Keys"]]
        if not 0 < len(keys) <= 100 or len(set(keys)) != len(keys):
            raise ValueError(f"{len(keys)} keys, {len(set(keys))} of them different")
        left: list[Any] = []
        if len(keys) > 1 and self._noise.random() < stale:  # what does not fit, or was throttled, is for another time
            left = [{"session_id": {"S": keys.pop()}} for _ in range(self._noise.randrange(len(keys)))]
        found = [item for key in keys if (item := self._seen(key, asked, stale)) is not None]
        self._noise.shuffle(found)
        unprocessed = {table: {**asked, "Keys": left}} if left else {}
        return {"Responses": {table: found}, "UnprocessedKeys": unprocessed}

    # --- writes ----------------------------------------------------------------------------------------------------

    def _changed(self, operation: str, request: Mapping[str, Any]) -> tuple[str, Item | None]:
        """The key that a write is about, and the item that it makes of what is there."""
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        key = _key(request["Item"] if operation == "PutItem" else request["Key"])
        old = self.items.get(key)
        wanted = condition(request["ConditionExpression"]) if "ConditionExpression" in request else None
        change = update(request["UpdateExpression"]) if operation == "UpdateItem" else None
        used = (wanted.used if wanted else frozenset()) | (change.used if change else frozenset())
        if used != set(names) | set(values):
            raise InvalidExpression(f"used {sorted(used)}, given {sorted(set(names) | set(values))}")
        for value in values.values():
            _check_value(value)
        if wanted is not None and not wanted.holds(old, names, values):
            told = old is not None and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise answer_error(operation, "ConditionalCheckFailedException", item=old if told else None)
        new: Item | None = None
        if operation == "PutItem":
            new = {name: dict(value) for name, value in request["Item"].items()}
        elif change is not None:
            new = change.apply(old or request["Key"], names, values)
        if new is not None:
            _check_item(new, key)
        return key, new

    def _check(self, operation: str, request: Mapping[str, Any]) -> None:
        if unknown := set(request) - _PARAMETERS[operation]:
            raise ValueError(f"unknown parameters: {unknown}")
        if operation != "BatchGetItem" and request["TableName"] != self.name:
            raise ValueError(f"table {request['TableName']}")
        if request.get("ReturnValuesOnConditionCheckFailure", "NONE") not in {"NONE", "ALL_OLD"}:
            raise ValueError("ReturnValuesOnConditionCheckFailure")


def expiry(item: Item | None) -> float | None:
    """When an item expires, as DynamoDB sees it: a number in ``ttl``, and nothing else."""
    content = (item or {}).get("ttl", {}).get("N")
    return None if content is None else float(content)


def size(item: Item) -> int:
    """Size of an item in bytes, by the documented rules."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "N":
        digits = len(str(content).lstrip("-").replace(".", ""))
        return 1 + (digits + 1) // 2 + str(content).startswith("-")
    return len(str(content).encode() if kind == "S" else bytes(content))


def _key(key: Mapping[str, Any]) -> str:
    text: str = key["session_id"]["S"]
    if not 0 < len(text.encode()) <= KEY_LIMIT:
        raise ValueError(f"a key of {len(text.encode())} bytes")
    return text


def _check_item(item: Item, key: str) -> None:
    for value in item.values():
        _check_value(value)
    if _key(item) != key:
        raise ValueError("the key was updated")
    if size(item) > ITEM_LIMIT:
        raise ValueError(f"an item of {size(item)} bytes")


def _check_value(value: Mapping[str, Any]) -> None:
    ((kind, content),) = value.items()
    if kind == "N":
        try:
            number = Decimal(content)
        except InvalidOperation as error:
            raise ValueError(f"{content!r} is not a number") from error
        if not number.is_finite() or len(number.as_tuple().digits) > 38 or abs(number.adjusted()) > 125:
            raise ValueError(f"{content!r} is not a number that DynamoDB stores")
    elif not isinstance(content, {"S": str, "B": bytes}[kind]):
        raise TypeError(f"{kind} of {type(content).__name__}")
