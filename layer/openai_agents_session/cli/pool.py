"""Some at a time: work on many things, so that neither the table nor the memory gets all of it at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

AT_ONCE = 8
"""What the library's client has connections for, with two to spare."""


async def in_order(
    given: Iterable[_Given], work: Callable[[_Given], Awaitable[_Made]], at_once: int = AT_ONCE
) -> AsyncGenerator[_Made]:
    """What the work makes of each, in the order given, while the next are under way.

    What goes wrong with one is raised when it is its turn. Whatever is under way then, or when the caller stops, is
    cancelled and waited for. What goes wrong in drawing the next is raised once everything before it is done.

    Args:
        given: What to work on. It is drawn from only as the work goes on.
        work: Called with each.
        at_once: How many may be under way, or done and not yet taken.
    """
    running: deque[asyncio.Task[_Made]] = deque()

    async def begun(one: _Given) -> _Made:
        return await work(one)

    try:
        failure: Exception | None = None
        source = iter(given)
        while failure is None:
            if len(running) == at_once:
                yield await running[0]
                running.popleft()
            try:
                running.append(asyncio.create_task(begun(next(source))))
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
                failure = error
        while running:
            yield await running[0]
            running.popleft()
        if failure is not None:
            raise failure
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
