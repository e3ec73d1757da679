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
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import _whole  # noqa: F401 - first of all: it raises where another library wrote over this one
from .errors import DeadlineError
from .storage.retry import deadline
from .storage.turn_log import (
    AlreadyDone,
    Awaiting,
    Begun,
    Changed,
    Delivery,
    FinishedTurn,
    Held,
    Meeting,
    NothingOpen,
    OtherRequest,
    Outcome,
    request_digest,
    turn_id,
)
from .tool_calls import open_calls, output_of
from .turn_journal import INTERRUPTED, NOT_RUN, TurnJournal, called

if TYPE_CHECKING:
    from agents.memory import Session

    from .dynamodb import DynamoDBSession, Lease

__all__ = [
    "INTERRUPTED",
    "NOT_RUN",
    "AlreadyDone",
    "Awaiting",
    "Changed",
    "Delivery",
    "FinishedTurn",
    "Held",
    "InvocationTime",
    "Meeting",
    "NothingOpen",
    "OtherRequest",
    "Outcome",
    "Turn",
    "TurnJournal",
    "called",
    "close_open_calls",
    "delivery_of",
    "history_of",
    "meeting",
    "named_turn",
    "open_calls",
    "seconds_left",
    "turn",
]

RESERVE_SECONDS = 2.0
"""What a turn leaves of the invocation's time for closing calls, giving the lease back and answering."""

_ANSWER_SHARE = 0.1
"""What of the reserve is left for the answer when the store has ended."""

WAIT_SECONDS = 5.0
"""How long a turn waits for the one before it."""

_NEWEST = 100

_stop: ContextVar[float | None] = ContextVar("stop", default=None)


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
    remaining, end = _times(context)
    # Everything that the store does in the turn ends in time, too: what is under way when the block is stopped gets
    # half of the reserve, what is left is for closing calls and giving the lease back.
    with deadline(end - _ANSWER_SHARE * reserve_seconds):
        async with session.lease(remaining, wait_seconds=wait_seconds) as lease:
            running = Turn(lease, context, reserve_seconds)
            async with _stopped_in_time(session, context, reserve_seconds, lambda: close_open_calls(session)):
                yield running


@asynccontextmanager
async def named_turn(
    session: DynamoDBSession,
    context: InvocationTime,
    delivery: Delivery,
    message: list[Any],
    *,
    keep: int | None = None,
    revision: bytes | None = None,
    without_effects: Collection[str] = (),
    wait_seconds: float = WAIT_SECONDS,
    reserve_seconds: float = RESERVE_SECONDS,
) -> AsyncIterator[TurnJournal | Meeting]:
    """A turn that happens once, effects included, however often it is delivered.

    To take the lease, begin the turn and store its message is one write. Run the agent with the journal as its session
    and ``[]`` as its input; the agent's last append ends the turn and gives the lease back, in one write. A block that
    ends before that leaves the turn open: it is gone on with when it is delivered again.

    Args:
        session: The session; used through the journal only while the turn lasts.
        context: The handler's Lambda context.
        delivery: Who asks, and for what.
        message: The items that the turn begins with.
        keep: How many items of the history stay before the message; None for all. The rest goes in the write that
            begins the turn: killed anywhere, the history is the old one or the new one.
        revision: That of the page of the history by which ``keep`` was chosen. When the session has changed since, no
            turn is begun (``Changed``); one that this delivery has begun before is gone on with. None for no check.
        without_effects: Names of tools whose calls need not be stored before they run.
        wait_seconds: How long to wait for another turn of the session to end.
        reserve_seconds: How long before Lambda's timeout the block is cancelled.

    Yields:
        The journal of the turn; or, where there is none to take, why.

    Raises:
        DeadlineError: The block was stopped; what it had done is stored, and no call is left without its output.
    """
    remaining, end = _times(context)
    with deadline(end - _ANSWER_SHARE * reserve_seconds):
        options: Any = {"wait_seconds": wait_seconds, "keep": keep, "revision": revision}
        async with session._turn(delivery, message, remaining, **options) as met:
            if not isinstance(met, Begun):
                yield met
                return
            journal = TurnJournal(session, met, delivery, message, without_effects, keep)
            async with _stopped_in_time(session, context, reserve_seconds, journal.close):
                yield journal


def seconds_left() -> float | None:
    """Seconds until the turn is stopped in which this is called; None where no turn runs.

    What a turn waits for, a model or a tool's request, is given less: it then ends with an error of its own, and the
    turn can still say which.
    """
    stop = _stop.get()
    return None if stop is None else max(0.0, stop - asyncio.get_running_loop().time())


def delivery_of(name: str, request: str, *, continues: bool = False, decides: str | None = None) -> Delivery:
    """A request for a turn.

    Args:
        name: What names the delivery: an idempotency key, the id of a queue's message or of an invocation.
        request: What it asks for: the same name with another request is refused.
        continues: It asks to go on with whatever turn is open, and for none of its own.
        decides: The id of the run that it brings a decision on.
    """
    return Delivery(turn_id(name), request_digest(request), continues, decides)


async def meeting(session: DynamoDBSession, delivery: Delivery) -> Meeting | None:
    """What a delivery would meet now: for one who only asks, or lets somebody else take the turn.

    Returns:
        What ``named_turn`` would yield in place of a journal; None where there is nothing in the way of a turn. A turn
        that the delivery has begun and that is not done is ``Held``, for 0 seconds when nobody works on it.
    """
    return await session._meeting(delivery)


async def open_turn(session: DynamoDBSession) -> tuple[int, frozenset[bytes]] | None:
    """The turn that is not done, or None.

    Returns:
        How many items of the history are before it, and the digests of what was asked for: also of what led to a
        decision that it goes on from.
    """
    async with session._open():
        log, _ = await session._store.turns()
    if log.open is None:
        return None
    same = (turn.digest for turn in log.finished if turn.first == log.open.first and turn.outcome is Outcome.WAITING)
    return log.open.first, frozenset([log.open.digest, *same])


async def history_of(session: DynamoDBSession, turn: FinishedTurn) -> list[Any]:
    """The items of a turn that is done, oldest first; none when they have been removed since."""
    async with session._open():
        items, _ = await session._store.read_from(turn.first)
    return items[: turn.last - turn.first]


def _times(context: InvocationTime) -> tuple[float, float]:
    """The seconds that are left, and when they are over on the event loop's clock."""
    remaining = max(0.001, _remaining_seconds(context))
    return remaining, asyncio.get_running_loop().time() + remaining


@asynccontextmanager
async def _stopped_in_time(
    session: DynamoDBSession, context: InvocationTime, reserve_seconds: float, close: Callable[[], Awaitable[Any]]
) -> AsyncIterator[None]:
    """Cancel the block before the invocation's time is over, then make the history valid."""
    seconds = _remaining_seconds(context)
    end = asyncio.get_running_loop().time() + max(0.001, seconds)
    stop = _stop.set(end - reserve_seconds)
    try:
        with deadline(end - reserve_seconds / 2):
            async with asyncio.timeout(max(0.0, seconds - reserve_seconds)) as limit:
                yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        await close()
        raise DeadlineError(
            f"session {session.session_id!r}: the turn was stopped {reserve_seconds:g} s before the "
            "invocation's time was over; what it had completed is stored"
        ) from error
    finally:
        _stop.reset(stop)


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
        outputs: list[Any] = [output_of(call, INTERRUPTED) for call in calls]
        await session.add_items(outputs)
    return len(calls)


def _type(item: Any) -> str:
    return str(item.get("type", "")) if isinstance(item, dict) else ""


def _remaining_seconds(context: InvocationTime) -> float:
    return context.get_remaining_time_in_millis() / 1000
