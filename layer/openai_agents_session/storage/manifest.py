"""Where the sealed part of a history lies: segments in slots.

A *segment* is a run of items that left the head. It lies in one or more *slots*: items of the table whose keys derive
from the session's id and a small number. A slot is written again when its content is no longer needed, which costs what
writing costs, while deleting and writing afresh would cost twice. Every write of a slot carries a *generation*; a slot
accepts only a newer one, so a delayed write can never replace what came after it.

The manifest in the head names the slots and generations that count. Everything else in a slot is garbage that the
manifest knows about, because it knows every slot.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from .capacity import write_units
from .keys import SLOT_LIMIT
from .record import LARGEST_NUMBER, DamagedRecordError, RecordReader, RecordWriter, UnknownFormatError

MARK_BYTES = 2

UNBOUNDED = 1
"""As ``Manifest.expires``: parts without an end may be left from a time when the session had none."""

_FORMAT = 1
_CLUTTER_KILOBYTES = 64
_LOST_SLOTS = 20_000
"""A manifest names all slots but those in which something of somebody else's was found: these are few."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed run of items.

    Attributes:
        slots: Where its chunks lie, in order.
        generation: The generation its slots must have.
        count: How many of its items belong to the history; a pop lowers it, the rest is garbage.
        level: 0 as sealed, one more each time segments merged into it.
        kilobytes: Its stored size, rounded up.
        mark: The beginning of the put id of its parts. Once a slot was erased, a delayed writer may write it
            under the same generation; the mark tells its part from this segment's.
    """

    slots: tuple[int, ...]
    generation: int
    count: int
    level: int
    kilobytes: int
    mark: bytes = bytes(MARK_BYTES)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The slots of a session and what they hold.

    Attributes:
        segments: The live ones, oldest first.
        free: Slots that hold nothing that counts, with the KB they still occupy (0: the item does not exist).
        slot_count: Slots 0 to ``slot_count`` - 1 may exist in the table.
        generation: What the next slot writes carry. The head moves it on when it names a new segment.
        expires: No part of a live segment expires before this Unix second; 0 when they never expire; ``UNBOUNDED``
            when the session has an end and some of its parts may not have one yet.
    """

    segments: tuple[Segment, ...] = ()
    free: tuple[tuple[int, int], ...] = ()
    slot_count: int = 0
    generation: int = 1
    expires: int = 0

    @property
    def count(self) -> int:
        """Items in all segments."""
        return sum(segment.count for segment in self.segments)

    @property
    def free_kilobytes(self) -> int:
        """KB that garbage occupies."""
        return sum(kilobytes for _, kilobytes in self.free)

    @property
    def is_cluttered(self) -> bool:
        """Whether there is so much garbage that deleting it is better than keeping it to be written over."""
        return bool(self.free) and self.free_kilobytes > max(_CLUTTER_KILOBYTES, 2 * self.live_kilobytes)

    @property
    def live_kilobytes(self) -> int:
        """KB that live segments occupy."""
        return sum(segment.kilobytes for segment in self.segments)

    def reserving(self, slots: int, kilobytes: int = 1) -> Manifest:
        """With at least so many free slots known that occupy at most ``kilobytes``.

        A slot must be in a committed head before it is written: then a crash leaves only parts that a head knows of.
        """
        missing = slots - sum(1 for _, occupied in self.free if occupied <= kilobytes)
        if missing <= 0:
            return self
        added = tuple((slot, 0) for slot in range(self.slot_count, self.slot_count + missing))
        return replace(self, free=self.free + added, slot_count=self.slot_count + missing)

    def without_slots(self, slots: Container[int]) -> Manifest:
        """Without some free slots, which are never used again: they hold foreign items, which are left alone."""
        free = tuple(entry for entry in self.free if entry[0] not in slots)
        return self if len(free) == len(self.free) else replace(self, free=free)

    def choose_slots(self, sizes: Iterable[int], taken: Container[int] = ()) -> tuple[int, ...] | None:
        """Free slots for chunks of these sizes in bytes, without those taken, or None when there are too few.

        Of the slots that cost no more than the chunk itself, the fullest: writing over it is free of extra charge.
        """
        left = {slot: kilobytes for slot, kilobytes in self.free if slot not in taken}
        chosen: list[int] = []
        for size in sizes:
            if not left:
                return None
            slot = min(left, key=lambda slot: (max(left[slot], write_units(size)), -left[slot], slot))
            del left[slot]
            chosen.append(slot)
        return tuple(chosen)

    def with_segment(self, segment: Segment, *, replacing: int = 0) -> Manifest:
        """With a new newest segment in place of the newest ``replacing`` ones.

        The generation moves on: every other part that is being written for the present one becomes void.
        """
        kept = self.segments[: len(self.segments) - replacing]
        gone = self.segments[len(self.segments) - replacing :]
        free = tuple(entry for entry in self.free if entry[0] not in segment.slots) + _slots_of(gone)
        return replace(self, segments=(*kept, segment), free=free, generation=self.generation + 1)

    def first(self, count: int) -> Manifest:
        """With only the first ``count`` items; segments left empty become garbage."""
        kept: list[Segment] = []
        gone: list[Segment] = []
        left = count
        for segment in self.segments:
            taken = min(left, segment.count)
            left -= taken
            if taken:
                kept.append(replace(segment, count=taken))
            else:
                gone.append(segment)
        if not gone:
            return replace(self, segments=tuple(kept))
        return replace(self, segments=tuple(kept), free=self.free + _slots_of(gone), generation=self.generation + 1)

    def only(self, segments: Iterable[Segment]) -> Manifest:
        """With only some of its segments; the others become garbage."""
        kept = tuple(segments)
        gone = [segment for segment in self.segments if segment not in kept]
        return replace(self, segments=kept, free=self.free + _slots_of(gone), generation=self.generation + 1)

    def mergeable(self, fan_out: int, limit_kilobytes: int) -> int:
        """How many of the newest segments a newly sealed run should take in.

        When it would be the ``fan_out``-th of its level, all of that level merge, and so on up, as long as the result
        is expected to fit one part: rewriting large segments again would cost more than it saves.
        """
        level = taken = kilobytes = 0
        while True:
            position = len(self.segments) - taken
            run = 0
            while run < position and self.segments[position - run - 1].level <= level:
                run += 1
            kilobytes += sum(s.kilobytes for s in self.segments[position - run : position])
            if run < fan_out - 1 or kilobytes > limit_kilobytes:
                return taken
            taken += run
            level += 1

    def level_above(self, merged: int) -> int:
        """The level of a segment that takes in the newest ``merged`` ones."""
        return 1 + max((s.level for s in self.segments[len(self.segments) - merged :]), default=-1) if merged else 0

    def pack(self) -> bytes:
        """The stored form."""
        record = RecordWriter()
        for number in (_FORMAT, self.generation, self.slot_count, self.expires, len(self.segments)):
            record.number(number)
        for segment in self.segments:
            for number in (
                segment.level,
                self.generation - segment.generation,
                segment.count,
                segment.kilobytes,
                len(segment.slots),
                *segment.slots,
            ):
                record.number(number)
            record.raw(segment.mark)
        record.number(len(self.free))
        for slot, kilobytes in self.free:
            record.number(slot)
            record.number(kilobytes)
        return record.seal()

    @classmethod
    def unpack(cls, packed: bytes) -> Manifest:
        """The manifest that ``pack`` packed.

        Raises:
            DamagedRecordError: When the bytes are not what was written.
        """
        record = RecordReader(packed)
        if record.number() != _FORMAT:
            raise UnknownFormatError(
                "the manifest's format is not one this version knows: use the version that wrote it"
            )
        generation, slot_count, expires = record.number(), record.number(), record.number()
        segments = []
        for _ in range(record.number()):
            level, age, count, kilobytes = (record.number() for _ in range(4))
            slots = tuple(record.number() for _ in range(record.number()))
            segments.append(Segment(slots, generation - age, count, level, kilobytes, record.raw(MARK_BYTES)))
        free = tuple((record.number(), record.number()) for _ in range(record.number()))
        return cls(tuple(segments), free, slot_count, generation, expires).checked()

    def checked(self) -> Manifest:
        """Itself, if its numbers can be those of a session.

        Raises:
            DamagedRecordError: They cannot: a segment without slots or items, a slot out of range or named twice.
        """
        slots = [slot for segment in self.segments for slot in segment.slots] + [slot for slot, _ in self.free]
        if not all(segment.slots and segment.count > 0 and segment.generation >= 0 for segment in self.segments):
            raise DamagedRecordError("a segment has no slots, no items or no generation")
        if self.generation >= LARGEST_NUMBER or self.expires >= LARGEST_NUMBER:
            raise DamagedRecordError("a number is out of range")
        most = min(SLOT_LIMIT, len(slots) + _LOST_SLOTS)
        if self.slot_count > most or any(slot >= self.slot_count for slot in slots):
            raise DamagedRecordError("a slot has a number that is out of range")
        if len(set(slots)) != len(slots):
            raise DamagedRecordError("a slot is named twice")
        return self


NO_PARTS = Manifest()


def _slots_of(segments: Iterable[Segment]) -> tuple[tuple[int, int], ...]:
    return tuple((slot, -(-segment.kilobytes // len(segment.slots))) for segment in segments for slot in segment.slots)
