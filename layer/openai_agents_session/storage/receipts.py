"""Which writes landed: the memory that makes a retried write exactly once.

Every head write carries a commit id: who wrote, and that writer's running number. The head remembers the last commit of
each recent writer. When an answer is lost, the next read of the head shows whether the write landed, even when
other writers have written since. A writer has one operation in flight, so its last commit is all that needs to be kept.

The list is bounded. Writes are numbered, and the head keeps the number of the newest receipt that was dropped
(``dropped``). If a write's number is above it, its absence from the list proves that it did not land. Otherwise nobody
can know. No clock is involved.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from .record import LARGEST_NUMBER, DamagedRecordError, RecordReader, RecordWriter, number_bytes

COMMIT_BYTES = 8
_WRITER_BYTES = 6

KEEP = 6
"""Receipts kept without contention: each is paid for at every write."""

KEEP_CONTENDED = 128
"""Receipts kept under contention: many may write while one waits for an answer."""


_copies = 0


def renew_writers() -> None:
    """Give every writer of this process a new identity: the process may be one of several copies of another.

    Copies that went on with one identity would take each other's commits for their own. Called after a fork, and after
    the restore of a snapshot.
    """
    global _copies
    _copies += 1


os.register_at_fork(after_in_child=renew_writers)


class CommitIds:
    """Makes the commit ids of one writer."""

    def __init__(self) -> None:
        self._renew()

    def next(self) -> bytes:
        """A commit id that no other write has or will have."""
        if self._copy != _copies or self._number + 1 >= 1 << 16:
            self._renew()
        self._number += 1
        return self._writer + self._number.to_bytes(COMMIT_BYTES - _WRITER_BYTES, "big")

    @property
    def writer(self) -> bytes:
        """Whose ids they are."""
        return self._writer

    def _renew(self) -> None:
        self._writer, self._number, self._copy = secrets.token_bytes(_WRITER_BYTES), 0, _copies


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

    def are_all_of(self, writer: bytes) -> bool:
        """Whether nobody but one writer has ever written this head."""
        return self.dropped == 0 and all(commit[:_WRITER_BYTES] == writer for commit, _ in self.entries)

    def __contains__(self, commit: bytes) -> bool:
        return any(commit == entry for entry, _ in self.entries)

    def bytes_beyond(self, keep: int) -> int:
        """What the entries after the first ``keep`` add to the stored form, in bytes."""
        return sum(COMMIT_BYTES + number_bytes(self.number - number) for _, number in self.entries[keep:])

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
        if not 0 <= dropped <= number < LARGEST_NUMBER:
            raise DamagedRecordError("the numbers of its writes are out of range")
        entries = tuple((record.raw(COMMIT_BYTES), number - record.number()) for _ in range(record.number()))
        return cls(number, dropped, entries)
