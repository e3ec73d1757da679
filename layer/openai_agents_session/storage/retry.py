"""How long, and how, to try again: one budget of time for an operation, and a deadline over several.

Every request and every pause of an operation is paid from its budget, so that the operation ends when it said it would.
A turn sets a deadline besides: no budget that is opened while the turn runs reaches beyond it.

Pauses are exponential backoff with full jitter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0
_LONGEST_CONFLICT_PAUSE_SECONDS = 0.5
_CONFLICT_PAUSE_PER_TRY = 8

GRACE_SECONDS = 1.0
"""What is under way when a budget is over gets so long to end: cut short, a write would only leave its outcome open."""

_random = random.Random()  # noqa: S311 - jitter needs no secrecy
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def reseed() -> None:
    """New random state, for after a snapshot was restored: else all restored environments pause alike."""
    _random.seed()


def current_deadline() -> float | None:
    """When the deadline that holds here ends, on the running event loop's clock; None where there is none."""
    return _deadline.get()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Let every budget that is opened in the block, and in tasks that it starts, end by a time.

    Args:
        at: On the running event loop's clock. An earlier deadline that holds already stays.
    """
    outer = _deadline.get()
    token = _deadline.set(at if outer is None else min(at, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


class RetryBudget:
    """The time of one operation, on the running event loop's clock.

    Args:
        seconds: How long to go on trying.

    Attributes:
        seconds: The same, or less where a deadline comes first.
        retries: How often it was paused.
    """

    def __init__(self, seconds: float) -> None:
        now = _now()
        self._deadline = _deadline.get()
        self._until = now + seconds if self._deadline is None else min(now + seconds, self._deadline)
        self._began = now
        self.seconds = max(0.0, self._until - now)
        self.retries = 0

    def request_seconds(self) -> float:
        """How long a request that is sent now may take; 0 when the time is over and it must not be sent."""
        now = _now()
        end = self._until + GRACE_SECONDS
        return max(0.0, (end if self._deadline is None else min(end, self._deadline)) - now)

    async def pause(self, *, conflict: bool = False) -> bool:
        """Wait before another try. False, at once, when the time is over.

        Args:
            conflict: Another writer was first, and DynamoDB is well. Writers commit one by one, so the pause is at
                most eight tries long: shorter pauses make every try slower by the contention they cause, longer ones
                only waste time.
        """
        now = _now()
        left = self._until - now
        if left <= 0:
            return False
        longest = _LONGEST_PAUSE_SECONDS
        if conflict:
            longest = max(_LONGEST_CONFLICT_PAUSE_SECONDS, _CONFLICT_PAUSE_PER_TRY * (now - self._began))
        ceiling = min(longest, _FIRST_PAUSE_SECONDS * 2.0 ** min(self.retries, 10))
        self.retries += 1
        await asyncio.sleep(min(left, _random.uniform(0, ceiling)))
        self._began = _now()
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
