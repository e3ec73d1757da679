"""Closing an event loop also when the interpreter ends."""

from __future__ import annotations

import asyncio


def close_runner(runner: asyncio.Runner) -> None:
    """Close a runner's event loop without starting a thread.

    ``Runner.close`` starts one to wait for the threads that looked up host names. At interpreter exit no thread can be
    started, from Python 3.12 on: it raises "can't create new thread at interpreter shutdown". Those threads end by
    themselves.

    Args:
        runner: A runner whose tasks have ended. It cannot be used again.
    """
    loop = runner.get_loop()
    runner.run(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)
