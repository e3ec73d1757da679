"""What can still be read of a session whose head is damaged. Reads only, and decides nothing.

The store never makes a head anew by guessing. A person looks at what is here, and may import it again.

*Certain* is what the head itself vouches for: everything, where its checksum still holds; else what a readable manifest
names, if it is whole, its checksums are right, and it is of the head's epoch. Anything else that can be read is
*probable*: it was written for this session, and may have been popped, replaced or never committed since.

Stored data may be anything. Nothing in it makes this module raise, or use more memory than is said below.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .head import EPOCH_BYTES, Attributes, Head, from_attributes
from .items import unpack, values_in
from .keys import slot_key
from .manifest import Manifest, Segment
from .part import Part
from .record import DamagedRecordError, RecordReader
from .retry import RetryBudget
from .table import Table

MOST_BYTES = 256 * 1024 * 1024
"""How much JSON text is unpacked in all. A few hundred bytes can be made to inflate to as many kilobytes."""

MOST_SLOTS = 20_000
"""How many slots are asked for. A session of the default layout has that many at 7 GB."""

_LARGEST_NUMBER = 1 << 53
_STATE_FORMAT = 1
_PROBE_SLOTS = 100
_ITEM_BYTES = 400 * 1024
_TIMES = {"ttl", "updated_at"}  # the head's checksum leaves them out: operators may change them
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, zlib.error)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of items that can be read.

    Attributes:
        items: The items, oldest first.
        is_certain: Whether the head vouches for them.
        source: The key of the item of the table that they lie in, or begin in.
        written: Unix second in which that was written, or None.
    """

    items: list[Any]
    is_certain: bool
    source: str
    written: int | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that cannot be read.

    Attributes:
        source: The key of the item of the table at fault.
        reason: What is wrong with it.
        items: How many items of the history that costs, or None when nobody knows.
    """

    source: str
    reason: str
    items: int | None


@dataclass(frozen=True, slots=True)
class Salvage:
    """What can still be read of a session.

    Attributes:
        session_id: The session.
        pieces: What can be read, in the order of the history.
        lost: What cannot be.
        others: Parts that were left out because they are of an earlier conversation: they may be somebody else's.
        owner: Whom it is bound to, as the head says; None when it says nobody, or nothing.
        owner_is_certain: Whether the head's checksum covers that.
        ttl: Unix second of expiry, or None.
        created: Unix second in which the conversation began, or None.
    """

    session_id: str
    pieces: tuple[Piece, ...]
    lost: tuple[Lost, ...]
    others: int
    owner: str | None
    owner_is_certain: bool
    ttl: int | None
    created: int | None

    @property
    def certain(self) -> int:
        """How many items are certain."""
        return sum(len(piece.items) for piece in self.pieces if piece.is_certain)

    @property
    def probable(self) -> int:
        """How many items are only probable."""
        return sum(len(piece.items) for piece in self.pieces if not piece.is_certain)


async def salvage(
    table: Table,
    session_id: str,
    item: Attributes | None,
    patience: RetryBudget,
    *,
    most_bytes: int = MOST_BYTES,
) -> Salvage:
    """What can still be read of a session.

    Args:
        table: The table.
        session_id: The session.
        item: What lies under its id, as it was read; None when nothing does.
        patience: How long to repeat reads.
        most_bytes: How much JSON text to unpack in all.

    Raises:
        StorageError: DynamoDB refused, or kept failing. Nothing else is raised, whatever is stored.
    """
    evidence = _evidence(session_id, item or {})
    room = _Room(most_bytes)
    if evidence.manifest is None and evidence.is_one_item:
        found = _Found()
    elif evidence.manifest is None:
        found = _guessed(evidence, await _probed(table, session_id, patience), room)
    else:
        found = await _named(table, evidence, evidence.manifest, patience, room)
    tail = _tail(evidence, room)
    pieces, lost = [*found.pieces], [*found.lost]
    if isinstance(tail, Piece):
        pieces.append(tail)
    elif tail is not None:
        lost.append(tail)
    return Salvage(
        session_id=session_id,
        pieces=tuple(piece for piece in pieces if piece.items),
        lost=tuple(lost),
        others=found.others,
        owner=_string(evidence.item, "owner"),
        owner_is_certain=evidence.head is not None,
        ttl=_integer(evidence.item, "ttl"),
        created=evidence.created,
    )


# --- what can be read of the head ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the item under a session's id says of it.

    Attributes:
        session_id: The session.
        item: The item; empty when there is none.
        head: The head, where its own checksum holds.
        epoch: The head's life, where it can be read.
        created: When the conversation began, where that can be read.
        manifest: Which parts count, where that can be read.
    """

    session_id: str
    item: Attributes
    head: Head | None
    epoch: bytes | None
    created: int | None
    manifest: Manifest | None

    @property
    def is_one_item(self) -> bool:
        """Whether the whole history is in the head: then what lies under its slots does not count."""
        return "tail" not in self.item and "parts" not in self.item and _is_list(self.item)


def _evidence(session_id: str, item: Attributes) -> _Evidence:
    head = _sound_head(session_id, item)
    if head is not None and head.commit is not None:
        return _Evidence(session_id, item, head, head.epoch, head.created, head.manifest)
    epoch, created = _state(item)
    return _Evidence(session_id, item, head, epoch, created, _manifest(item))


def _sound_head(session_id: str, item: Attributes) -> Head | None:
    if not item:
        return None
    for left in (item, {name: value for name, value in item.items() if name not in _TIMES}):
        try:
            return from_attributes(session_id, left, 0)
        except _UNREADABLE:
            continue
    return None


def _state(item: Attributes) -> tuple[bytes | None, int | None]:
    try:
        record = RecordReader(bytes(item["state"]["B"]))
        if record.number() != _STATE_FORMAT:
            return None, None
        epoch, created = record.raw(EPOCH_BYTES), record.number()
    except _UNREADABLE:
        return None, None
    return epoch, created if created < _LARGEST_NUMBER else None


def _manifest(item: Attributes) -> Manifest | None:
    try:
        return Manifest.unpack(bytes(item["parts"]["B"]))
    except _UNREADABLE:
        return None


def _is_list(item: Attributes) -> bool:
    try:
        return isinstance(json.loads(item["conversation_data"]["S"]), list)
    except _UNREADABLE:
        return False


def _tail(evidence: _Evidence, room: _Room) -> Piece | Lost | None:
    """The newest items, which lie in the head."""
    item, key = evidence.item, evidence.session_id
    written = _integer(item, "updated_at")
    try:
        if "tail" in item:
            items = values_in(room.unpacked(bytes(item["tail"]["B"])))
        elif "conversation_data" in item:
            items = values_in(room.taken(item["conversation_data"]["S"].encode("utf-8", "backslashreplace")))
        else:
            return Lost(key, "the newest items are missing", None) if item else None
    except _UNREADABLE as error:
        return Lost(key, f"the newest items cannot be read: {error}", None)
    return Piece(items, evidence.head is not None, key, written)


# --- parts that a manifest names -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    pieces: Sequence[Piece] = ()
    lost: Sequence[Lost] = ()
    others: int = 0


async def _named(table: Table, evidence: _Evidence, manifest: Manifest, patience: RetryBudget, room: _Room) -> _Found:
    """What the manifest names, asked for slot by slot, however far apart these are."""
    read: list[Piece | Lost] = []
    epochs: dict[int, bytes] = {}
    for group in _groups(manifest.segments):
        keys = {slot_key(evidence.session_id, slot): _part_size(segment) for segment in group for slot in segment.slots}
        parts = await table.read_parts(keys, patience, consistent=True)
        for segment in group:
            epoch = _epoch_of(evidence.session_id, segment, parts)
            if epoch is not None:
                epochs[len(read)] = epoch
            read.append(_segment(evidence, segment, parts, room))
    refused = [
        Lost(evidence.session_id, "the list of parts names more slots than a session has", segment.count)
        for segment in manifest.segments
        if not _is_plausible(segment)
    ]
    # Where the head's epoch cannot be read, the newest part's counts: parts of other lives are not of this history.
    life = evidence.epoch or next((epochs[n] for n in sorted(epochs, reverse=True)), None)
    pieces = [one for n, one in enumerate(read) if isinstance(one, Piece) and epochs.get(n) == life]
    others = sum(1 for n, one in enumerate(read) if isinstance(one, Piece) and epochs.get(n) != life)
    return _Found(pieces, [*(one for one in read if isinstance(one, Lost)), *refused], others)


def _groups(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """The segments, in groups that one request of many keys answers; no more slots in all than a session has."""
    group: list[Segment] = []
    slots = asked = 0
    for segment in segments:
        if not _is_plausible(segment) or asked + len(segment.slots) > MOST_SLOTS:
            continue
        asked += len(segment.slots)
        if group and slots + len(segment.slots) > _PROBE_SLOTS:
            yield group
            group, slots = [], 0
        group.append(segment)
        slots += len(segment.slots)
    if group:
        yield group


def _is_plausible(segment: Segment) -> bool:
    slots = segment.slots
    return 0 < len(slots) <= MOST_SLOTS and all(slot < _LARGEST_NUMBER for slot in (*slots, segment.count))


def _part_size(segment: Segment) -> int:
    return min(_ITEM_BYTES, segment.kilobytes * 1024 // len(segment.slots) + 1024)


def _epoch_of(session_id: str, segment: Segment, parts: Mapping[str, Part | None]) -> bytes | None:
    found = parts.get(slot_key(session_id, segment.slots[0]))
    return None if found is None else found.epoch


def _segment(evidence: _Evidence, segment: Segment, parts: Mapping[str, Part | None], room: _Room) -> Piece | Lost:
    chunks: list[Part] = []
    for index, slot in enumerate(segment.slots):
        key = slot_key(evidence.session_id, slot)
        part = parts.get(key)
        if part is None:
            reason = "it is not a part that can be read" if key in parts else "it is missing"
            return Lost(key, reason, segment.count)
        if (part.generation, part.mark) != (segment.generation, segment.mark):
            return Lost(key, "it holds something else", segment.count)
        if part.epoch != (evidence.epoch or (chunks[0].epoch if chunks else part.epoch)):
            return Lost(key, "it is of another life of the session", segment.count)
        if (part.index, part.chunks) != (index, len(segment.slots)):
            return Lost(key, "it is another chunk", segment.count)
        chunks.append(part)
    whole = _joined(chunks, room)
    if isinstance(whole, Lost):
        return replace(whole, items=segment.count)
    if len(whole) < segment.count:
        return Lost(chunks[0].key, f"it holds {len(whole)} items where {segment.count} count", segment.count)
    return Piece(whole[: segment.count], evidence.epoch is not None, chunks[0].key, _second(chunks[0].written))


def _joined(chunks: Sequence[Part], room: _Room) -> list[Any] | Lost:
    """The items of a segment, all of whose chunks are there."""
    for chunk in chunks:
        if not chunk.is_intact:
            return Lost(chunk.key, "checksum mismatch", None)
    try:
        items = values_in(room.unpacked(b"".join(chunk.data for chunk in chunks)))
    except _UNREADABLE as error:
        return Lost(chunks[0].key, str(error), None)
    wrong = next((chunk for chunk in chunks if chunk.count != len(items)), None)
    if wrong is not None:
        return Lost(wrong.key, f"it says {wrong.count} items where there are {len(items)}", None)
    return items


# --- parts that are found by asking for them -------------------------------------------------------------------------


async def _probed(table: Table, session_id: str, patience: RetryBudget) -> list[Part]:
    """Every part of a session, found by asking for its possible keys until a hundred in a row are missing."""
    found: list[Part] = []
    for start in range(0, MOST_SLOTS, _PROBE_SLOTS):
        keys = {slot_key(session_id, slot): _ITEM_BYTES for slot in range(start, start + _PROBE_SLOTS)}
        parts = await table.read_parts(keys, patience, consistent=True)
        if not parts:
            break
        found.extend(part for part in parts.values() if part is not None)
    return found


def _guessed(evidence: _Evidence, found: Sequence[Part], room: _Room) -> _Found:
    """What the parts of the present conversation say of themselves: all of it only probable."""
    epoch = evidence.epoch or (max(found, key=lambda part: part.written).epoch if found else None)
    mine = [part for part in found if part.epoch == epoch and part.written >= (evidence.created or 0)]
    groups: dict[tuple[int, bytes], list[Part]] = {}
    for part in mine:
        groups.setdefault((part.generation, part.put_id), []).append(part)
    history: list[tuple[int, Piece]] = []
    lost: list[Lost] = []
    for _, group in sorted(groups.items()):
        chunks = sorted(group, key=lambda part: part.index)
        whole = _joined(chunks, room) if _is_complete(chunks) else Lost(chunks[0].key, "chunks are missing", None)
        if isinstance(whole, Lost):
            lost.append(replace(whole, items=None))
            continue
        first = max(0, chunks[0].first)
        history = _replaced(history, first, Piece(whole, False, chunks[0].key, _second(chunks[0].written)))
    return _Found([piece for _, piece in history], lost, len(found) - len(mine))


def _is_complete(chunks: Sequence[Part]) -> bool:
    return [part.index for part in chunks] == list(range(min(chunks[0].chunks, MOST_SLOTS)))


def _replaced(history: Sequence[tuple[int, Piece]], first: int, piece: Piece) -> list[tuple[int, Piece]]:
    """A history with a later segment, which takes the place of what stood at its positions and after them."""
    kept = [
        (start, replace(earlier, items=earlier.items[: first - start])) for start, earlier in history if start < first
    ]
    return [*kept, (first, piece)]


# --- unpacking -------------------------------------------------------------------------------------------------------


class _Room:
    """How much may still be unpacked."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def taken(self, text: bytes) -> bytes:
        """The text, counted. Raises ``DamagedRecordError`` when there is no room for it."""
        if len(text) > self._left:
            raise DamagedRecordError("it is too large to be unpacked here")
        self._left -= len(text)
        return text

    def unpacked(self, packed: bytes) -> bytes:
        """The JSON text that was packed. Raises ``DamagedRecordError``."""
        return self.taken(unpack(packed))


# --- attributes that may be anything ---------------------------------------------------------------------------------


def _string(item: Attributes, name: str) -> str | None:
    try:
        value = item[name]["S"]
    except _UNREADABLE:
        return None
    return value if isinstance(value, str) else None


def _integer(item: Attributes, name: str) -> int | None:
    try:
        return _second(int(float(item[name]["N"])))
    except _UNREADABLE:
        return None


def _second(value: int) -> int | None:
    return value if 0 <= value < _LARGEST_NUMBER else None
