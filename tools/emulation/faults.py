"""What can go wrong between a client and DynamoDB, each as a small function around the sending of a request.

A fault takes the request and a function that forwards it to the engine, and returns what the client gets; raising
`DroppedError` closes the connection without an answer. Faults nest: ``within(after(callback), drop_response)`` runs the
callback between the write and the loss of its answer.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any


class DroppedError(Exception):
    """The client gets no answer: the connection is closed."""


@dataclass(frozen=True)
class Request:
    """One request of the client.

    Attributes:
        number: Counted from 1 since the proxy was last reset.
        operation: Such as ``"PutItem"``.
        payload: The request's JSON.
        headers: HTTP headers.
        body: The bytes as sent.
    """

    number: int
    operation: str
    payload: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def with_payload(self, payload: Mapping[str, Any]) -> Request:
        """The same request, asking for something else."""
        return replace(self, payload=payload, body=json.dumps(payload).encode())


@dataclass(frozen=True)
class Reply:
    """One answer: HTTP status, headers and the bytes of the body."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def payload(self) -> Mapping[str, Any]:
        """The body's JSON; empty where an engine answered something else."""
        try:
            decoded: Mapping[str, Any] = json.loads(self.body)
        except ValueError:
            return {}
        return decoded

    @property
    def error(self) -> str | None:
        """The exception's name without its namespace, or None."""
        return self.payload.get("__type", "").rpartition("#")[2] or None if self.status >= 400 else None


Forward = Callable[[Request], Awaitable[Reply]]
Fault = Callable[[Request, Forward], Awaitable[Reply]]
Callback = Callable[[], Awaitable[object] | object]


async def drop_request(request: Request, forward: Forward) -> Reply:
    """The request never reaches DynamoDB."""
    raise DroppedError


async def drop_response(request: Request, forward: Forward) -> Reply:
    """DynamoDB does what was asked, and the answer is lost."""
    await forward(request)
    raise DroppedError


def error(name: str, *, status: int = 400, applied: bool = False, **details: Any) -> Fault:
    """An exception in the answer's place.

    Args:
        name: The exception's name, without its namespace.
        status: HTTP status.
        applied: Whether DynamoDB did what was asked all the same.
        details: Further members of the answer.
    """

    async def fault(request: Request, forward: Forward) -> Reply:
        if applied:
            await forward(request)
        return failure(name, status, **details)

    return fault


internal_error = error("InternalServerError", status=500)
internal_error_after_write = error("InternalServerError", status=500, applied=True)
throughput_exceeded = error("ProvisionedThroughputExceededException")
throttled = error("ThrottlingException")


async def transaction_conflict(request: Request, forward: Forward) -> Reply:
    """Another transaction holds one of the items; nothing is written."""
    if request.operation != "TransactWriteItems":
        return failure("TransactionConflictException")
    reasons = [{"Code": "TransactionConflict"}] + [{"Code": "None"}] * (len(request.payload["TransactItems"]) - 1)
    return failure("TransactionCanceledException", CancellationReasons=reasons)


def delay(seconds: float) -> Fault:
    """The request reaches DynamoDB late."""

    async def fault(request: Request, forward: Forward) -> Reply:
        await asyncio.sleep(seconds)
        return await forward(request)

    return fault


def unprocessed(keep: int = 1) -> Fault:
    """A batch of which DynamoDB takes only the first ``keep`` entries of each table and hands back the others."""

    async def fault(request: Request, forward: Forward) -> Reply:
        taken, left = _split(request.payload["RequestItems"], keep)
        is_read = request.operation == "BatchGetItem"
        empty: dict[str, Any] = {"Responses": {}} if is_read else {}
        reply = await forward(request.with_payload({**request.payload, "RequestItems": taken})) if taken else None
        answer = {**(reply.payload if reply else empty), "UnprocessedKeys" if is_read else "UnprocessedItems": left}
        return Reply(200, json.dumps(answer).encode())

    return fault


def before(callback: Callback) -> Fault:
    """Something happens just before the request reaches DynamoDB."""

    async def fault(request: Request, forward: Forward) -> Reply:
        await _call(callback)
        return await forward(request)

    return fault


def after(callback: Callback) -> Fault:
    """Something happens after DynamoDB did what was asked, before the client hears of it."""

    async def fault(request: Request, forward: Forward) -> Reply:
        reply = await forward(request)
        await _call(callback)
        return reply

    return fault


def kill_before(kill: Callback) -> Fault:
    """The client dies, and its request never reaches DynamoDB."""
    return within(before(kill), drop_request)


def kill_after(kill: Callback) -> Fault:
    """The client dies after DynamoDB did what it asked."""
    return within(drop_response, after(kill))


def within(outer: Fault, inner: Fault) -> Fault:
    """Both: the outer fault sees the inner one as DynamoDB."""

    async def fault(request: Request, forward: Forward) -> Reply:
        return await outer(request, lambda passed: inner(passed, forward))

    return fault


FAULTS: Mapping[str, Fault] = {
    "request lost": drop_request,
    "response lost": drop_response,
    "throttled": throughput_exceeded,
    "server error": internal_error,
    "server error after the write": internal_error_after_write,
}
"""What each request of an operation must survive, by name."""


def failure(name: str, status: int = 400, **details: Any) -> Reply:
    """The answer that reports an exception."""
    content = {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": "injected by the fault proxy"}
    return Reply(status, json.dumps({**content, **details}).encode())


def _split(tables: Mapping[str, Any], keep: int) -> tuple[dict[str, Any], dict[str, Any]]:
    taken: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, entries in tables.items():
        if isinstance(entries, Mapping):  # BatchGetItem
            parts = [{**entries, "Keys": keys} for keys in (entries["Keys"][:keep], entries["Keys"][keep:])]
            sizes = [len(part["Keys"]) for part in parts]
        else:
            parts = [entries[:keep], entries[keep:]]
            sizes = [len(part) for part in parts]
        for target, part, size in zip((taken, left), parts, sizes, strict=True):
            if size:
                target[table] = part
    return taken, left


async def _call(callback: Callback) -> None:
    result = callback()
    if inspect.isawaitable(result):
        await result
