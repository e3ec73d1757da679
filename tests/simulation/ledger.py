"""All that was ever stored under one head's key, one state after the other."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .clock import EPOCH
from .internals import Stored
from .operations import Operation
from .rules import Names


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
    """The states of one session, or of one session's parked run.

    Attributes:
        key: The head's key.
        states: One after the other.
        holders: Whose session object took each lease, by token.
        scopes: The lease that each token stands for: taking it again is taking the same.
        bounded_by: The operation that gave the session its first ``ttl``.
        was_foreign: Whether the reference library wrote the head at some time.
        was_created_again: Whether a request that was sent before created what had been cleared.
    """

    key: str
    states: list[State] = field(default_factory=lambda: [State(0.0, Stored())])
    holders: dict[bytes, Any] = field(default_factory=dict)
    scopes: dict[bytes, object] = field(default_factory=dict)
    bounded_by: Operation | None = None
    was_foreign: bool = False
    was_created_again: bool = False

    @property
    def stored(self) -> Stored:
        """What is stored now; of a damaged head, what was before."""
        return next(state.stored for state in reversed(self.states) if state.stored is not None)

    def during(self, operation: Operation, now: float) -> Iterator[tuple[float, float, Stored | None]]:
        """What was stored during an operation: from when, until when, what."""
        began, ended = operation.began, now if operation.ended is None else operation.ended
        first = bisect.bisect_right(self.states, began, key=lambda state: state.time) - 1
        for index in range(max(0, first), len(self.states)):
            state = self.states[index]
            if state.time > ended:
                return
            until = self.states[index + 1].time if index + 1 < len(self.states) else ended
            yield max(state.time, began), min(until, ended), state.stored

    def was(self, operation: Operation, now: float, what: Callable[[Stored], object]) -> bool:
        """Whether something held for what was stored, at some instant of an operation."""
        return any(stored is not None and what(stored) for _, _, stored in self.during(operation, now))

    def was_damaged(self, operation: Operation, now: float) -> bool:
        """Whether the session was damaged, at some instant of an operation."""
        return any(stored is None or stored.problems for _, _, stored in self.during(operation, now))

    def visible(self, operation: Operation, now: float) -> Iterator[Names]:
        """What the history was for an operation's owner and clock, at some instant of its time."""
        owner, clock = operation.actor.owner, EPOCH + operation.actor.process.skew
        for start, end, stored in self.during(operation, now):
            if stored is None:
                continue
            is_mine = owner is None or stored.owner == owner or not (stored.owner or stored.names)
            if is_mine and (stored.ttl is None or stored.ttl > clock + start):
                yield stored.names
            if stored.ttl is not None and stored.ttl <= clock + end:
                yield ()

    def believes_in_lease(self, operation: Operation) -> bool:
        """Whether by its own clock an operation's session object still holds a lease."""
        clock = operation.actor.process.clock() * 1000
        held = [state.stored for state in self.states if state.stored and state.stored.until > clock]
        return any(self.holders.get(stored.token) is operation.actor for stored in held)
