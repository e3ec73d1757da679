"""The one door to a head: a transition becomes true by one conditional write, exactly once or with a clear error.

::

    read, or remembered ──> transition ──> put head if unchanged ──> acknowledged here, and only here
           ^                                  |            |
           |   another writer was first       |            |  answer lost: in flight
           '──────────────────────────────────'            |
           ^                                               v
           '──────────────── not landed ──── evidence in the head ──── landed: done
                                                           '────────── unknown: OutcomeUnknownError

A transition maps the head to what should become of it. It may be asked again, with another head, as often as it takes.
A remembered head may be stale. Writing on it is safe, since the condition checks. Returning early or raising is not:
the head is read first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..errors import (
    ContentionError,
    CorruptSessionError,
    OutcomeUnknownError,
    SessionError,
    StorageError,
)
from ..events import Event
from ..options import StorageOptions
from .aws_errors import ConditionFailed, RequestFailed, unavailable
from .evidence import Fate, InFlightWrite, fate_of
from .head import Attributes, Head, from_attributes
from .receipts import KEEP, KEEP_CONTENDED, CommitIds
from .record import DamagedRecordError
from .retry import RetryBudget
from .table import Table
from .transition import Change, Check, Delete, Nothing, Planned, Put, Reread, Transition, View

_REREAD_AFTER = 2


class IfUnknown(Enum):
    """What to do where nobody can know whether an earlier try landed."""

    RAISE = "say so"
    REPEAT = "make it again: twice is as good as once"
    DONE_WHEN_OVER = "it is done if the session's life is over, whoever ended it; else say so"


Landed = Callable[[Head, Head], Awaitable[None]]
"""Maintenance after a head was put. It gets the head before, and the one written."""


@dataclass(slots=True)
class _Attempt:
    """How far an operation has come.

    Attributes:
        head: The head to start from next; None when it has to be read.
        is_fresh: Whether that came from the table since the operation began, rather than from memory.
        in_flight: Writes to replace one head, of which one may have landed, each with what it changes.
    """

    head: Head | None
    is_fresh: bool = False
    in_flight: list[_Try] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Try:
    """A write that was sent, and the change that it makes."""

    write: InFlightWrite
    change: Change


class Committer:
    """The head of one session, as one session object sees and writes it.

    Args:
        session_id: The table key of the head.
        table: The table.
        options: For its clock and observer.

    Attributes:
        known: The head as last seen, if nothing has happened since that makes it doubtful.
        ids: The commit ids of this object's writes.
    """

    def __init__(self, session_id: str, table: Table, options: StorageOptions) -> None:
        self.known: Head | None = None
        self.ids = CommitIds()
        self._session_id = session_id
        self._table = table
        self._options = options

    async def read(self, budget: RetryBudget) -> Head:
        """The head that the table holds now.

        Raises:
            CorruptSessionError: It is damaged.
        """
        self.known = None
        self.known = self.decoded(await self._table.read_item(self._session_id, budget))
        return self.known

    def decoded(self, item: Attributes | None) -> Head:
        """The head that an item holds. Raises ``CorruptSessionError``."""
        try:
            return from_attributes(self._session_id, item, int(self._options.clock()))
        except DamagedRecordError as error:
            raise CorruptSessionError(
                self._session_id, "head", str(error), intact_items=None, total_items=None
            ) from error

    async def commit(
        self,
        transition: Transition,
        check: Check,
        budget: RetryBudget,
        *,
        if_unknown: IfUnknown = IfUnknown.RAISE,
        landed: Landed | None = None,
    ) -> Any:
        """Carry out a transition.

        Args:
            transition: What becomes of the head.
            check: Raises if the caller may not write this head.
            budget: The operation's.
            if_unknown: What to do where the evidence of an earlier try is gone.
            landed: Maintenance once a head was put; it may fail.

        Returns:
            The result that the transition gave with the change that landed.

        Raises:
            OutcomeUnknownError: A write may have landed; the head does not show whether, or could not be read in time.
            SessionError: Any other error: nothing was written, nor will be.
        """
        attempt = _Attempt(self.known)
        self.known = None
        try:
            while True:
                head = await self._head_for(attempt, budget)
                outcome: _Try | Nothing | None = self._settled(attempt, head, if_unknown)
                if outcome is None:
                    outcome = await self._made(attempt, head, transition, check, budget, if_unknown)
                if isinstance(outcome, Nothing):
                    return outcome.result
                if outcome is not None and await self._is_done(outcome, landed):
                    return outcome.change.result
        except SessionError as error:
            if not attempt.in_flight or isinstance(error, OutcomeUnknownError):
                raise
            cause = error.__cause__ or error
            raise self._unknown(f"then {_first_sentence(error)}; the write may have landed, or may still") from cause

    async def _head_for(self, attempt: _Attempt, budget: RetryBudget) -> Head:
        """The head to start from: the one at hand, or else the one in the table."""
        if attempt.head is None:
            attempt.head, attempt.is_fresh = await self.read(budget), True
            self.known = None
        return attempt.head

    def _settled(self, attempt: _Attempt, head: Head, if_unknown: IfUnknown) -> _Try | None:
        """The earlier try that landed; None when none did, and the transition is to be made (again)."""
        pending = []
        for sent in attempt.in_flight:
            fate = fate_of(sent.write, head)
            if fate is Fate.LANDED or (fate is Fate.OVER and if_unknown is IfUnknown.DONE_WHEN_OVER):
                attempt.in_flight = []
                self.known = head if fate is Fate.LANDED else None
                return sent
            if fate is Fate.PENDING:
                pending.append(sent)
            elif fate is not Fate.NEVER and if_unknown is not IfUnknown.REPEAT:
                raise self._unknown(fate.value)
        attempt.in_flight = pending
        return None

    async def _made(
        self,
        attempt: _Attempt,
        head: Head,
        transition: Transition,
        check: Check,
        budget: RetryBudget,
        if_unknown: IfUnknown,
    ) -> _Try | Nothing | None:
        """What was made of the head; None when it must be looked at again."""
        view = self._view(head, budget)
        planned = await self._planned(attempt, view, transition, check)
        if isinstance(planned, Reread) or (isinstance(planned, Nothing) and not attempt.is_fresh):
            attempt.head = None
            return None
        if isinstance(planned, Nothing):
            if attempt.in_flight and if_unknown is IfUnknown.RAISE:
                raise self._unknown("then there was nothing to do any more; the write may still land")
            self.known = head
            return planned
        return await self._written(attempt, view, planned)

    async def _is_done(self, landed_try: _Try, landed: Landed | None) -> bool:
        """Whether the operation is complete with what landed, once that was followed by maintenance.

        The write is acknowledged here: no failure of maintenance may turn it into an error.
        """
        write, change = landed_try.write, landed_try.change
        if landed is not None and write.written is not None:
            with contextlib.suppress(SessionError):
                await landed(write.expected, write.written)
        return isinstance(change, Delete) or change.is_final

    def _view(self, head: Head, budget: RetryBudget) -> View:
        now, milliseconds = divmod(int(self._options.clock() * 1000), 1000)
        keep = KEEP_CONTENDED if budget.retries else KEEP
        return View(head, head.as_of(now), now, self.ids.next(), keep, budget, milliseconds)

    async def _planned(self, attempt: _Attempt, view: View, transition: Transition, check: Check) -> Planned:
        try:
            check(view)
            return await transition(view)
        except SessionError:
            if attempt.is_fresh:
                raise
            return Reread()

    async def _written(self, attempt: _Attempt, view: View, change: Change) -> _Try | None:
        """The write, if it landed for certain; else, after a pause, there is a head to go on from."""
        written = change.encoded.head if isinstance(change, Put) else None
        sent = _Try(InFlightWrite(view.stored, written), change)
        try:
            if isinstance(change, Put) and change.parts:
                await self._table.put_whole(change.encoded.item, change.parts, view.stored, view.budget)
            elif isinstance(change, Put):
                await self._table.put_head(change.encoded.item, view.stored, view.budget)
            else:
                await self._table.delete_head(view.stored, view.budget)
        except ConditionFailed as refusal:
            self._observe("conflict")
            await self._refused(attempt, refusal, sent, view.budget)
            return None
        except RequestFailed as failure:
            self._observe("retry")
            await self._failed(attempt, failure, sent, view.budget)
            return None
        except StorageError as error:
            if error.may_have_landed:
                attempt.in_flight.append(sent)
            raise
        self.known, attempt.head, attempt.is_fresh, attempt.in_flight = written, written, True, []
        return sent

    async def _refused(self, attempt: _Attempt, refusal: ConditionFailed, sent: _Try, budget: RetryBudget) -> None:
        """Another writer was first, or it was our own write, sent again without our knowledge."""
        if refusal.retried:
            attempt.in_flight.append(sent)
        attempt.head, attempt.is_fresh = (self.decoded(refusal.item) if refusal.told else None), True
        if attempt.head is not None and any(
            fate_of(earlier.write, attempt.head) is Fate.LANDED for earlier in attempt.in_flight
        ):
            return
        if not await budget.pause(conflict=True):
            raise ContentionError(
                f"session {self._session_id!r}: other writers came first {budget.retries} times in "
                f"{budget.seconds:g} s; nothing was written. Run one turn of a session at a time (see lease)."
            )
        if budget.retries > _REREAD_AFTER:
            attempt.head = None  # refused this often: a read costs less than another refused write

    async def _failed(self, attempt: _Attempt, failure: RequestFailed, sent: _Try, budget: RetryBudget) -> None:
        """The write failed, or its answer was lost."""
        if failure.may_have_landed:
            attempt.in_flight.append(sent)
            attempt.head = None
        if not await budget.pause():
            raise unavailable(self._table.name, budget, failure) from failure.cause

    def _unknown(self, reason: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"session {self._session_id!r}: an answer was lost, and {reason}. Read the history before repeating the "
            "operation."
        )

    def _observe(self, name: str) -> None:
        if self._options.observer is not None:
            self._options.observer(Event(name))


def _first_sentence(error: SessionError) -> str:
    return str(error).partition("; nothing was written")[0].partition(". ")[0]
