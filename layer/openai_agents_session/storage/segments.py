"""Reading, writing, extending and erasing the parts of a session: upkeep's hands.

Parts decide nothing. A part counts if the head names its slot and generation, and is garbage otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ..events import Event
from ..options import StorageOptions
from .head import Attributes, Head, from_attributes
from .items import unpack
from .manifest import Manifest, Part, Segment, slot_key
from .record import DamagedRecordError
from .retry import RetryBudget
from .table import Refused, Table, Unsettled, part_from_attributes, unavailable

_AT_ONCE = 8

# Measured over simulated lives of days to years (tests/unit/test_part_expiry.py): at any age refreshing costs less than
# a tenth of all writes. Extending at once what has up to half of the slack left costs half as much again: most of it
# would have been merged before it needed that.
_SLACK = 2
_SOON = 8


@dataclass(frozen=True, slots=True)
class Damage:
    """A segment that cannot be read.

    Attributes:
        key: The part at fault.
        reason: What is wrong with it.
    """

    key: str
    reason: str


class Placed(Enum):
    """What became of the attempt to write a slot."""

    WRITTEN = "written"
    OCCUPIED = "occupied"
    ABANDONED = "abandoned"
    FAILED = "failed"


def part_expiry(head: Head, now: int, ttl_seconds: int) -> int:
    """When parts written now may expire, in Unix seconds.

    A part outlives its session, or history would be lost. Writing a new ``ttl`` costs as much as writing the part, so
    the slack is twice the session's age, and at least twice ``ttl_seconds``: few parts then live on until they need it
    without having been merged, and parts stay behind an abandoned session no longer than twice what that lived.
    """
    return now + ttl_seconds + _SLACK * max(ttl_seconds, now - head.created)


class SegmentStore:
    """The parts of one session.

    Args:
        session_id: The session.
        table: The table.
        options: Layout, cache and observer.
    """

    def __init__(self, session_id: str, table: Table, options: StorageOptions) -> None:
        self._session_id = session_id
        self._table = table
        self._options = options

    # --- reading ---------------------------------------------------------------------------------------------------

    async def load(self, epoch: bytes, segments: Sequence[Segment], patience: RetryBudget) -> list[list[Any] | Damage]:
        """The items of each segment, fresh for the caller to change, or what is wrong with it.

        Read at half price first: a generation's content never changes, so what has the right generation is right.
        """
        found: dict[Segment, list[Any] | Damage] = {}
        for consistent in (None, False, True):
            missing = [segment for segment in segments if isinstance(found.get(segment, _UNREAD), Damage)]
            if consistent is None:
                found.update((segment, self._cached(epoch, segment)) for segment in missing)
            elif missing:
                found.update(await self._fetch(epoch, missing, patience, consistent=consistent))
        return [found[segment] for segment in segments]

    def _cached(self, epoch: bytes, segment: Segment) -> list[Any] | Damage:
        cache = self._options.cache
        items = cache.get(self._cache_key(epoch, segment)) if cache is not None else None
        return _UNREAD if items is None else _first(items, segment.count)

    def remember(self, epoch: bytes, segment: Segment, items: list[Any]) -> None:
        """Keep a segment's items for the process."""
        if self._options.cache is not None:
            self._options.cache.put(self._cache_key(epoch, segment), items)

    def _cache_key(self, epoch: bytes, segment: Segment) -> tuple[object, ...]:
        return (*self._table.identity, self._session_id, epoch, segment.generation, segment.mark, segment.slots)

    async def _fetch(
        self, epoch: bytes, segments: Sequence[Segment], patience: RetryBudget, *, consistent: bool
    ) -> dict[Segment, list[Any] | Damage]:
        sizes = {
            slot_key(self._session_id, slot): segment.kilobytes * 1024 // len(segment.slots) + 1024
            for segment in segments
            for slot in segment.slots
        }
        parts = await self._table.read_parts(sizes, patience, consistent=consistent)
        found: dict[Segment, list[Any] | Damage] = {}
        for segment in segments:
            try:
                items = self._assembled(epoch, segment, parts)
            except _DamagedPart as damage:
                found[segment] = Damage(damage.key, str(damage))
            else:
                self.remember(epoch, segment, items)
                found[segment] = _first(items, segment.count)
        return found

    def _assembled(self, epoch: bytes, segment: Segment, parts: dict[str, Part | None]) -> list[Any]:
        chunks: list[bytes] = []
        counts: dict[str, int] = {}
        key = ""
        for index, slot in enumerate(segment.slots):
            key = slot_key(self._session_id, slot)
            part = parts.get(key)
            if key not in parts:
                raise _DamagedPart(key, "it is missing")
            if part is None:
                raise _DamagedPart(key, "it is not a part that can be read")
            if (part.epoch, part.generation, part.mark) != (epoch, segment.generation, segment.mark):
                raise _DamagedPart(key, "it holds something else")
            if (part.index, part.chunks) != (index, len(segment.slots)):
                raise _DamagedPart(key, "it is another chunk")
            if not part.is_intact:
                raise _DamagedPart(key, "checksum mismatch")
            chunks.append(part.data)
            counts[key] = part.count
        try:
            items = unpack(b"".join(chunks), 0).decode()
        except (DamagedRecordError, ValueError, RecursionError) as error:
            raise _DamagedPart(key, str(error)) from error
        if wrong := [key for key, count in counts.items() if not segment.count <= count == len(items)]:
            raise _DamagedPart(wrong[0], f"it says {counts[wrong[0]]} items where there are {len(items)}")
        return items

    # --- writing ---------------------------------------------------------------------------------------------------

    async def place(self, stored: Head, parts: Sequence[Part], patience: RetryBudget) -> tuple[Placed, int | None]:
        """Write the chunks of a segment into their slots.

        Returns:
            What became of it, and for an occupied slot the second in which the occupant was written.
        """
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(part: Part) -> tuple[Placed, int | None]:
            async with gate:
                return await self._place(stored, part, patience)

        outcomes = await asyncio.gather(*(one(part) for part in parts))
        for outcome in outcomes:
            if outcome[0] is not Placed.WRITTEN:
                return outcome
        return Placed.WRITTEN, None

    async def _place(self, stored: Head, part: Part, patience: RetryBudget) -> tuple[Placed, int | None]:
        orphan: Part | None = None
        while True:
            try:
                if orphan is None:
                    await self._table.put_part(part)
                else:
                    await self._table.replace_part(part, orphan)
                return Placed.WRITTEN, None
            except Refused as refusal:
                occupant = await self._occupant(part.key, refusal, patience)
                if occupant is None:
                    return Placed.FAILED, None
                if occupant.epoch != part.epoch:
                    if orphan is not None or not await self._is_current(stored, patience):
                        return Placed.FAILED, None
                    orphan = occupant
                elif (occupant.generation, occupant.put_id) == (part.generation, part.put_id):
                    return Placed.WRITTEN, None
                else:
                    return Placed.OCCUPIED, occupant.written
            except Unsettled:
                if not await patience.pause():
                    return Placed.FAILED, None

    async def _occupant(self, key: str, refusal: Refused, patience: RetryBudget) -> Part | None:
        item: Attributes | None = refusal.item if refusal.told else await self._table.read_item(key, patience)
        try:
            return part_from_attributes(item) if item else None
        except DamagedRecordError:
            return None

    async def _is_current(self, stored: Head, patience: RetryBudget) -> bool:
        """Whether the session still lives the life of this head: then a part of another life is dead for good.

        Lives follow each other and none comes back. The part was seen before this read, so it is not of a later one.
        """
        try:
            head = from_attributes(
                self._session_id, await self._table.read_item(self._session_id, patience), stored.updated_at
            )
        except DamagedRecordError:
            return False
        return head.epoch == stored.epoch

    # --- expiry ----------------------------------------------------------------------------------------------------

    async def outliving(self, head: Head, now: int, ttl_seconds: int | None, patience: RetryBudget) -> Manifest:
        """The head's manifest, once all its parts live at least as long as a head written now.

        Parts are extended before the head that needs it is written, and never shortened before: whatever fails in
        between, no part of a live session expires.
        """
        manifest = head.manifest
        if not manifest.segments:
            return replace(manifest, expires=0)
        if ttl_seconds is None:
            if manifest.expires:
                await self._extend(head, dict.fromkeys(dict(self._keys(manifest.segments))), patience)
            return replace(manifest, expires=0)
        until = part_expiry(head, now, ttl_seconds)
        if not manifest.expires:
            return replace(manifest, expires=until)
        needed = now + ttl_seconds
        if manifest.expires >= needed:
            return manifest
        # To read when each expires costs a twentieth of extending it. What has little slack left is extended as well.
        ends = await self._table.read_ends(dict(self._keys(manifest.segments)), patience)
        soon = {key: end for key, end in ends.items() if end is None or end < needed + (until - needed) // _SOON}
        await self._extend(head, {key: end and until for key, end in soon.items()}, patience)
        later = [end for key, end in ends.items() if key not in soon and end is not None]
        return replace(manifest, expires=min([until, *later]))

    async def _extend(self, head: Head, ends: Mapping[str, int | None], patience: RetryBudget) -> None:
        """Let parts live on until a Unix second, or for good.

        One that has no end yet keeps none: it is told all the same, so that an end that is on its way does not count.
        """
        number = head.receipts.number + 1  # of the write that this is for
        self._observe("refresh")
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str, generation: int) -> None:
            async with gate:
                while True:
                    try:
                        await self._table.set_part_expiry(key, head.epoch, generation, ends[key], number)
                        return
                    except Refused:
                        return  # it lives longer already, or was replaced: then the head has changed and we will see
                    except Unsettled as failure:
                        if not await patience.pause():
                            raise unavailable(self._table.name, patience, failure) from failure.cause

        await asyncio.gather(*(one(*entry) for entry in self._keys(head.manifest.segments) if entry[0] in ends))

    async def bound(self, head: Head) -> None:
        """Give what lived for good an end, after the first head with a ``ttl`` was written. Where it fails it stays.

        What no longer counts needs one as well: nobody would find it once DynamoDB has deleted the head.
        """
        manifest = head.manifest
        end = manifest.expires or head.ttl
        if end is None:
            return
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(slot: int) -> None:
            async with gate:
                with contextlib.suppress(Refused, Unsettled):
                    key, number = slot_key(self._session_id, slot), head.receipts.number
                    await self._table.bound_part(key, head.epoch, manifest.generation, end, number)

        await asyncio.gather(*(one(slot) for slot in range(manifest.slot_count)))

    def _keys(self, segments: Iterable[Segment]) -> list[tuple[str, int]]:
        return [(slot_key(self._session_id, slot), s.generation) for s in segments for slot in s.slots]

    # --- erasing ---------------------------------------------------------------------------------------------------

    async def erase(self, epoch: bytes, before_generation: int, slots: Sequence[int]) -> list[int]:
        """Delete what free slots hold, unless somebody is writing there now. Returns those that could not be."""
        gate = asyncio.Semaphore(_AT_ONCE)
        left: list[int] = []

        async def one(slot: int) -> None:
            async with gate:
                try:
                    await self._table.delete_part(slot_key(self._session_id, slot), epoch, before_generation)
                except Refused:
                    pass
                except Unsettled:
                    left.append(slot)

        await asyncio.gather(*(one(slot) for slot in slots))
        return left

    def _observe(self, name: str) -> None:
        if self._options.observer is not None:
            self._options.observer(Event(name))


def _first(items: list[Any], count: int) -> list[Any]:
    return items if len(items) == count else items[:count]


_UNREAD = Damage("", "not read yet")


class _DamagedPart(Exception):
    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
