"""Which writes landed: the memory that makes a retried write exactly once.

Every head write carries a commit id: who wrote, and that writer's running number. The head remembers the last commit of
each recent writer. When an answer is lost, the next look at the head tells whether the write is in it, even when other
writers have written since. A writer has one operation in flight, so its last commit is all that needs to be kept.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from .wire import RecordReader, RecordWriter

COMMIT_BYTES = 8
_WRITER_BYTES = 6

REMEMBER_SECONDS = 120
"""Receipts older than this may be forgotten. Longer than any operation tries: see ``StorageOptions.patience_seconds``."""

_KEEP_AT_LEAST = 2
_KEEP_AT_MOST = 128


class CommitIds:
    """Makes the commit ids of one writer."""

    def __init__(self) -> None:
        self._writer = secrets.token_bytes(_WRITER_BYTES)
        self._number = 0

    def next(self) -> bytes:
        """A commit id that no other write has or will have."""
        self._number += 1
        if self._number >= 1 << 16:
            self._writer, self._number = secrets.token_bytes(_WRITER_BYTES), 1
        return self._writer + self._number.to_bytes(COMMIT_BYTES - _WRITER_BYTES, "big")


@dataclass(frozen=True, slots=True)
class Receipts:
    """The last commits, newest first, each with the Unix second it was made in."""

    entries: tuple[tuple[bytes, int], ...] = ()

    def __contains__(self, commit: bytes) -> bool:
        return any(commit == entry for entry, _ in self.entries)

    @property
    def overflowing(self) -> bool:
        """So many writers at once that a recent receipt may have been dropped."""
        return len(self.entries) >= _KEEP_AT_MOST

    def plus(self, commit: bytes, now: int) -> Receipts:
        """With one more commit; what is too old or superseded by the same writer goes."""
        writer = commit[:_WRITER_BYTES]
        others = [entry for entry in self.entries if entry[0][:_WRITER_BYTES] != writer]
        recent = [
            entry
            for position, entry in enumerate(others)
            if position < _KEEP_AT_LEAST or now - entry[1] <= REMEMBER_SECONDS
        ]
        return Receipts(((commit, now), *recent[: _KEEP_AT_MOST - 1]))

    def write(self, record: RecordWriter) -> None:
        record.number(len(self.entries))
        previous = None
        for commit, second in self.entries:
            record.raw(commit)
            record.number(second if previous is None else max(0, previous - second))
            previous = second

    @classmethod
    def read(cls, record: RecordReader) -> Receipts:
        entries: list[tuple[bytes, int]] = []
        for _ in range(record.number()):
            commit = record.raw(COMMIT_BYTES)
            number = record.number()
            entries.append((commit, number if not entries else entries[-1][1] - number))
        return cls(tuple(entries))
