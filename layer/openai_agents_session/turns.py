"""One turn of a conversation inside one Lambda invocation: alone, and over in time.

::

    async with turn(session, context):
        result = await Runner.run(agent, message, session=session)

    |------------------------- the invocation's remaining time ------------------------|
    |  lease: waits, then holds                                                        | free at the latest
    |--------------------- the run -------------------------|------- the reserve ------|
                                                            ^ cancelled here: what was completed is stored,
                                                              open calls are closed, the lease is given back,
                                                              DeadlineError tells the caller

Without a deadline of its own a run dies with Lambda's timeout: its caller gets an error that says nothing, its traces
are lost and the next turn waits for the lease to run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .errors import DeadlineError
from .storage.retry import deadline

if TYPE_CHECKING:
    from agents.memory import Session

    from .dynamodb import DynamoDBSession, Lease

__all__ = ["INTERRUPTED", "InvocationTime", "Turn", "close_open_calls", "open_calls", "turn"]

RESERVE_SECONDS = 2.0
"""What a turn leaves of the invocation's time for closing calls, giving the lease back and answering."""

_ANSWER_SHARE = 0.1
"""What of the reserve is left for the answer when the store has ended."""

WAIT_SECONDS = 5.0
"""How long a turn waits for the one before it."""

INTERRUPTED = "This call was interrupted: it may have had effects, its output is unknown."
"""The output of a call that has none."""

_NEWEST = 100

_OUTPUT_TYPES = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


class InvocationTime(Protocol):
    """What a turn asks of the Lambda context."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is running.

    Attributes:
        lease: The lease on the session.
    """

    lease: Lease
    _context: InvocationTime
    _reserve_seconds: float

    @property
    def seconds_left(self) -> float:
        """Seconds until the turn is stopped."""
        return max(0.0, _remaining_seconds(self._context) - self._reserve_seconds)


@asynccontextmanager
async def turn(
    session: DynamoDBSession,
    context: InvocationTime,
    *,
    wait_seconds: float = WAIT_SECONDS,
    reserve_seconds: float = RESERVE_SECONDS,
) -> AsyncIterator[Turn]:
    """Hold the session for the invocation, and stop what runs in the block before Lambda does.

    Args:
        session: The session; used through this object only while the turn lasts.
        context: The handler's Lambda context.
        wait_seconds: How long to wait for another turn of the session to end.
        reserve_seconds: How long before Lambda's timeout the block is cancelled.

    Raises:
        LeaseUnavailableError: Another turn held the session all the time.
        DeadlineError: The block was stopped; what it had completed is stored, and no call is left without its output.
    """
    remaining = max(0.001, _remaining_seconds(context))
    end = asyncio.get_running_loop().time() + remaining
    # Everything that the store does in the turn ends in time, too: what is under way when the block is stopped gets
    # half of the reserve, what is left is for closing calls and giving the lease back.
    with deadline(end - _ANSWER_SHARE * reserve_seconds):
        async with session.lease(remaining, wait_seconds=wait_seconds) as lease:
            running = Turn(lease, context, reserve_seconds)
            try:
                with deadline(end - reserve_seconds / 2):
                    async with asyncio.timeout(running.seconds_left) as limit:
                        yield running
            except TimeoutError as error:
                if not limit.expired():
                    raise
                await close_open_calls(session)
                raise DeadlineError(
                    f"session {session.session_id!r}: the turn was stopped {reserve_seconds:g} s before the "
                    "invocation's time was over; what it had completed is stored"
                ) from error


async def close_open_calls(session: Session, *, newest: int = _NEWEST) -> int:
    """Make a history that a run left in the middle valid for the next turn.

    Models refuse a tool call without its output, and a reasoning item without what follows it. Each open call gets an
    output that says it was interrupted; reasoning at the very end goes. Ask for approvals first: a call that waits for
    one is open, too.

    Args:
        session: Any session of the SDK's.
        newest: How many of the newest items to look at; an open call stands in the last turn.

    Returns:
        How many calls were closed.
    """
    items: list[Any] = list(await session.get_items(newest))
    while items and _type(items[-1]) == "reasoning":
        await session.pop_item()
        items.pop()
    calls = open_calls(items)
    if calls:
        outputs: list[Any] = [
            {"type": _OUTPUT_TYPES[call["type"]], "call_id": call["call_id"], "output": INTERRUPTED} for call in calls
        ]
        await session.add_items(outputs)
    return len(calls)


def open_calls(items: Iterable[Any]) -> list[dict[str, Any]]:
    """The tool calls among items that have no output among them, in order."""
    calls: dict[str, dict[str, Any]] = {}
    for item in items:
        kind = _type(item)
        if kind in _OUTPUT_TYPES:
            calls[item["call_id"]] = item
        elif kind in _OUTPUT_TYPES.values():
            calls.pop(item["call_id"], None)
    return list(calls.values())


def _type(item: Any) -> str:
    return str(item.get("type", "")) if isinstance(item, dict) else ""


def _remaining_seconds(context: InvocationTime) -> float:
    return context.get_remaining_time_in_millis() / 1000
