"""The session of a durable run: the SDK reads what it read at first, and what it appends is stored once.

The history only grows while the turn has the session, so a replay needs no copy of what was read, only how long it was:
the turn's first position, which is checkpointed. From there on the table holds what the turn has stored, in order. An
append whose items are there was done; any other is made, under the lease.

::

    history     0 ....................... first ........... stored ........ | others' items: the turn is lost
                what the agent reads      the turn's own

The turn itself is a record in the session's head (``storage/turn_log.py``), under a name made of the execution's. So it
is known whether it is open, done, waiting for a decision, or was given up for another. The lease is taken when
something new is to be done, also from an earlier environment of the same execution, which AWS has ended: a replay
that does nothing new needs none.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from ..dynamodb import _settled
from ..errors import DurableRunError, InvalidInputError, TurnLostError
from ..runs import PendingCall, PendingRuns
from ..storage.items import NOTHING, from_batch
from ..storage.turn_log import (
    NO_TURNS,
    AlreadyDone,
    Awaiting,
    Begun,
    Delivery,
    Held,
    Meeting,
    NothingOpen,
    OpenTurn,
    Outcome,
    TurnLog,
    Unremembered,
    request_digest,
    turn_id,
)
from ..storage.usage import NO_USAGE, Usage
from ..tool_calls import OUTPUT_TYPES, open_calls
from ..turn_journal import StoredSteps, TurnJournal, step_of

if TYPE_CHECKING:
    from agents import ModelResponse

    from ..dynamodb import DynamoDBSession

_LOST = (Outcome.ABANDONED, Outcome.CLEARED)
_OUTPUTS = frozenset(OUTPUT_TYPES.values())


class Hold(enum.Enum):
    """What a run has of its session."""

    NONE = "it has to take it before it stores anything"
    HELD = "its lease is the run's"
    PARKED = "its turn waits for a decision"
    OVER = "its turn is done: everything is stored"


class DurableTurn:
    """One turn, for the SDK's runner.

    Args:
        session: The session.
        name: What names the run among all, in every invocation.
        delivery: The request that the turn is begun for, if it has a name of its own; else the run's name is it.
        without_effects: Names of tools that may run again without harm.
        message: The items that it begins with.
        seconds: How long a lease may last from now.

    Attributes:
        session_id: The session's.
        first: Items of the history before the turn; None until it has begun.
        guard: Awaits the store for the SDK.
    """

    def __init__(
        self,
        session: DynamoDBSession,
        name: str,
        message: list[Any],
        seconds: Callable[[], float],
        delivery: Delivery | None = None,
        without_effects: Collection[str] = (),
    ) -> None:
        self.session_id = session.session_id
        self.first: int | None = None
        self.guard: Callable[[Awaitable[Any]], Awaitable[Any]] = _unguarded
        self._session, self._store, self._name = session, session._store, name
        self._seconds = seconds
        self._without_effects = without_effects
        self._message = from_batch(session.session_id, message).decode()
        self._history: list[Any] = []
        self._history_from = 0
        self._stored: list[Any] = []
        self._own = list(self._message)
        self._known = StoredSteps()
        self._log: TurnLog = NO_TURNS
        self._delivery = delivery or self._delivery_of(0)
        self._outcome: Outcome | None = None
        self._usage = NO_USAGE
        self._lock = asyncio.Lock()
        self._hold = Hold.NONE
        self._is_open = False

    # --- the SDK's protocol ------------------------------------------------------------------------------------------

    @property
    def session_settings(self) -> Any:
        """The session's."""
        return self._session.session_settings

    @session_settings.setter
    def session_settings(self, settings: Any) -> None:
        self._session.session_settings = settings

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """The history as it was at this point of the run."""
        limit = self._session._limit(limit)
        if limit is not None and limit <= 0:
            return []
        await self.guard(self._read_back(limit))
        items = [*self._history, *self._own]
        return items if limit is None else self._session._newest(items, limit)

    async def add_items(self, items: list[Any]) -> None:
        """Append a batch, unless an earlier invocation has."""
        await self.guard(self._added(items))

    async def step(self, response: ModelResponse) -> None:
        """Store what the model answered, if it calls tools that have effects, before any of them runs.

        Who goes on with the session when the run never ends then knows of the calls, and does not make them again.
        """
        await self.guard(self._added(step_of(response, self._without_effects)))

    async def pop_item(self) -> NoReturn:
        """Not in a durable run: what was stored is what a replay goes by."""
        raise InvalidInputError(f"session {self.session_id!r}: a durable run only appends to its session")

    async def clear_session(self) -> NoReturn:
        """Not in a durable run."""
        await self.pop_item()

    # --- taking the session ------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Take the session, before anything new is done: what is stored has to be what the run stored.

        Raises:
            LeaseUnavailableError: Another turn is running.
            TurnLostError: The session went on without the run.
        """
        await self.hold()
        if self._hold is Hold.OVER:
            raise self._lost("its turn was done by another")
        if len(self._stored) > len(self._own) and self._is_open:
            raise self._lost("it has items that the run has not stored")

    async def hold(self) -> None:
        """Take the session. Does nothing when it is held, or the turn is done.

        Raises:
            LeaseUnavailableError: Another turn is running.
            TurnLostError: The session went on without the run.
        """
        async with self._lock:
            if self._hold is not Hold.NONE:
                return
            async with self._session._open():
                met = await _settled(self._begun() if self.first is None else self._taken_up())
            if isinstance(met, Begun):
                self._hold = Hold.HELD
                await self._settle_in(met)
            else:
                self._refuse(met)

    async def open(self, first: int) -> None:
        """Read what the turn goes on from.

        Args:
            first: Items of the history before the turn, from its checkpoint.

        Raises:
            TurnLostError: The history is not what it was any more.
        """
        self.first = first
        limit = self._session._limit(None)
        self._history_from = first if limit is None else max(0, first - limit - 1)
        if limit is None:
            self._history_from = 0
        async with self._session._open():
            items, head = await self._store.read_from(self._history_from)
        self._log = head.turns
        before = first - self._history_from
        self._history, self._stored = items[:before], items[before:]
        self._is_open = True
        if self._was_done():
            self._hold = Hold.OVER
        elif self._stored[: len(self._message)] != self._message:
            raise self._lost(f"it has {head.count} items, and not the message of the run at {first}")

    async def _begun(self) -> Meeting:
        batch, milliseconds = from_batch(self.session_id, self._message), self._milliseconds()
        met = await self._store.begin_turn(self._delivery, batch, milliseconds)
        if isinstance(met, Unremembered):
            known = await self._session._forgotten_turns(met)
            met = await self._store.begin_turn(self._delivery, batch, milliseconds, known=known)
        if isinstance(met, Held) and met.is_same:  # an environment that died before its position was checkpointed
            return await self._store.take_up(self._delivery.id, milliseconds)
        return met

    async def _taken_up(self) -> Meeting:
        met = await self._store.take_up(self._delivery.id, self._milliseconds())
        if isinstance(met, NothingOpen) and self._delivery.decides is not None:
            return await self._store.begin_turn(self._delivery, NOTHING, self._milliseconds())
        return met

    async def _settle_in(self, met: Begun) -> None:
        if self.first is None:
            if met.interrupted:  # a turn before was not done, or this one began in an environment that died at once
                journal = TurnJournal(self._session, met, self._delivery, self._message)
                await journal.go_on()
                met = Begun(journal.turn, interrupted=False)
            self.first = met.turn.first
            return
        head = self._store.committer.known
        if head is None or head.count != self.first + len(self._stored):
            # Another wrote; or an append of this run landed after its environment had died.
            async with self._session._open():
                self._stored, _ = await self._store.read_from(self.first)

    def _refuse(self, met: Meeting) -> None:
        if isinstance(met, Held):
            raise self._session._held(met.seconds)
        if isinstance(met, Awaiting):
            raise DurableRunError(
                f"session {self.session_id!r}: the run {met.run_id!r} waits for a decision first", reason="RunWaits"
            )
        if not isinstance(met, AlreadyDone) or met.turn.outcome in _LOST or self.first is None:
            raise self._lost("its turn is not open: it was cleared, has expired, or was given up for another message")
        if met.turn.outcome is Outcome.WAITING:
            self._hold = Hold.PARKED
        else:
            self._hold = Hold.OVER

    # --- appending ---------------------------------------------------------------------------------------------------

    async def _added(self, batch: list[Any]) -> None:
        items = self._fresh(batch)
        if self._ends_otherwise(items):
            self._adopt()
            items = self._fresh(batch)
        if items and not self._is_there(items):
            await self.hold()
            if not self._is_there(items):
                await self._append(items)
        self._own += items
        self._known.note(items)

    def _fresh(self, batch: list[Any]) -> list[Any]:
        return from_batch(self.session_id, self._known.not_stored(batch)).decode()

    def _ends_otherwise(self, items: list[Any]) -> bool:
        """Whether the turn ends with outputs that an earlier environment stored when a tool failed, before it died.

        The SDK stores the outputs that it has by then: at a replay it has all of them at once.
        """
        rest = self._stored[len(self._own) :]
        if not rest or rest[: len(items)] == items:
            return False
        calls = {call["call_id"] for call in open_calls(self._own)}
        return all(item.get("type") in _OUTPUTS and item["call_id"] in calls for item in rest)

    def _adopt(self) -> None:
        """Take what is stored for the run's, whatever of it this replay has come to."""
        self._own = list(self._stored)
        self._known.note(self._own)

    def _is_there(self, items: list[Any]) -> bool:
        """Whether the batch at the turn's present position was stored before. Raises when something else was."""
        if self._hold is Hold.OVER:
            return True
        known = self._stored[len(self._own) : len(self._own) + len(items)]
        if known and known != items:
            raise self._lost(f"its item {(self.first or 0) + len(self._own)} is not what the run has to store there")
        return bool(known)

    async def _append(self, items: list[Any]) -> None:
        if self._hold is not Hold.HELD or len(self._stored) != len(self._own):
            raise self._lost("items of the run were removed")
        batch = from_batch(self.session_id, items)
        async with self._session._open():
            if self._outcome is None:
                await _settled(self._store.append(batch))
            else:
                await _settled(self._store.end_turn(batch, self._outcome, usage=self._usage))
        self._stored += items
        self._hold = Hold.HELD if self._outcome is None else Hold.OVER

    # --- how it ends -------------------------------------------------------------------------------------------------

    def answered(self, usage: Usage, outcome: Outcome = Outcome.ANSWERED) -> None:
        """The agent has its answer: the next append is the turn's last, and ends it.

        Args:
            usage: What the run's model calls have used so far, over all invocations.
            outcome: How the turn ends.
        """
        self._outcome, self._usage = outcome, usage

    async def finish(self) -> None:
        """End the turn, if the last append has not."""
        await self._ended(Outcome.ANSWERED)

    async def fail(self, outcome: Outcome, step: list[Any], approvals: int) -> None:
        """End the turn without an answer: its calls get outputs, known or not; a blocked message is taken out.

        Args:
            outcome: How it ended.
            step: The model's last step, which the SDK has perhaps not stored.
            approvals: How many approvals the run has asked for, in all its invocations.

        Raises:
            TurnLostError: The turn is not the run's any more.
        """
        self._outcome = None
        if self._hold is not Hold.HELD:
            await self._catch_up(approvals)
            await self.hold()
        if self._hold is not Hold.HELD or self.first is None:
            return
        if self._delivery.decides is not None:
            await PendingRuns(self._session).settle(self._delivery.decides)
        self._adopt()
        if outcome is not Outcome.INPUT_BLOCKED or self._known.not_stored(step) != step:
            await self._added(step)
        turn = OpenTurn((self._delivery.id,), self._delivery.digest, self.first, 1)
        journal = TurnJournal(self._session, Begun(turn, interrupted=True), self._delivery, self._message)
        if outcome is Outcome.INPUT_BLOCKED:
            await journal.block()
        else:
            await journal.close()
            await journal.end(outcome)
        self._hold = Hold.OVER

    async def _catch_up(self, approvals: int) -> None:
        """Be the turn that the run's last decision leads to: a replay that fails has perhaps not come to it."""
        async with self._session._open():
            log, _ = await self._store.turns()
        open_ids = log.open.ids if log.open else ()
        for number in range(1, approvals + 1):
            if self.run_id(number) == log.waiting or self._delivery_of(number).id in open_ids:
                self.resume(number)

    async def give_up(self) -> None:
        """Give back what is held: the session is not the run's any more, and nothing waits for a decision on it."""
        if self._hold is Hold.HELD:
            await self._session._release_lease()
            self._hold = Hold.NONE
        if self._delivery.decides is not None:
            await PendingRuns(self._session).settle(self._delivery.decides)

    async def _ended(self, outcome: Outcome, waiting: str | None = None) -> None:
        await self.hold()
        if self._hold in (Hold.OVER, Hold.PARKED):
            return
        async with self._session._open():
            await _settled(self._store.end_turn(NOTHING, outcome, waiting=waiting, usage=self._usage))
        self._hold = Hold.OVER if waiting is None else Hold.NONE

    # --- waiting for a decision --------------------------------------------------------------------------------------

    async def park(self, run_id: str, state: str, calls: Iterable[PendingCall], usage: Usage) -> None:
        """Let the session wait for a decision on calls, free for reading; nothing is done twice when called again."""
        self._usage = usage
        runs = PendingRuns(self._session)
        parked = await runs.get()
        if parked is None or parked.run_id != run_id:
            await runs.park(state, calls, run_id=run_id)
        await self._ended(Outcome.WAITING, run_id)

    def run_id(self, number: int) -> str:
        """What names the run that waits for a decision, from 1 for its first one."""
        return hashlib.sha256(f"{self._name}#{number}".encode()).hexdigest()[:16]

    def resume(self, number: int) -> None:
        """From now on the turn is the one that a decision led to. It takes the session when something new is done."""
        self._delivery = self._delivery_of(number)
        self._hold = Hold.OVER if self._was_done() else Hold.NONE

    async def before(self) -> list[Any]:
        """The whole history before the turn."""
        async with self._session._open():
            items, _ = await self._store.read_from(0)
        return items[: self.first]

    # --- small things ------------------------------------------------------------------------------------------------

    def _delivery_of(self, number: int) -> Delivery:
        decides = self.run_id(number) if number else None
        return Delivery(turn_id(f"{self._name}#{number}"), request_digest(self._name), decides=decides)

    def _was_done(self) -> bool:
        done = self._log.finished_by(self._delivery.id)
        return done is not None and done.outcome not in (*_LOST, Outcome.WAITING)

    def _milliseconds(self) -> int:
        return max(1, int(self._seconds() * 1000))

    async def _read_back(self, limit: int | None) -> None:
        """Have as much of the history as is asked for."""
        start = 0 if limit is None else max(0, (self.first or 0) + len(self._own) - limit - 1)
        if start < self._history_from:
            async with self._session._open():
                items, _ = await self._store.read_from(start)
            self._history, self._history_from = items[: (self.first or 0) - start], start

    def _lost(self, what: str) -> TurnLostError:
        return TurnLostError(f"session {self.session_id!r} went on without the run: {what}. Nothing was written")


async def _unguarded(work: Awaitable[Any]) -> Any:
    return await work
