"""What an operator asks of a session: what it holds, what of it can be read, and to keep that."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ContentionError, CorruptSessionError
from .capacity import item_size, read_units, write_units
from .head import Attributes, Head, absent, epoch_of, from_attributes
from .items import NOTHING, Items, from_json, unpack
from .manifest import Manifest, Part, Segment, slot_key
from .receipts import CommitIds
from .record import DamagedRecordError, UnknownFormatError
from .retry import RetryBudget
from .segments import Damage
from .table import Refused, Table, Unsettled

if TYPE_CHECKING:
    from .operations import Engine

_PROBE_SLOTS = 100


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


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What ``recover`` did.

    Attributes:
        session_id: The session.
        changed: Whether anything had to be done.
        kept_items: Items the session has now.
        lost_items: Items that could not be read; None when the head was damaged and nobody knows.
        damaged: What was damaged: ``"head"`` or keys of parts.
    """

    session_id: str
    changed: bool
    kept_items: int
    lost_items: int | None
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
    )


async def describe(engine: Engine) -> SessionInfo:
    """What the table holds of the engine's session."""
    item = await engine.table.read_item(engine.session_id, engine.patience())
    stored = await engine.inspected(item)
    head = engine.owned(stored)
    info = info_of(head, item_size(item) if item else 0)
    return info if head is stored else replace(info, exists=False)  # it has expired


async def recover(engine: Engine) -> RecoveryReport:
    """Keep what can be read of the engine's session.

    With a readable head, the segments that cannot be read are dropped from it. Without, a head is made anew of what its
    attributes and the parts still tell; where the list of parts is lost, popped items may come back.

    Raises:
        WrongOwnerError: The session is bound to somebody else, or it can no longer be told to whom.
        CorruptSessionError: A newer version of the library wrote the head; nothing was changed.
    """
    patience = engine.patience()
    item = await engine.table.read_item(engine.session_id, patience)
    try:
        stored = from_attributes(engine.session_id, item, engine.now())
    except UnknownFormatError as error:
        raise CorruptSessionError(engine.session_id, "head", str(error), intact_items=None, total_items=None) from error
    except DamagedRecordError:
        return await _rebuilt(engine, item or {}, patience)
    head = engine.owned(stored)
    segments = head.manifest.segments
    loaded = await engine.parts.load(head.epoch, segments, patience)
    damaged = [piece.key for piece in loaded if isinstance(piece, Damage)]
    whole = [segment for segment, piece in zip(segments, loaded, strict=True) if not isinstance(piece, Damage)]
    if not damaged:
        return RecoveryReport(engine.session_id, False, head.count, 0, ())
    lost = sum(segment.count for segment in segments) - sum(segment.count for segment in whole)
    manifest = head.manifest.only(whole)
    rescued = replace(head, manifest=manifest).committed(CommitIds().next(), engine.now(), head.ttl)
    await _written(engine, engine.put(rescued, head))
    return RecoveryReport(engine.session_id, True, rescued.count, lost, tuple(damaged))


async def _rebuilt(engine: Engine, item: Attributes, patience: RetryBudget) -> RecoveryReport:
    head = await salvaged(engine.table, engine.session_id, item, engine.now(), patience)
    engine.owned(head)
    await _written(engine, engine.table.put_over(engine.attributes(head), item))
    return RecoveryReport(engine.session_id, True, head.count, None, ("head",))


async def salvaged(table: Table, session_id: str, item: Attributes, now: int, patience: RetryBudget) -> Head:
    """The head to put in place of a damaged one, with all of the history that can still be read.

    Args:
        table: Where the parts are.
        session_id: The session.
        item: The damaged head.
        now: Unix seconds.
        patience: How long to repeat reads.
    """
    found = await probe_parts(table, session_id, patience)
    epoch = epoch_of(item) or (max(found, key=lambda part: part.written).epoch if found else None)
    mine = [part for part in found if part.epoch == epoch]
    manifest = _readable_manifest(item, mine) or _manifest_of(session_id, found, mine)
    head = absent(session_id, now)
    return replace(
        head,
        epoch=epoch or head.epoch,
        created=min((part.written for part in mine), default=now),
        manifest=manifest,
        tail=_readable_tail(item),
        owner=_text(item, "owner"),
    ).committed(CommitIds().next(), now, _integer(item, "ttl") or manifest.expires or None)


def _readable_manifest(item: Attributes, parts: Sequence[Part]) -> Manifest | None:
    """What the damaged head says of its parts, without those that cannot be read; None if it does not."""
    try:
        manifest = Manifest.unpack(bytes(item["parts"]["B"]))
    except (DamagedRecordError, KeyError, TypeError):
        return None
    slots = {(_slot(part), part.generation): part for part in parts}
    whole = []
    for segment in manifest.segments:
        chunks = [slots.get((slot, segment.generation)) for slot in segment.slots]
        present = [chunk for chunk in chunks if chunk is not None]
        if len(present) == len(chunks) and _is_whole(present) and present[0].count >= segment.count:
            whole.append(segment)
    return manifest.only(whole)


def _manifest_of(session_id: str, found: Sequence[Part], mine: Sequence[Part]) -> Manifest:
    """What the parts say of themselves."""
    segments = _history(mine)
    slots = {_slot(part): write_units(len(part.data) + 256) for part in found}
    live = {slot for segment in segments for slot in segment.slots}
    return Manifest(
        segments=tuple(segments),
        free=tuple((slot, size) for slot, size in sorted(slots.items()) if slot not in live),
        slot_count=max(slots, default=-1) + 1,
        generation=max((part.generation for part in mine), default=0) + 2,
        expires=min((part.expires for part in mine if part.expires is not None), default=0),
    )


def _history(parts: Sequence[Part]) -> list[Segment]:
    """The segments that make up the history, by when they were written and which items they hold.

    A later one replaces whatever an earlier one said of the same positions and those after them.
    """
    groups: dict[int, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.generation, []).append(part)
    history: list[tuple[int, Segment]] = []
    for generation in sorted(groups):
        chunks = sorted(groups[generation], key=lambda part: part.index)
        if len({part.put_id for part in chunks}) != 1 or len(chunks) != chunks[0].chunks or not _is_whole(chunks):
            continue
        first = chunks[0].first
        kept: list[tuple[int, Segment]] = []
        for start, segment in history:
            if start < first:
                kept.append((start, replace(segment, count=min(segment.count, first - start))))
        slots = tuple(_slot(part) for part in chunks)
        size = sum(write_units(len(part.data) + 256) for part in chunks)
        history = [*kept, (first, Segment(slots, generation, chunks[0].count, 0, size, chunks[0].mark))]
    return [segment for _, segment in history]


def _slot(part: Part) -> int:
    return int(part.key.rpartition("~")[2])


def _is_whole(chunks: Sequence[Part]) -> bool:
    try:
        return len(unpack(b"".join(part.data for part in chunks), chunks[0].count).decode()) == chunks[0].count
    except ValueError:
        return False


def _readable_tail(item: Attributes) -> Items:
    """The newest items, if at least they can be read in a damaged head."""
    try:
        if "tail" in item:
            unpacked = unpack(bytes(item["tail"]["B"]), 0)
            return from_json(unpacked.text.decode())
        return from_json(item["conversation_data"]["S"])
    except (DamagedRecordError, KeyError, TypeError, ValueError):
        return NOTHING


async def probe_parts(table: Table, session_id: str, patience: RetryBudget) -> list[Part]:
    """Every part of a session, found by asking for its possible keys until a hundred in a row are missing."""
    found: list[Part] = []
    start = 0
    while True:
        keys = {slot_key(session_id, slot): 64 * 1024 for slot in range(start, start + _PROBE_SLOTS)}
        parts = await table.read_parts(keys, patience, consistent=True)
        if not parts:
            return found
        found.extend(part for part in parts.values() if part is not None)
        start += _PROBE_SLOTS


async def _written(engine: Engine, put: Awaitable[None]) -> None:
    try:
        await put
    except Refused as refusal:
        raise ContentionError(f"session {engine.session_id!r} was written meanwhile; run recover() again") from refusal
    except Unsettled as failure:
        raise ContentionError(f"session {engine.session_id!r}: {failure}; run recover() again") from failure.cause


def _text(item: Attributes, name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return value if isinstance(value, str) else None


def _integer(item: Attributes, name: str) -> int | None:
    try:
        return int(item[name]["N"])
    except (KeyError, TypeError, ValueError):
        return None
