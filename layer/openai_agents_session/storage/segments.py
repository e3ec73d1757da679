"""Reading, writing and erasing the parts of a session.

Nothing is decided here. A part counts if the head names its slot and generation, and is garbage otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..errors import StorageError
from ..options import StorageOptions
from .aws_errors import ConditionFailed, RequestFailed
from .head import Attributes, Head, from_attributes
from .items import unpack, values_in
from .keys import SEPARATOR, slot_key
from .manifest import Segment
from .part import Part, part_from_attributes
from .record import DamagedRecordError
from .retry import RetryBudget
from .table import Table, at_once


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
    OCCUPIED = "occupied by another part of the same generation: somebody else is writing, or died"
    FOREIGN = "occupied by something that is no part"
    STALE = "the head that allowed it is gone"
    FAILED = "DynamoDB kept failing"


@dataclass(frozen=True, slots=True)
class Placement:
    """The outcome for one slot.

    Attributes:
        outcome: What became of it.
        slot: Which one.
        since: Unix second in which the occupant was written.
    """

    outcome: Placed
    slot: int = -1
    since: int = 0


_WRITTEN = Placement(Placed.WRITTEN)


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

    async def load(
        self, epoch: bytes, segments: Sequence[Segment], budget: RetryBudget, *, from_table: bool = False
    ) -> list[list[Any] | Damage]:
        """The items of each segment, fresh for the caller to change, or what is wrong with it.

        Read at half price first: a generation's content never changes, so what has the right generation is right.
        """
        found: dict[Segment, list[Any] | Damage] = {}
        for consistent in (False, True) if from_table else (None, False, True):
            missing = [segment for segment in segments if isinstance(found.get(segment, _UNREAD), Damage)]
            if consistent is None:
                found.update((segment, self._cached(epoch, segment)) for segment in missing)
            elif missing:
                found.update(await self._fetch(epoch, missing, budget, consistent=consistent))
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
        self, epoch: bytes, segments: Sequence[Segment], budget: RetryBudget, *, consistent: bool
    ) -> dict[Segment, list[Any] | Damage]:
        sizes = {
            slot_key(self._session_id, slot): segment.kilobytes * 1024 // len(segment.slots) + 1024
            for segment in segments
            for slot in segment.slots
        }
        parts = await self._table.read_parts(sizes, budget, consistent=consistent)
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
            items = values_in(unpack(b"".join(chunks)))
        except DamagedRecordError as error:
            raise _DamagedPart(key, str(error)) from error
        if wrong := [key for key, count in counts.items() if not segment.count <= count == len(items)]:
            raise _DamagedPart(wrong[0], f"it says {counts[wrong[0]]} items where there are {len(items)}")
        return items

    # --- writing ---------------------------------------------------------------------------------------------------

    async def place(self, stored: Head, parts: Sequence[Part], budget: RetryBudget) -> Placement:
        """Write the chunks of a segment into their slots.

        Args:
            stored: The head that says which slots are free, and under which generation they may be written.
            parts: The chunks.
            budget: The operation's.

        Returns:
            ``WRITTEN`` if all are; otherwise what kept the first that is not.
        """
        placements: list[Placement] = await at_once(lambda part: self._place(stored, part, budget), parts)
        return next((placed for placed in placements if placed.outcome is not Placed.WRITTEN), _WRITTEN)

    async def _place(self, stored: Head, part: Part, budget: RetryBudget) -> Placement:
        slot = slot_number(part.key)
        orphan: Part | None = None
        while True:
            try:
                if orphan is None:
                    await self._table.put_part(part, budget)
                else:
                    await self._table.replace_part(part, orphan, budget)
                return _WRITTEN
            except ConditionFailed as refusal:
                occupant = await self._occupant(part.key, refusal, budget)
            except RequestFailed:
                if not await budget.pause():
                    return Placement(Placed.FAILED, slot)
                continue
            if isinstance(occupant, Placed):
                return Placement(occupant, slot)
            if occupant.epoch == part.epoch:
                if (occupant.generation, occupant.put_id) == (part.generation, part.put_id):
                    return _WRITTEN
                return Placement(Placed.OCCUPIED, slot, occupant.written)
            if orphan is not None or not await self._is_current(stored, budget):
                return Placement(Placed.STALE, slot)
            orphan = occupant

    async def _occupant(self, key: str, refusal: ConditionFailed, budget: RetryBudget) -> Part | Placed:
        item: Attributes | None = refusal.item if refusal.told else await self._table.read_item(key, budget)
        if not item:
            return Placed.STALE  # another writer deleted it meanwhile
        try:
            return part_from_attributes(item)
        except DamagedRecordError:
            return Placed.FOREIGN

    async def _is_current(self, stored: Head, budget: RetryBudget) -> bool:
        """Whether the session still lives the life of this head: then no head will ever name a part of another life.

        Lives follow each other and none comes back. The part was seen before this read, so it is not of a later one.
        """
        item = await self._table.read_item(self._session_id, budget)
        try:
            head = from_attributes(self._session_id, item, stored.updated_at)
        except DamagedRecordError:
            return False
        return head.epoch == stored.epoch

    # --- erasing ---------------------------------------------------------------------------------------------------

    async def erase(
        self, epoch: bytes, before_generation: int, slots: Iterable[int], budget: RetryBudget
    ) -> dict[int, Exception]:
        """Delete what free slots hold, unless somebody is writing there now.

        Returns:
            The slots that could not be cleaned, each with the reason.
        """

        async def one(slot: int) -> None:
            await self._table.delete_part(slot_key(self._session_id, slot), epoch, before_generation, budget)

        return await _failures(one, slots)

    async def erase_all(
        self, epoch: bytes, before_generation: int, slots: Iterable[int], budget: RetryBudget
    ) -> dict[int, Exception]:
        """The same, tried again while that may help and there is time."""
        left = await self.erase(epoch, before_generation, slots, budget)
        while any(isinstance(error, RequestFailed) for error in left.values()) and await budget.pause():
            left = await self.erase(epoch, before_generation, left, budget)
        return left

    async def withdraw(self, put_id: bytes, slots: Iterable[int], budget: RetryBudget) -> None:
        """Delete what was put under an id and will never be committed; what cannot be deleted stays."""

        async def one(slot: int) -> None:
            await self._table.delete_own_part(slot_key(self._session_id, slot), put_id, budget)

        left = await _failures(one, slots)
        while any(isinstance(error, RequestFailed) for error in left.values()) and await budget.pause():
            left = await _failures(one, left)


async def _failures(delete: Callable[[int], Awaitable[None]], slots: Iterable[int]) -> dict[int, Exception]:
    """The slots whose deletion failed, each with the reason. What is not there any more was not to be deleted."""

    async def one(slot: int) -> Exception | None:
        try:
            await delete(slot)
        except ConditionFailed:
            return None
        except (RequestFailed, StorageError) as error:
            return error
        return None

    tried = list(slots)
    failures = await at_once(one, tried)
    return {slot: error for slot, error in zip(tried, failures, strict=True) if error is not None}


def slot_number(key: str) -> int:
    """The number of the slot that a part's key names."""
    return int(key.rpartition(SEPARATOR)[2])


def _first(items: list[Any], count: int) -> list[Any]:
    return items if len(items) == count else items[:count]


_UNREAD = Damage("", "not read yet")


class _DamagedPart(Exception):
    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
