"""What happened, in order: the newest to print, and a digest of all to compare runs by."""

from __future__ import annotations

import zlib
from collections import deque

_NEWEST = 80


class Trace:
    """The events of a run.

    Attributes:
        digest: Changes with every event: equal runs have equal digests.
    """

    def __init__(self) -> None:
        self.digest = 0
        self._newest: deque[tuple[float, str, str]] = deque(maxlen=_NEWEST)

    def note(self, time: float, who: str, what: str) -> None:
        """Add an event."""
        self.digest = zlib.crc32(f"{time:.9f} {who} {what}".encode(), self.digest)
        self._newest.append((time, who, what))

    def text(self) -> str:
        """The newest events, one a line."""
        return "\n".join(f"{time:10.4f}  {who:<16} {what}" for time, who, what in self._newest)
