"""Threads for tools, apart from those that all else runs on.

The SDK runs tools that are plain functions on the event loop's default executor, on which names of hosts are looked up
and certificates are loaded, too. A tool that hangs cannot be stopped, and holds its thread until the process ends: a
few of them would keep the model from being asked. So the default executor hands what tools run to threads of theirs::

    to_thread in a tool  --> default executor --> tools' threads, of which those that hang are never free again
    to_thread elsewhere  --> default executor --> its own threads

When so many hang that the next turn's tools could have too few, the environment is to be ended: see `ending`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST_THREADS = 32
"""Tools that block at the same time; those beyond wait. Threads are made when they are needed."""

FEWEST_FREE = MOST_THREADS // 2
"""What the next turn's tools must have at least."""


class ToolThreads(ThreadPoolExecutor):
    """Threads that know how many of them are at work."""

    def __init__(self) -> None:
        super().__init__(MOST_THREADS, thread_name_prefix="tool")
        self._futures: set[Future[Any]] = set()

    @property
    def are_exhausted(self) -> bool:
        """Whether too few are free."""
        return MOST_THREADS - sum(future.running() for future in tuple(self._futures)) < FEWEST_FREE

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function on a thread."""
        future = super().submit(fn, *args, **kwargs)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future


class LoopThreads(ThreadPoolExecutor):
    """The default executor of an event loop.

    Attributes:
        tools: The threads of tools.
    """

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="loop")
        self.tools = ToolThreads()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function on a thread: on one of the tools' if a tool asks for it."""
        return self.tools.submit(fn, *args, **kwargs) if _in_tool() else super().submit(fn, *args, **kwargs)


def _in_tool() -> bool:
    """Whether the running task is at work for a tool: the SDK has it in a span, also where nothing is traced."""
    from agents import FunctionSpanData, get_current_span  # not at the top: requests without a model go without the SDK

    span = get_current_span()
    return span is not None and isinstance(span.span_data, FunctionSpanData)


_given: tuple[asyncio.AbstractEventLoop, LoopThreads] | None = None


def part_threads() -> None:
    """Let tools on the running event loop have threads of their own."""
    global _given
    loop = asyncio.get_running_loop()
    if _given is None or _given[0] is not loop:
        _given = loop, LoopThreads()
        loop.set_default_executor(_given[1])


def are_exhausted() -> bool:
    """Whether tools hold so many threads that the next turn could have too few."""
    return _given is not None and _given[1].tools.are_exhausted
