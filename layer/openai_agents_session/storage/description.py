"""What an operator asks of a session: what it holds and what it costs; and what a recovery did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .capacity import read_units, write_units
from .head import Head
from .usage import Usage


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What the table holds of a session.

    Attributes:
        session_id: The session.
        exists: Whether there is one, and it has not expired.
        items: Items in the history.
        head_bytes: Size of the head.
        part_bytes: Size of the live parts, to the KB.
        garbage_bytes: Size of parts that no longer count and will be written over, to the KB.
        segments: Live segments.
        parts: Items that these lie in.
        created: Unix second in which the conversation began.
        updated_at: Unix second of the last write.
        ttl: Unix second of expiry, or None.
        owner: Whom it is bound to, or None.
        leased_until: Unix time until which a turn holds it, or None.
        append_write_units: Write units of the next small append.
        read_units_cold: Read units of reading it all, no part cached.
        read_units_warm: The same, all parts cached.
        title: What the conversation is called, or None.
        metadata: What was said of it.
        usage: What its model calls have used, by day (UTC); ``earlier`` for what is too old to stand by day.
    """

    session_id: str
    exists: bool
    items: int
    head_bytes: int
    part_bytes: int
    garbage_bytes: int
    segments: int
    parts: int
    created: int
    updated_at: int
    ttl: int | None
    owner: str | None
    leased_until: float | None
    append_write_units: int
    read_units_cold: float
    read_units_warm: float
    title: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What ``recover`` did.

    Attributes:
        session_id: The session.
        changed: Whether anything had to be done.
        kept_items: Items the session has now.
        lost_items: Items that could not be read.
        damaged: Keys of the parts that were damaged.
    """

    session_id: str
    changed: bool
    kept_items: int
    lost_items: int
    damaged: tuple[str, ...]


def info_of(head: Head, stored_bytes: int) -> SessionInfo:
    """The description of a head.

    Args:
        head: As of now, emptied if it has expired.
        stored_bytes: The size of its item.
    """
    sizes = [segment.kilobytes * 1024 for segment in head.manifest.segments]
    warm = read_units(stored_bytes)
    return SessionInfo(
        session_id=head.session_id,
        exists=head.exists,
        items=head.count,
        head_bytes=stored_bytes,
        part_bytes=sum(sizes),
        garbage_bytes=head.manifest.free_kilobytes * 1024,
        segments=len(sizes),
        parts=sum(len(segment.slots) for segment in head.manifest.segments),
        created=head.created,
        updated_at=head.updated_at,
        ttl=head.ttl,
        owner=head.owner,
        leased_until=None if head.lease is None else head.lease.until / 1000,
        append_write_units=write_units(stored_bytes),
        read_units_cold=warm + sum(read_units(size, consistent=False) for size in sizes),
        read_units_warm=warm,
        title=head.profile.title,
        metadata=head.profile.described(),
        usage=head.profile.ledger.by_day(),
    )
