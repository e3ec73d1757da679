"""What the oracle found: accusations with their evidence, and what may happen, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum

from .trace import Trace


class Allowed(Enum):
    """What can still happen, as docs/design.md says, and nothing else: each time is counted and reported."""

    CREATED_AGAIN = "a request that was sent before, or again by the client, created a cleared session"
    REVIVED = "a slow clock revived a session whose parts had expired"
    BORN_EXPIRED = "a slow clock wrote what had expired before it was written"
    HOLDER_REMEMBERED = "a lease's holder with a slow clock read what it remembered"
    LEFT_BY_THE_DEAD = "a part that no head knows: its writer was killed"
    LEFT_LATE = "a part that no head knows: it arrived late"
    LEFT_IN_TROUBLE = "a part that no head knows: its writer met faults"
    LEFT_FOR_A_WHILE = "a part that no head knows: it expires by itself"
    LEFT_UNBOUNDED = "a part that no head knows: its session got its first ttl in trouble"
    LEFT_BY_THE_REFERENCE = "a part that no head knows: the reference library replaced the head"


class Docket:
    """The findings of one run.

    Args:
        trace: Where everything is noted.
        now: Virtual seconds.

    Attributes:
        wrong: What must not happen, and did.
        evidence: The events that led to the first of it, one a line.
        allowed: What may happen, and did.
        outcomes: Operations by kind and outcome.
    """

    def __init__(self, trace: Trace, now: Callable[[], float]) -> None:
        self.wrong: list[str] = []
        self.evidence = ""
        self.allowed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._trace = trace
        self._now = now

    def now(self) -> float:
        """Virtual seconds."""
        return self._now()

    def note(self, who: str, what: str) -> None:
        """Note an event."""
        self._trace.note(self._now(), who, what)

    def accuse(self, what: str) -> None:
        """Note what must not happen."""
        self.note("oracle", f"WRONG: {what}")
        if not self.wrong:
            self.evidence = self._trace.text()
        self.wrong.append(f"{self._now():.4f} {what}")

    def allow(self, what: Allowed) -> None:
        """Count what may happen."""
        self.allowed[what.value] += 1
