"""What somebody asked of the library, and what came of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

CURRENT: ContextVar[Operation | None] = ContextVar("operation")
"""The operation that the running task works for: requests carry it, however deep in the library they are made."""


@dataclass(eq=False, slots=True)
class Operation:
    """One call.

    Attributes:
        number: Which of the run.
        kind: ``append``, ``pop``, ``clear``, ...
        key: The table key of what it is about: a session, or a session's parked run.
        actor: Whose it is: a puppet (see ``actors``), which has a process, a session object, an owner and a ``ttl``.
        began: When, in virtual seconds.
        batch: What it wants to store, as item names.
        about: What else it is about: a run's id, a snapshot.
        scope: The lease it takes or gives back.
        ended: When, or None.
        outcome: ``ok``, ``failed`` (a definite error), ``unknown``, ``cancelled`` or ``killed``; empty while it runs.
        error: The name of its error.
        applied: How often a write did what it is for.
        removed: What its writes took away.
        tokens: The leases that its writes began.
        applied_at: When that was done for the first time.
        applied_by: For which call of a client.
        faults: How many of its requests met one.
    """

    number: int
    kind: str
    key: str
    actor: Any
    began: float
    batch: tuple[str, ...] = ()
    about: Any = None
    scope: object = None
    ended: float | None = None
    outcome: str = ""
    error: str = ""
    applied: int = 0
    removed: list[tuple[str, ...]] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    applied_at: float = 0.0
    applied_by: int = 0
    faults: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"
