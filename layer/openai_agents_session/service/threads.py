"""Threads for a turn: none of them held by a tool of a turn before.

The SDK runs tools that are plain functions on the event loop's own threads, on which names of hosts are looked up, too.
A tool that hangs cannot be stopped, and outlives its turn; a few of them would keep every later turn from its model. So
a turn that finds a thread still at work gets new threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST_THREADS = 32
"""Tools that block at the same time in one turn; those beyond wait. Threads are made when they are needed."""


class TurnThreads(ThreadPoolExecutor):
    """Threads that know whether they are at work."""

    def __init__(self) -> None:
        super().__init__(MOST_THREADS, thread_name_prefix="turn")
        self._futures: set[Future[Any]] = set()

    @property
    def are_busy(self) -> bool:
        """Whether any is."""
        return bool(self._futures)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function on a thread."""
        future = super().submit(fn, *args, **kwargs)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future


_given: tuple[asyncio.AbstractEventLoop, TurnThreads] | None = None


def give_free_threads() -> None:
    """Let the running event loop use threads none of which is at work."""
    global _given
    loop = asyncio.get_running_loop()
    if _given is None or _given[0] is not loop or _given[1].are_busy:
        _given = loop, TurnThreads()
        loop.set_default_executor(_given[1])
