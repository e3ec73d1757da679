"""Which turns a session has had: so that a turn happens once, decided by the head that holds its items.

A turn is begun by the write that takes the lease, and ended by the write that gives it back; both are writes of the
head, so "the answer is in the history" and "the turn is done" are one fact. A delivery that comes again finds its turn
here::

    not known                  begin: lease, turn and message in one write
    open, lease free           its environment died, or it was stopped: go on from what is there
    open, of another delivery  the same, for whoever comes next: close it, then begin
    finished                   the answer is the history between two positions
    waiting                    a run waits for a decision

What is remembered is bounded: the newest ``KEEP_TURNS`` finished turns. A delivery that comes again later than that is
not recognised, and is a turn of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum

from .record import DamagedRecordError, RecordReader, RecordWriter, UnknownFormatError
from .usage import NO_USAGE, Usage

KEEP_TURNS = 12
"""Finished turns that a head remembers. Each takes about 16 bytes of every write."""

_KEEP_IDS = 4
_FORMAT = 1
_FORMAT_WITH_USAGE = 2
_KEEP_USAGES = 4
_ID_BYTES = 8
_DIGEST_BYTES = 4
_RUN_BYTES = 8


class Outcome(IntEnum):
    """How a turn ended. The numbers are stored: never change one."""

    ANSWERED = 0
    WAITING = 1
    ABANDONED = 2
    REFUSED = 3
    INPUT_BLOCKED = 4
    OUTPUT_BLOCKED = 5
    MAX_TURNS = 6
    CONTEXT_FULL = 7
    FAILED = 8
    CLEARED = 9


def turn_id(name: str) -> bytes:
    """The stored form of a delivery's name: an idempotency key, a message's or an invocation's id."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:_ID_BYTES]


def request_digest(request: str) -> bytes:
    """The stored form of a request: two requests under one name differ in it."""
    return hashlib.sha256(request.encode(errors="surrogatepass")).digest()[:_DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn that is not done.

    Attributes:
        ids: The deliveries that asked for it, newest first.
        digest: Of what they ask.
        first: Items of the history before it.
        attempt: How often it was begun, from 1.
    """

    ids: tuple[bytes, ...]
    digest: bytes
    first: int
    attempt: int

    def taken_up(self, delivery: bytes) -> OpenTurn:
        """The same, begun once more, by a delivery that may be another."""
        others = tuple(known for known in self.ids if known != delivery)
        return replace(self, ids=(delivery, *others)[:_KEEP_IDS], attempt=self.attempt + 1)


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """A turn that is done.

    Attributes:
        delivery: The delivery that asked for it.
        digest: Of what it asked.
        first: Items of the history before it.
        last: Items of the history up to its end; the same as ``first`` when they have been removed since.
        outcome: How it ended.
        usage: What its model calls have used; of a turn that a decision went on with, those before it too. Kept for the
            newest turns alone.
    """

    delivery: bytes
    digest: bytes
    first: int
    last: int
    outcome: Outcome
    usage: Usage = NO_USAGE

    def removed(self, count: int) -> FinishedTurn:
        """The same, without items, in a history that is cut to so many."""
        first = min(self.first, count)
        outcome = Outcome.CLEARED if self.outcome is Outcome.WAITING else self.outcome
        return replace(self, first=first, last=first, outcome=outcome)


@dataclass(frozen=True, slots=True)
class TurnLog:
    """The turns of a session, as its head remembers them.

    Attributes:
        open: The one that is not done, or None.
        finished: The newest that are, newest first.
        waiting: The id of the run that waits for a decision, or None.
    """

    open: OpenTurn | None = None
    finished: tuple[FinishedTurn, ...] = ()
    waiting: str | None = None

    def finished_by(self, delivery: bytes) -> FinishedTurn | None:
        """The finished turn of a delivery, or None."""
        return next((turn for turn in self.finished if turn.delivery == delivery), None)

    def decided(self, turn: FinishedTurn) -> FinishedTurn:
        """The turn that a decision led to, in place of one that waited for it; any other is returned as it is.

        One that waited is abandoned when another turn has come since: the run that waits now is not its own.
        """
        if turn.outcome is not Outcome.WAITING:
            return turn
        for other in self.finished:
            if other.first == turn.first and other.outcome is not Outcome.WAITING:
                return other
        newest = self.finished[0] if self.open is None else self.open
        return turn if newest.first == turn.first else replace(turn, outcome=Outcome.ABANDONED)

    def begun(self, delivery: bytes, digest: bytes, count: int, *, decides: bool = False) -> TurnLog:
        """With a new open turn after so many items; one that was open is abandoned.

        A turn that decides on a run goes on with the one that waited: its items are those of both.
        """
        log = self if self.open is None else self.ended(Outcome.ABANDONED, count)
        newest = log.finished[0] if log.finished else None
        first = newest.first if decides and newest and newest.outcome is Outcome.WAITING else count
        return replace(log, open=OpenTurn((delivery,), digest, first, 1), waiting=None)

    def taken_up(self, delivery: bytes) -> TurnLog:
        """With the open turn begun once more."""
        return self if self.open is None else replace(self, open=self.open.taken_up(delivery))

    def ended(self, outcome: Outcome, count: int, *, waiting: str | None = None, usage: Usage = NO_USAGE) -> TurnLog:
        """With the open turn done, its items reaching up to the history's end of so many items."""
        turn = self.open
        if turn is None:
            return replace(self, waiting=waiting)
        done = tuple(FinishedTurn(delivery, turn.digest, turn.first, count, outcome, usage) for delivery in turn.ids)
        finished = _kept(done + self.finished)
        kept = tuple(replace(each, usage=NO_USAGE) for each in finished[_KEEP_USAGES:])
        return TurnLog(None, finished[:_KEEP_USAGES] + kept, waiting)

    def usage_before(self) -> Usage:
        """What was counted of the open turn already: by the one that waited for the decision which it brings."""
        if self.open is None or not self.finished:
            return NO_USAGE
        newest = self.finished[0]
        goes_on = newest.outcome is Outcome.WAITING and newest.first == self.open.first < newest.last
        return newest.usage if goes_on else NO_USAGE

    def without_run(self) -> TurnLog:
        """Without a run that waits for a decision: its question is gone."""
        return self if self.waiting is None else replace(self, waiting=None)

    def rewound(self, count: int) -> TurnLog:
        """After a rewind to so many items: what was asked after them is gone, and so is the turn that was to answer."""
        return self.ended(Outcome.CLEARED, count) if self.open is not None else self.without_run()

    def within(self, count: int) -> TurnLog:
        """What is left of it when the history is cut to so many items. Turns that lose items lose them all.

        One that waited for a decision is then over: the next turn at its place is not what the decision led to.
        """
        finished = tuple(turn if turn.last <= count else turn.removed(count) for turn in self.finished)
        opened = self.open if self.open is None else replace(self.open, first=min(self.open.first, count))
        return replace(self, open=opened, finished=finished)

    def pack(self) -> bytes:
        """The stored form."""
        record = RecordWriter()
        has_usage = any(turn.usage != NO_USAGE for turn in self.finished)
        record.number(_FORMAT_WITH_USAGE if has_usage else _FORMAT)
        record.number(0 if self.waiting is None else 1)
        if self.waiting is not None:
            record.raw(bytes.fromhex(self.waiting))
        record.number(0 if self.open is None else len(self.open.ids))
        if self.open is not None:
            for delivery in self.open.ids:
                record.raw(delivery)
            record.raw(self.open.digest)
            record.number(self.open.first)
            record.number(self.open.attempt)
        record.number(len(self.finished))
        for turn in self.finished:
            record.raw(turn.delivery)
            record.raw(turn.digest)
            record.number(turn.first)
            record.number(turn.last - turn.first)
            record.number(turn.outcome)
            if has_usage:
                _write_usage(record, turn.usage)
        return record.seal()

    @classmethod
    def unpack(cls, packed: bytes) -> TurnLog:
        """The log that ``pack`` packed. Raises ``DamagedRecordError``."""
        record = RecordReader(packed)
        form = record.number()
        if form not in (_FORMAT, _FORMAT_WITH_USAGE):
            raise UnknownFormatError("the list of turns is of a format that this version does not know")
        waiting = record.raw(_RUN_BYTES).hex() if record.number() else None
        opened = None
        if count := record.number():
            ids = tuple(record.raw(_ID_BYTES) for _ in range(count))
            opened = OpenTurn(ids, record.raw(_DIGEST_BYTES), record.number(), record.number())
        has_usage = form == _FORMAT_WITH_USAGE
        finished = tuple(_finished(record, has_usage=has_usage) for _ in range(record.number()))
        return cls(opened, finished, waiting)


NO_TURNS = TurnLog()


def _kept(finished: tuple[FinishedTurn, ...]) -> tuple[FinishedTurn, ...]:
    """The newest turns; and the request that led to the newest one, by however many decisions."""
    newest = finished[:KEEP_TURNS]
    waited = [turn for turn in finished if turn.first == newest[0].first and turn.outcome is Outcome.WAITING]
    return newest if not waited or waited[-1] in newest else (*newest[:-1], waited[-1])


def _write_usage(record: RecordWriter, usage: Usage) -> None:
    record.number(int(usage != NO_USAGE))
    if usage != NO_USAGE:
        usage.write(record)


def _finished(record: RecordReader, *, has_usage: bool) -> FinishedTurn:
    delivery, digest, first = record.raw(_ID_BYTES), record.raw(_DIGEST_BYTES), record.number()
    last = first + record.number()
    try:
        outcome = Outcome(record.number())
    except ValueError as error:
        raise DamagedRecordError(str(error)) from error
    usage = Usage.read(record) if has_usage and record.number() else NO_USAGE
    return FinishedTurn(delivery, digest, first, last, outcome, usage)


# --- what a delivery meets -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request for a turn.

    Attributes:
        id: Its name, as ``turn_id`` stores it.
        digest: Of what it asks, as ``request_digest`` stores it.
        continues: It asks to go on with whatever turn is open, and for no turn of its own.
        decides: The id of the run that it brings a decision on, or None.
    """

    id: bytes
    digest: bytes
    continues: bool = False
    decides: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A turn is running.

    Attributes:
        seconds: For how long at most.
        is_same: Whether it is this delivery's own.
    """

    seconds: float
    is_same: bool = False


@dataclass(frozen=True, slots=True)
class Unremembered:
    """The head knows of no turns: the session is new, was cleared, or is from before turns had names.

    Attributes:
        is_new: Whether it has no items either.
    """

    is_new: bool


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The turn has happened: here is where its items are."""

    turn: FinishedTurn


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """The same name was used for another request."""


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A run waits for a decision first."""

    run_id: str


@dataclass(frozen=True, slots=True)
class NothingOpen:
    """There is no turn to go on with."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The session is not in the state any more that the turn was to be based on."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The lease is ours and the turn is begun.

    Attributes:
        turn: The turn.
        interrupted: The turn before was not done: its items from ``turn.first`` on are to be put in order first.
    """

    turn: OpenTurn
    interrupted: bool


Refusal = AlreadyDone | OtherRequest | Awaiting | NothingOpen
"""Why a delivery gets no turn."""

Meeting = Held | Unremembered | Refusal | Changed | Begun
"""What a delivery meets: a turn to take, or why there is none."""


def refused(log: TurnLog, delivery: Delivery) -> Refusal | None:
    """Why a delivery gets no turn; None when it does."""
    if (done := log.finished_by(delivery.id)) is not None:
        return AlreadyDone(log.decided(done)) if done.digest == delivery.digest else OtherRequest()
    if log.open is not None:
        return _refused_by(log.open, delivery)
    if delivery.decides is not None:
        return None if delivery.decides == log.waiting else NothingOpen()
    if log.waiting is not None:
        return Awaiting(log.waiting)
    return NothingOpen() if delivery.continues else None


def _refused_by(turn: OpenTurn, delivery: Delivery) -> OtherRequest | NothingOpen | None:
    if delivery.digest == turn.digest or delivery.continues:
        return None
    if delivery.id in turn.ids:
        return OtherRequest()
    return None if delivery.decides is None else NothingOpen()


def is_at_work(log: TurnLog, delivery: Delivery) -> bool:
    """Whether the open turn is one that this very delivery has begun, or gone on with."""
    if log.open is None or delivery.id not in log.open.ids:
        return False
    return delivery.continues or delivery.digest == log.open.digest


def takes_up(log: TurnLog, delivery: Delivery) -> bool:
    """Whether a delivery goes on with the open turn, as the same request, or on purpose."""
    if log.open is None:
        return False
    return delivery.continues or delivery.id in log.open.ids or delivery.digest == log.open.digest
