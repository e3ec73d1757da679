"""Ctrl-C: a command that is interrupted ends at once, with everything closed and nothing half written."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE_SECONDS = 0.5
"""How long a write that is under way may take to end once the command is interrupted."""

_LONGEST_SECONDS = 2.0
"""After that the process is ended whatever holds it: a name that is being looked up, a disk that does not answer."""

_INTERRUPTED = 130


_noted = threading.Event()


def end_at_once() -> None:
    """While the command is being loaded, and once it is over, there is nothing to close: an interrupt just ends it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))


def run(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a command's work.

    An interrupt cancels it; what it has begun to write is given a moment to end, then cancelled as well. A second one
    does not wait for that.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """

    async def watched() -> int:
        task = asyncio.ensure_future(work())
        with _interrupts(task):
            return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def at_once() -> Iterator[None]:
    """While a person or a pipe is waited for, an interrupt ends the wait: the event loop does not run meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _noted.is_set():  # the event loop has not come round to it yet, and would not while we wait
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts(task: asyncio.Task[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        _noted.set()
        loop.call_soon_threadsafe(_cancel, task)
        watchdog = threading.Timer(_LONGEST_SECONDS, _end)
        watchdog.daemon = True
        watchdog.start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end() -> None:
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


def _cancel(task: asyncio.Task[int]) -> None:
    again = task.cancelling() > 0
    task.cancel()
    asyncio.get_running_loop().call_later(0 if again else GRACE_SECONDS, _cancel_all)


def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
