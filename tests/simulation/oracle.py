"""Judges a run: every write at its instant, every operation at its end, the table when all is over.

A request knows the operation that it was sent for. So a write is not asked "is this a possible history?", but "may this
operation, now, make this of what was there?".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .answers import AnswerJudge
from .clock import EPOCH
from .docket import Allowed, Docket
from .expressions import Item
from .internals import DamagedHead, Decoder, Stored, belongs, head_key, is_part
from .ledger import Ledger, State
from .operations import Operation
from .table import Write
from .trace import Trace
from .weather import Weather
from .wire import Sender
from .writes import WriteJudge


class Oracle:
    """The judge of one run.

    Args:
        weather: What was allowed to go wrong.
        items: The table's items.
        trace: Where everything is noted.
        now: Virtual seconds.

    Attributes:
        docket: What it found.
    """

    def __init__(self, weather: Weather, items: Mapping[str, Item], trace: Trace, now: Callable[[], float]) -> None:
        self.docket = Docket(trace, now)
        self._weather = weather
        self._items = items
        self._decoder = Decoder(items)
        self._writes = WriteJudge(self.docket, is_skewed=bool(weather.skew_seconds))
        self._answers = AnswerJudge(self.docket, weather)
        self._ledgers: dict[str, Ledger] = {}
        self._part_writers: dict[str, Any] = {}
        self._vandalised: set[str] = set()
        self._deleted_by_ttl: set[str] = set()

    def ledger(self, key: str) -> Ledger:
        """What was stored under a head's key."""
        return self._ledgers.setdefault(key, Ledger(key))

    # --- operations ------------------------------------------------------------------------------------------------

    def sent(self, operation: Operation, request: str) -> None:
        """Judge a request when it leaves: an operation that has ended sends nothing."""
        if operation.outcome not in {"", "killed"}:
            self.docket.accuse(f"{operation} has ended, and sends a {request}")

    def ended(self, operation: Operation, limit: float, result: Any = None, error: BaseException | None = None) -> None:
        """Judge an operation at its end.

        Args:
            operation: The operation.
            limit: How many seconds it may have taken.
            result: What it returned: of a read, the names and its limit; of a pop, the name.
            error: What it raised.
        """
        self._answers.judge(self.ledger(operation.key), operation, limit, result, error)

    # --- writes ----------------------------------------------------------------------------------------------------

    def written(self, write: Write) -> None:
        """Judge a write, at its instant."""
        ledger = self.ledger(head_key(write.key))
        old = ledger.stored
        if is_part(write.key):
            self._note_part(write)
            if write.key not in old.live:
                return
        try:
            new = self._decoder.decode(ledger.key)
        except DamagedHead as damage:
            if write.request != "damage":
                self.docket.accuse(f"{_who(write)} left a head that cannot be read: {damage}")
            ledger.states.append(State(self.docket.now(), None))
            return
        ledger.states.append(State(self.docket.now(), new))
        if not is_part(write.key):
            self.docket.note("table", f"{write.key}: {_change(old, new)}")
        self._check_parts(write, old, new)
        if is_part(write.key):
            if new.names != old.names:
                self.docket.accuse(f"{_who(write)}: a part changed the history")
        elif isinstance(write.cause, Sender):
            self._writes.judge(ledger, write.cause, old, new)

    def _note_part(self, write: Write) -> None:
        if write.request == "PutItem":
            self._part_writers[write.key] = write.cause
            self._vandalised.discard(write.key)
            self._deleted_by_ttl.discard(write.key)
        elif write.request == "TTL":
            self._deleted_by_ttl.add(write.key)
        elif write.request == "damage":
            self._vandalised.add(write.key)

    def _check_parts(self, write: Write, old: Stored, new: Stored) -> None:
        """Live parts are there, are what the head says, and live as long as it does."""
        if new.ttl is not None and new.ttl <= EPOCH + self.docket.now():
            return  # expired: nothing of it counts any more
        for key, problem in new.problems.items():
            if key in self._vandalised or key in old.problems:
                continue
            if self._weather.skew_seconds and key in self._deleted_by_ttl:
                self.docket.allow(Allowed.REVIVED)
            else:
                self.docket.accuse(f"{_who(write)}: live part {key} {problem}")

    # --- the end ---------------------------------------------------------------------------------------------------

    def check_garbage(self, *, cleared: bool) -> None:
        """Find parts that no head knows.

        Args:
            cleared: Whether every session was cleared since: then nothing may be left that a head knew.
        """
        for key, item in sorted(self._items.items()):
            ledger = self.ledger(head_key(key))
            if is_part(key) and key not in self._vandalised and (cleared or not belongs(key, item, ledger.stored)):
                self._judge_orphan(ledger, key, item)

    def _judge_orphan(self, ledger: Ledger, key: str, item: Item) -> None:
        sender: Sender = self._part_writers[key]
        operation, bounded_by = sender.operation, ledger.bounded_by
        if sender.process.is_dead:
            self.docket.allow(Allowed.LEFT_BY_THE_DEAD)
        elif ledger.was_foreign:
            self.docket.allow(Allowed.LEFT_BY_THE_REFERENCE)
        elif sender.is_late:
            self.docket.allow(Allowed.LEFT_LATE)
        elif operation.faults or operation.outcome in {"unknown", "cancelled"}:
            self.docket.allow(Allowed.LEFT_IN_TROUBLE)
        elif "ttl" in item:
            self.docket.allow(Allowed.LEFT_FOR_A_WHILE)
        elif bounded_by is not None and (bounded_by.faults or bounded_by.outcome != "ok"):
            self.docket.allow(Allowed.LEFT_UNBOUNDED)
        else:
            self.docket.accuse(f"{key}, a part that no head knows and that never expires, was left by {operation}")


def _change(old: Stored, new: Stored) -> str:
    """What a write made of a head, in words."""
    words = [f"{len(old.names)} -> {len(new.names)} items"]
    if new.names == old.names:
        pass
    elif new.names[: len(old.names)] == old.names:
        words.append(f"+{','.join(new.names[len(old.names) :])}")
    elif old.names[: len(new.names)] == new.names:
        words.append(f"-{','.join(old.names[len(new.names) :])}")
    else:
        words.append(f"now {','.join(new.names)}")
    for name, before, after in (
        ("lease", old.token.hex()[-4:], new.token.hex()[-4:]),
        ("ttl", old.ttl and old.ttl - EPOCH, new.ttl and new.ttl - EPOCH),
        ("owner", old.owner, new.owner),
    ):
        if before != after:
            words.append(f"{name} {before or 'none'} -> {after or 'none'}")
    return "; ".join(words if new.exists else [*words, "absent"])


def _who(write: Write) -> str:
    return f"{write.cause.operation} ({write.request})" if isinstance(write.cause, Sender) else write.request
