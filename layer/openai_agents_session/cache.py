"""Decoded segments, kept for the process: a segment never changes, so reading it once is enough.

A warm execution environment then reads one head a turn, whatever the length of the conversation.
"""

from __future__ import annotations

import marshal
from collections import OrderedDict
from typing import Any

CacheKey = tuple[object, ...]


class SegmentCache:
    """Least recently used segments, bounded in bytes.

    Values are kept marshalled: handing out fresh objects that a caller may change is then quicker than parsing JSON
    again. They never leave the process.
    """

    def __init__(self, capacity_bytes: int = 32 * 1024 * 1024) -> None:
        self._capacity = capacity_bytes
        self._size = 0
        self._entries: OrderedDict[CacheKey, bytes] = OrderedDict()

    def get(self, key: CacheKey) -> list[Any] | None:
        """The items of a segment, fresh for the caller to change, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        items: list[Any] = marshal.loads(entry)  # noqa: S302 - what `put` dumped, in this process
        return items

    def put(self, key: CacheKey, items: list[Any]) -> None:
        """Keep the items of a segment."""
        try:
            entry = marshal.dumps(items)
        except ValueError:  # nested too deep for marshal: somebody else wrote it
            return
        if len(entry) > self._capacity // 2:
            return
        self._size += len(entry) - len(self._entries.pop(key, b""))
        self._entries[key] = entry
        while self._size > self._capacity:
            _, oldest = self._entries.popitem(last=False)
            self._size -= len(oldest)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._size = 0


SHARED_CACHE = SegmentCache()
"""What sessions use unless told otherwise."""
