"""One operation at a time, on one event loop: what a session object promises to whoever shares it.

Tasks of one event loop take turns. A second event loop, in whatever thread, gets an error at once: the client belongs
to the first, and a lock between the two would wait for ever.
"""

from __future__ import annotations

import asyncio
import threading

from .errors import EventLoopError


class Serial:
    """A lock for the tasks of one event loop.

    Args:
        what: Whose it is, for the error's text.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._binding = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    def lock(self) -> asyncio.Lock:
        """The lock, to be held for one operation.

        Raises:
            EventLoopError: The object is used in another event loop, which still exists.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return self._lock
        with self._binding:
            if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
                raise EventLoopError(
                    f"{self._what} is used in another event loop already. Its client belongs to that loop: "
                    "make a client and a session object for each loop, or thread"
                )
            if self._loop is not loop:
                self._loop, self._lock = loop, asyncio.Lock()
            return self._lock
