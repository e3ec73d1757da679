"""Decoded segments, kept for the process: a segment never changes, so reading it once is enough.

A warm execution environment then reads one head a turn, whatever the length of the conversation.
"""

from __future__ import annotations

import marshal
import sys
import threading
from collections import OrderedDict
from typing import Any

CacheKey = tuple[object, ...]

_ENTRY_BYTES = 200
"""What an entry takes in the table of entries, beside its key and its value."""


class SegmentCache:
    """Least recently used segments, bounded in bytes of memory, for any number of threads.

    Values are kept marshalled: handing out fresh objects that a caller may change is then quicker than parsing JSON
    again. They never leave the process.

    Args:
        capacity_bytes: Most memory that entries take, keys included.
    """

    def __init__(self, capacity_bytes: int = 32 * 1024 * 1024) -> None:
        self._capacity = capacity_bytes
        self._size = 0
        self._entries: OrderedDict[CacheKey, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: CacheKey) -> list[Any] | None:
        """The items of a segment, fresh for the caller to change, or None."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return None
            self._entries[key] = entry  # now the most recently used
        items: list[Any] = marshal.loads(entry)  # noqa: S302 - what `put` dumped, in this process
        return items

    def put(self, key: CacheKey, items: list[Any]) -> None:
        """Keep the items of a segment."""
        try:
            entry = marshal.dumps(items)
        except ValueError:  # nested too deep for marshal: somebody else wrote it
            return
        if _memory(key, entry) > self._capacity // 2:
            return
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self._size += _memory(key, entry)
            while self._size > self._capacity:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._size = 0

    def _drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= _memory(key, entry)


def _memory(key: CacheKey, entry: bytes) -> int:
    """What an entry takes in memory, in bytes."""
    return _ENTRY_BYTES + sys.getsizeof(entry) + sys.getsizeof(key) + sum(map(sys.getsizeof, key))


SHARED_CACHE = SegmentCache()
"""The cache of every session whose options name no other."""
