"""What became of writes whose answers were lost: read off the head that the table holds now.

A head remembers who wrote it (``receipts``). So a write that landed is found in the head, as long as the head remembers
and still is the same life of the session. A write that did not land can no longer land once the head that it was to
replace is gone: every write is conditional on that head.

===============================  ==================================================================================
the head now                     the write
===============================  ==================================================================================
names the write                  landed
is the one to be replaced        has not landed yet; may still. To send it again is safe: both want to replace one
                                 head, so one of them can
the same, without a commit id    unknown: "not yet" and "landed, and was undone since" look the same. So it is with a
                                 session that is absent, or as the reference library wrote it
is a later one of the same life  did not land, and never will, if the head remembers all writes since; else unknown
is of another life, or absent    unknown: the evidence of the write went with the head. The life that it was part of is
                                 over, which is all that a clear wants
is the reference library's       unknown: it writes over what it finds
===============================  ==================================================================================

Evidence that is gone is not evidence of absence. "Unknown" is reported to the caller: repeating the write could store
it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .head import Head


class Fate(Enum):
    """What became of a write; where that is unknown, in words that a caller can read."""

    LANDED = "it landed"
    PENDING = "it has not landed, and still may"
    NEVER = "it did not land, and never will"
    UNTOLD = "the session is as it was before, but does not tell whether the write landed in between"
    FORGOTTEN = "so many others have written since that it can no longer be told whether the write landed"
    OVER = "the session has been cleared or has expired since: whether the write came before can no longer be told"
    OVERWRITTEN = "another library has written over the session: whether the write came before can no longer be told"


@dataclass(frozen=True, slots=True)
class InFlightWrite:
    """A conditional write of the head that may have landed, or may still.

    Attributes:
        expected: The head that it was to replace.
        written: The head that it puts there; None when it deletes.
    """

    expected: Head
    written: Head | None


def fate_of(write: InFlightWrite, head: Head) -> Fate:
    """What became of a write, by the head that the table holds now."""
    return _fate_of_delete(write.expected, head) if write.written is None else _fate_of_put(write, write.written, head)


def _fate_of_put(write: InFlightWrite, written: Head, head: Head) -> Fate:
    if written.commit is not None and written.commit in head.receipts:
        return Fate.LANDED
    if write.expected.is_same(head):
        return Fate.UNTOLD if head.commit is None else Fate.PENDING
    if head.exists and head.commit is None:
        return Fate.OVERWRITTEN
    if head.epoch != written.epoch:
        return Fate.OVER
    return Fate.FORGOTTEN if head.receipts.dropped >= written.receipts.number else Fate.NEVER


def _fate_of_delete(expected: Head, head: Head) -> Fate:
    """A deletion leaves no receipt; but whoever ended the life that it was to end, it is over."""
    if not head.exists:
        return Fate.LANDED
    if expected.is_same(head):
        return Fate.UNTOLD if head.commit is None else Fate.PENDING
    if expected.commit is None or head.commit is None:
        return Fate.OVERWRITTEN
    return Fate.NEVER if head.epoch == expected.epoch else Fate.LANDED
