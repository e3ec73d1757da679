"""How long, and how, to try again: exponential backoff with full jitter up to a stated time."""

from __future__ import annotations

import asyncio
import random
import time

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0
_LONGEST_CONFLICT_PAUSE_SECONDS = 0.5
_CONFLICT_PAUSE_PER_TRY = 8

_random = random.Random()  # noqa: S311 - jitter needs no secrecy


def reseed() -> None:
    """New random state, for after a snapshot was restored: else all restored environments pause alike."""
    _random.seed()


class RetryBudget:
    """The retries of one operation. Intervals are measured on the monotonic clock.

    Args:
        seconds: How long to go on trying.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._began = time.monotonic()
        self.retries = 0

    @property
    def seconds(self) -> float:
        """How long it lasts in all."""
        return self._seconds

    async def pause(self, *, conflict: bool = False) -> bool:
        """Wait before another try. False, at once, when the time is over.

        Args:
            conflict: Another writer was first, rather than DynamoDB in trouble. A crowd passes one by one, so the pause
                is at most so many times as long as a try takes: less, and the crowd itself makes every try slower; more
                helps nobody.
        """
        now = time.monotonic()
        left = self._until - now
        if left <= 0:
            return False
        longest = _LONGEST_PAUSE_SECONDS
        if conflict:
            longest = max(_LONGEST_CONFLICT_PAUSE_SECONDS, _CONFLICT_PAUSE_PER_TRY * (now - self._began))
        ceiling = min(longest, _FIRST_PAUSE_SECONDS * 2.0 ** min(self.retries, 10))
        self.retries += 1
        await asyncio.sleep(min(left, _random.uniform(0, ceiling)))
        self._began = time.monotonic()
        return True
