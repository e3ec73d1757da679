"""Which writes landed: the memory that makes a retried write exactly once.

Every head write carries a commit id: who wrote, and that writer's running number. The head remembers the last commit of
each recent writer. When an answer is lost, the next look at the head tells whether the write is in it, even when other
writers have written since. A writer has one operation in flight, so its last commit is all that needs to be kept.

The memory is bounded. Writes are numbered, and the head remembers the number of the newest receipt that was dropped: a
writer in doubt about a later one knows that the memory is complete for it, and otherwise that it cannot know. No clock
is involved.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from .wire import RecordReader, RecordWriter

COMMIT_BYTES = 8
_WRITER_BYTES = 6

KEEP = 6
"""Receipts kept in ordinary times: each is paid for at every write."""

KEEP_CONTENDED = 128
"""Receipts kept by a writer that met others: many may write while one waits for an answer."""


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
    """The last commits of the recent writers.

    Attributes:
        number: Number of the last write of this head, from 1.
        dropped: Number of the newest write whose receipt was dropped while it was its writer's last.
        entries: Commit ids and numbers, newest first.
    """

    number: int = 0
    dropped: int = 0
    entries: tuple[tuple[bytes, int], ...] = ()

    def __contains__(self, commit: bytes) -> bool:
        return any(commit == entry for entry, _ in self.entries)

    def plus(self, commit: bytes, *, keep: int = KEEP) -> Receipts:
        """With one more commit; what the same writer did before goes, and what is too much."""
        number = self.number + 1
        others = [entry for entry in self.entries if entry[0][:_WRITER_BYTES] != commit[:_WRITER_BYTES]]
        entries = ((commit, number), *others)
        dropped = max((entry[1] for entry in entries[keep:]), default=0)
        return Receipts(number, max(self.dropped, dropped), entries[:keep])

    def write(self, record: RecordWriter) -> None:
        """Append to a record."""
        record.number(self.number)
        record.number(self.number - self.dropped)
        record.number(len(self.entries))
        for commit, number in self.entries:
            record.raw(commit)
            record.number(self.number - number)

    @classmethod
    def read(cls, record: RecordReader) -> Receipts:
        """Read back what ``write`` wrote."""
        number = record.number()
        dropped = number - record.number()
        entries = tuple((record.raw(COMMIT_BYTES), number - record.number()) for _ in range(record.number()))
        return cls(number, dropped, entries)
