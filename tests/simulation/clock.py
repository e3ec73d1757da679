"""An event loop whose clock is turned: it jumps to the next event, and nothing waits."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

EPOCH = 1_700_000_000
"""Unix seconds at which every simulation begins."""


_BUSY_TURNS = 10_000
"""So many turns of the loop at one instant are somebody who tries again without a pause."""


class Deadlock(Exception):
    """Everybody waits and nothing is left to happen, or time stands still because somebody never waits."""


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop
    turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("everybody waits, and nothing is left to happen")
        self.turns = 0 if timeout > 0 else self.turns + 1
        if self.turns > _BUSY_TURNS:
            self.turns = 0
            raise Deadlock("time stands still: somebody tries again and again without a pause")
        self.loop.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time.

    Attributes:
        now: Seconds since the simulation began.
    """

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self.now
