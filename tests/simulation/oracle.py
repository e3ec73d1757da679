"""Judges a run: every write at its instant, every operation at its end, the table when all is over.

A request knows the operation that it was sent for. So a write is not asked "is this a possible history?", but "may this
operation, now, make this of what was there?".
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai_agents_session import OutcomeUnknownError, SessionError

from .clock import EPOCH
from .expressions import Item
from .internals import DamagedHead, Decoder, Stored, belongs, head_key, is_part
from .operations import Operation
from .rules import CLEARS, LEASES, REFERENCE, Names, explains
from .table import Write
from .trace import Trace
from .weather import Weather
from .wire import Sender


@dataclass(frozen=True, slots=True)
class State:
    """What the table held from an instant on.

    Attributes:
        time: Virtual seconds.
        stored: What it held; None while the head cannot be read.
    """

    time: float
    stored: Stored | None


@dataclass
class Ledger:
    """All that was ever stored under one head's key.

    Attributes:
        key: The head's key.
        states: One after the other.
        holders: Who took each lease, by token.
        scopes: The lease that each token stands for: taking it again is taking the same.
        bounded_by: The operation that gave the session its first ``ttl``.
        was_foreign: Whether the reference library wrote the head at some time.
    """

    key: str
    states: list[State]
    holders: dict[bytes, Any] = field(default_factory=dict)
    scopes: dict[bytes, object] = field(default_factory=dict)
    bounded_by: Operation | None = None
    was_foreign: bool = False

    @property
    def stored(self) -> Stored:
        """What is stored now; of a damaged head, what was before."""
        return next(state.stored for state in reversed(self.states) if state.stored is not None)

    def since(self, began: float, until: float) -> Iterator[tuple[float, float, Stored | None]]:
        """What was stored in some time: from when, until when, what."""
        first = bisect.bisect_right(self.states, began, key=lambda state: state.time) - 1
        for index in range(max(0, first), len(self.states)):
            state = self.states[index]
            if state.time > until:
                return
            end = self.states[index + 1].time if index + 1 < len(self.states) else until
            yield max(state.time, began), min(end, until), state.stored


class Oracle:
    """The judge of one run.

    Args:
        weather: What was allowed to go wrong.
        items: The table's items.
        trace: Where everything is noted.
        now: Virtual seconds.

    Attributes:
        wrong: What must not happen, and did.
        evidence: The events that led to the first of it, one a line.
        allowed: What docs/design.md says can still happen, and did, by kind.
        outcomes: Operations by kind and outcome.
    """

    def __init__(self, weather: Weather, items: Mapping[str, Item], trace: Trace, now: Callable[[], float]) -> None:
        self.wrong: list[str] = []
        self.evidence = ""
        self.allowed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.vandalised: set[str] = set()
        self._weather = weather
        self._items = items
        self._trace = trace
        self._now = now
        self._decoder = Decoder(items)
        self._ledgers: dict[str, Ledger] = {}
        self._part_writers: dict[str, Sender | None] = {}
        self._deleted_by_ttl: set[str] = set()
        self._claimed: set[str] = set()

    def ledger(self, key: str) -> Ledger:
        """What was stored under a head's key."""
        return self._ledgers.setdefault(key, Ledger(key, [State(0.0, Stored())]))

    def accuse(self, what: str) -> None:
        """Note what must not happen."""
        self._trace.note(self._now(), "oracle", f"WRONG: {what}")
        if not self.wrong:
            self.evidence = self._trace.text()
        self.wrong.append(f"{self._now():.4f} {what}")

    # --- every write -----------------------------------------------------------------------------------------------

    def written(self, write: Write) -> None:
        """Judge a write, at its instant."""
        key = head_key(write.key)
        ledger = self.ledger(key)
        if is_part(write.key):
            self._note_part(write)
            if write.key not in ledger.stored.live:
                return
        old = ledger.stored
        try:
            new = self._decoder.decode(key)
        except DamagedHead as damage:
            if write.cause is not None or write.request != "damage":
                self.accuse(f"{_who(write)} left a head that cannot be read: {damage}")
            ledger.states.append(State(self._now(), None))
            return
        self._note_change(write, old, new)
        ledger.states.append(State(self._now(), new))
        self._check_parts(write, old, new)
        if is_part(write.key):
            if new.names != old.names:
                self.accuse(f"{_who(write)}: a part changed the history")
        elif isinstance(write.cause, Sender):
            self._judge(ledger, write, write.cause, old, new)

    def _note_part(self, write: Write) -> None:
        if write.request == "PutItem":
            self._part_writers[write.key] = write.cause
            self.vandalised.discard(write.key)
            self._deleted_by_ttl.discard(write.key)
        elif write.request == "TTL":
            self._deleted_by_ttl.add(write.key)
        elif write.request == "damage":
            self.vandalised.add(write.key)

    def _note_change(self, write: Write, old: Stored, new: Stored) -> None:
        if is_part(write.key):
            return
        parts = [f"{len(old.names)} -> {len(new.names)} items"]
        if new.names[: len(old.names)] == old.names and new.names != old.names:
            parts.append(f"+{','.join(new.names[len(old.names) :])}")
        elif old.names[: len(new.names)] == new.names and new.names != old.names:
            parts.append(f"-{','.join(old.names[len(new.names) :])}")
        elif new.names != old.names:
            parts.append(f"now {','.join(new.names)}")
        for name, before, after in (
            ("lease", old.token.hex()[-4:], new.token.hex()[-4:]),
            ("ttl", old.ttl and old.ttl - EPOCH, new.ttl and new.ttl - EPOCH),
            ("owner", old.owner, new.owner),
        ):
            if before != after:
                parts.append(f"{name} {before or 'none'} -> {after or 'none'}")
        parts.append("" if new.exists else "absent")
        self._trace.note(self._now(), "table", f"{write.key}: {'; '.join(part for part in parts if part)}")

    def _check_parts(self, write: Write, old: Stored, new: Stored) -> None:
        """Live parts are there, are what the head says, and live as long as it does."""
        server = EPOCH + self._now()
        if new.ttl is not None and new.ttl <= server:
            return  # expired: nothing of it counts any more
        for key, problem in new.problems.items():
            if key in self.vandalised or old.problems.get(key) == problem:
                continue
            if self._weather.skew_seconds and key in self._deleted_by_ttl:
                self.allowed["a slow clock revived a session whose parts had expired"] += 1
                continue
            self.accuse(f"{_who(write)}: live part {key} {problem}")

    def _judge(self, ledger: Ledger, write: Write, sender: Sender, old: Stored, new: Stored) -> None:
        """Whether the operation may have made that write."""
        operation = sender.operation
        if operation.kind == REFERENCE:
            ledger.was_foreign = True
            return
        if self._weather.skew_seconds and any(name.startswith("?") for name in new.names):
            self.allowed["a slow clock wrote what had expired before it was written"] += 1
            operation.applied += 1
            return
        clock = sender.process.clock()
        is_expired = old.ttl is not None and old.ttl <= clock
        effect = self._effect(operation, old, new, is_expired)
        if effect is None:
            self.accuse(f"{operation} made {_short(old.names)} of {ledger.key} to {_short(new.names)}")
            return
        if not is_expired:
            self._judge_lease(ledger, operation, old, new, int(clock * 1000))
            self._judge_owner(operation, old, new)
        self._judge_ttl(operation, new, clock)
        if new.token and new.token not in ledger.holders:
            ledger.holders[new.token], ledger.scopes[new.token] = operation.actor, operation.scope
            operation.tokens.append(new.token)
            effect = True
            if operation.kind not in LEASES:
                self.accuse(f"{operation} began a lease")
        if new.ttl is not None and old.ttl is None and old.slot_count:
            ledger.bounded_by = operation
        if effect:
            self._applied(operation, old, new)
        operation.commits.add(new.commit)

    @staticmethod
    def _effect(operation: Operation, old: Stored, new: Stored, is_expired: bool) -> bool | None:
        """Whether the write did what the operation is for, or nothing (False); None if it cannot be explained."""
        for base in (old.names, ()) if is_expired else (old.names,):
            if new.names == base:
                return False
            if explains(operation, base, new.names, old.holes):
                return True
        return None

    def _applied(self, operation: Operation, old: Stored, new: Stored) -> None:
        operation.applied += 1
        operation.removed.append(tuple(name for name in old.names if name not in set(new.names)))
        if operation.outcome == "failed":
            self.accuse(f"{operation} ended with {operation.error}, which says that nothing was stored; now it is")
        if operation.kind == "claim":
            if operation.about in self._claimed:
                self.accuse(f"{operation}: run {operation.about} was claimed before")
            self._claimed.add(operation.about)
        if operation.applied == 1 or operation.kind in LEASES:
            return
        if not old.exists and new.commit in operation.commits:  # the same request again
            self.allowed["a delayed request created a cleared session again"] += 1
        else:
            self.accuse(f"{operation} was applied {operation.applied} times")

    def _judge_lease(self, ledger: Ledger, operation: Operation, old: Stored, new: Stored, clock: int) -> None:
        if not old.token or old.until <= clock or operation.kind in CLEARS:
            return
        is_holder = ledger.holders.get(old.token) is operation.actor
        is_mine = ledger.scopes.get(old.token) is operation.scope
        if new.names != old.names and not is_holder:
            self.accuse(f"{operation} wrote into the turn of {ledger.holders.get(old.token)}")
        if new.token == old.token:
            if new.until != old.until and not is_holder:
                self.accuse(f"{operation} changed somebody else's lease")
        elif not is_mine:
            self.accuse(f"{operation} ended the lease of {ledger.holders.get(old.token)}")

    def _judge_owner(self, operation: Operation, old: Stored, new: Stored) -> None:
        owner = operation.actor.owner
        if new.names != old.names and owner is not None and old.owner != owner and (old.owner or old.names):
            self.accuse(f"{operation} of {owner} wrote into the session of {old.owner}")
        if new.exists and new.owner not in {old.owner, owner}:
            self.accuse(f"{operation} of {owner} bound the session to {new.owner}")

    def _judge_ttl(self, operation: Operation, new: Stored, clock: float) -> None:
        if not new.exists or operation.kind == "recover":
            return
        ttl = operation.actor.ttl
        began = clock - (self._now() - operation.began)
        if (ttl is None) != (new.ttl is None) or (
            ttl is not None and not began - 1 <= (new.ttl or 0) - ttl <= clock + 1
        ):
            self.accuse(f"{operation} with ttl_seconds={ttl} let the session end at {new.ttl}, {clock:.0f} being now")

    def sent(self, operation: Operation, request: str) -> None:
        """Judge a request when it leaves: an operation that has ended sends nothing."""
        if operation.outcome not in {"", "killed"}:
            self.accuse(f"{operation} has ended, and sends a {request}")

    # --- every operation -------------------------------------------------------------------------------------------

    def ended(self, operation: Operation, limit: float, result: Any = None, error: BaseException | None = None) -> None:
        """Judge an operation at its end.

        Args:
            operation: The operation.
            limit: How many seconds it may have taken.
            result: What it returned: of a read, the names; of a pop, the name.
            error: What it raised.
        """
        operation.ended = self._now()
        operation.error = type(error).__name__ if error else ""
        operation.outcome = "killed" if operation.actor.process.is_dead else _outcome(error)
        self.outcomes[f"{operation.kind}: {operation.error or 'ok'}"] += 1
        self._trace.note(self._now(), str(operation.actor), f"{operation}: {error or _shown(result)}")
        if operation.kind == REFERENCE or operation.outcome == "killed":
            return
        if operation.ended - operation.began > limit + 1e-6:
            self.accuse(f"{operation} took {operation.ended - operation.began:.2f} s, of at most {limit:.2f}")
        if operation.outcome == "raw":
            self.accuse(f"{operation} raised {error!r}")
        elif operation.outcome == "failed":
            self._failed(operation, error)
        elif operation.outcome == "ok":
            self._succeeded(operation, result)

    def _failed(self, operation: Operation, error: BaseException | None) -> None:
        if operation.applied and operation.kind not in LEASES:
            self.accuse(f"{operation} raised {error!r}, and was applied")
        stored = self.ledger(operation.key).stored
        if operation.kind == "lease" and stored.token in operation.tokens and stored.until > self._server_ms():
            self.accuse(f"{operation} raised {error!r}, and left a lease that nobody holds")
        excuse = _EXCUSES.get(operation.error)
        if excuse is None or not excuse(self, operation):
            self.accuse(f"{operation} raised {error!r} without a reason")

    def _succeeded(self, operation: Operation, result: Any) -> None:
        kind = operation.kind
        if kind in {"append", "replace", "park", "claim"} or (kind == "compact" and result):
            if operation.applied != 1:
                self.accuse(f"{operation} is acknowledged, and was applied {operation.applied} times")
        elif kind == "compact" and operation.applied:
            self.accuse(f"{operation} returned False, and was applied")
        elif kind == "pop":
            self._popped(operation, result)
        elif kind in CLEARS and not operation.applied and not self._was_empty(operation):
            self.accuse(f"{operation} is acknowledged, and the session was never empty")
        elif kind == "lease" and not self._holds(operation):
            self.accuse(f"{operation} is acknowledged, and the lease is not in the head")
        elif kind == "read":
            self._was_read(operation, *result)

    def _popped(self, operation: Operation, name: str | None) -> None:
        if name is None:
            if operation.applied or not self._was_empty(operation):
                self.accuse(f"{operation} returned nothing, of a session that was never empty, or took something")
        elif operation.removed != [(name,)]:
            self.accuse(f"{operation} returned {name}, and took {operation.removed}")

    def _was_read(self, operation: Operation, names: Names, limit: int | None) -> None:
        if limit is not None and limit <= 0 and not names:
            return
        for seen in self._visible(operation):
            if names == (seen if limit is None else seen[-limit:]):
                return
        if self._weather.skew_seconds and self._believes_in_lease(operation):
            self.allowed["a lease's holder with a slow clock read what it remembered"] += 1
            return
        self.accuse(f"{operation} returned {_short(names)} (limit {limit}), which was never the history")

    def _believes_in_lease(self, operation: Operation) -> bool:
        """Whether by its own clock an operation's session object still holds a lease."""
        ledger, clock = self.ledger(operation.key), operation.actor.process.clock() * 1000
        held = [state.stored for state in ledger.states if state.stored and state.stored.until > clock]
        return any(ledger.holders.get(stored.token) is operation.actor for stored in held)

    def _was_empty(self, operation: Operation) -> bool:
        return any(not names for names in self._visible(operation))

    def _visible(self, operation: Operation) -> Iterator[Names]:
        """What the history was for an operation's clock, at some instant of its time."""
        skew = operation.actor.process.skew
        owner = operation.actor.owner
        until = self._now() if operation.ended is None else operation.ended
        for start, end, stored in self.ledger(operation.key).since(operation.began, until):
            if stored is None:
                continue
            is_mine = owner is None or stored.owner == owner or not (stored.owner or stored.names)
            if is_mine and (stored.ttl is None or stored.ttl > EPOCH + start + skew):
                yield stored.names
            if stored.ttl is not None and stored.ttl <= EPOCH + end + skew:
                yield ()

    def _holds(self, operation: Operation) -> bool:
        """Whether the lease that an operation took is, or was meanwhile, in the head."""
        states = self.ledger(operation.key).since(operation.began, self._now())
        return any(stored is not None and stored.token in operation.tokens for _, _, stored in states if stored)

    def _server_ms(self) -> float:
        return (EPOCH + self._now()) * 1000

    # --- reasons for errors ----------------------------------------------------------------------------------------

    def was(self, operation: Operation, what: Callable[[Stored], object]) -> bool:
        """Whether something held for what was stored, at some instant of an operation."""
        states = self.ledger(operation.key).since(operation.began, self._now())
        return any(stored is not None and what(stored) for _, _, stored in states)

    def was_damaged(self, operation: Operation) -> bool:
        """Whether the session was damaged, at some instant of an operation."""
        states = self.ledger(operation.key).since(operation.began, self._now())
        return any(stored is None or stored.problems for _, _, stored in states)

    def had(self, operation: Operation, *spells: str) -> bool:
        """Whether one of these spells may have been the reason."""
        return bool(set(spells) & set(self._weather.spells)) or (
            "denied" in spells and bool(operation.actor.process.denied)
        )

    def had_faults(self, operation: Operation) -> bool:
        """Whether requests of an operation failed."""
        return operation.faults > 0 or self._weather.stale > 0

    # --- the end ---------------------------------------------------------------------------------------------------

    def check_garbage(self, *, cleared: bool) -> int:
        """Find parts that no head knows; returns how many items are left.

        Args:
            cleared: Whether every session was cleared since: then nothing may be left that a head knew.
        """
        for key, item in sorted(self._items.items()):
            if not is_part(key):
                continue
            ledger = self.ledger(head_key(key))
            if cleared or not belongs(key, item, ledger.stored):
                self._judge_orphan(ledger, key, item)
        return len(self._items)

    def _judge_orphan(self, ledger: Ledger, key: str, item: Item) -> None:
        sender = self._part_writers.get(key)
        if sender is None or key in self.vandalised:
            return
        operation = sender.operation
        if sender.process.is_dead:
            kind = "its writer was killed"
        elif ledger.was_foreign:
            kind = "the reference library replaced the head"
        elif sender.is_late:
            kind = "it arrived late"
        elif operation.outcome in {"unknown", "cancelled", "killed"} or operation.faults:
            kind = "its writer met faults"
        elif "ttl" in item:
            kind = "it expires by itself"
        elif ledger.bounded_by is not None and (ledger.bounded_by.faults or ledger.bounded_by.outcome != "ok"):
            kind = "its session got its first ttl in trouble"
        else:
            self.accuse(f"{key}, a part that no head knows and that never expires, was left by {operation}")
            return
        self.allowed[f"a part that no head knows: {kind}"] += 1


_EXCUSES: dict[str, Callable[[Oracle, Operation], bool]] = {
    "ContentionError": lambda *_: True,
    "LeaseLostError": lambda *_: True,
    "DeadlineError": lambda *_: True,
    "RunNotPendingError": lambda *_: True,
    "UnavailableError": lambda oracle, operation: oracle.had_faults(operation),
    "AccessDeniedError": lambda oracle, operation: oracle.had(operation, "denied", "expired"),
    "TableNotFoundError": lambda oracle, operation: oracle.had(operation, "missing"),
    "CorruptSessionError": lambda oracle, operation: oracle.was_damaged(operation),
    "WrongOwnerError": lambda oracle, operation: oracle.was(
        operation, lambda stored: stored.owner != operation.actor.owner
    ),
    "LeaseUnavailableError": lambda oracle, operation: oracle.was(operation, lambda stored: stored.token),
    "InvalidInputError": lambda _, operation: operation.actor.leases > 1 and operation.kind in LEASES,
}
"""Which errors may be raised, and when: anything else is raised for no reason."""


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, OutcomeUnknownError):
        return "unknown"
    if isinstance(error, SessionError):
        return "failed"
    if isinstance(error, Exception):
        return "raw"
    return "cancelled"


def _who(write: Write) -> str:
    return f"{write.cause.operation} ({write.request})" if isinstance(write.cause, Sender) else write.request


def _short(names: Names) -> str:
    return f"({', '.join(names)})" if len(names) <= 8 else f"({len(names)}: ... {', '.join(names[-7:])})"


def _shown(result: Any) -> str:
    return "ok" if result is None else f"ok {str(result)[:80]}"


__all__ = ["Ledger", "Oracle", "State"]
