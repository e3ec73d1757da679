"""An event loop whose clock is turned: it jumps to the next event, and nothing waits."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

EPOCH = 1_700_000_000
"""Unix seconds at which every simulation begins."""


class Deadlock(Exception):
    """Everybody waits, and nothing is left to happen."""


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
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
