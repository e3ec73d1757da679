"""How a head grows: by a batch, and by what it must seal to stay small.

*Sealing* (a flush, in the words of log-structured stores) moves what a head outgrows into a segment. *Merging*
(compaction) replaces small segments by a larger one, in the same step. Both ride on an append::

    choose free slots -> write the parts -> put the head that names them, with the batch
                                |                        |
                          killed: garbage          killed: landed or not, as any write
                          in slots that the
                          head knows

A part is written into a slot that the committed head says is free, under the generation that it says comes next. If the
head has changed by the time it is put, the part is still good as long as the new head has the same segments and begins
its tail with what was sealed. Otherwise it is garbage in a slot that the head knows, and the next head write moves the
generation on so that the slot can be written again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ContentionError, UnavailableError
from ..events import Event
from ..options import StorageOptions
from .capacity import item_size, write_units
from .expiry import Expiry
from .head import Head
from .items import NOTHING, Items, fits_one_run, from_values
from .keys import slot_key
from .layout import HEAD_LIMIT_BYTES, UNSEALED_LIMIT_BYTES, Layout
from .manifest import UNBOUNDED, Manifest, Segment
from .part import Part, part_attributes
from .receipts import COMMIT_BYTES
from .retry import RetryBudget
from .segments import Damage, Placed, Placement, SegmentStore, slot_number
from .transition import Encoded, Put, Reread, View

_ABANDONED_SECONDS = 5
"""A part that nobody has committed for so long belongs to a writer that died or gave up."""

_LEAST_MERGED_BYTES = 64 * 1024
"""Segments merge up to this size, however small a part may be: else the list of them would grow with the history."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment was written: this head, once committed, names it."""

    head: Head


@dataclass(frozen=True, slots=True)
class NeedsSlots:
    """Sealing waits for slots.

    A slot has to be in a committed head before it is written, so that no crash leaves anything that no head knows.
    """

    slots: int
    kilobytes: int

    def reserved(self, manifest: Manifest) -> Manifest:
        """The manifest that announces them."""
        return manifest.reserving(self.slots, self.kilobytes)


@dataclass(frozen=True, slots=True)
class Busy:
    """Another writer is sealing, or was first: the next append may try."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The parts could not be written."""


NotSealed = NeedsSlots | Busy | Unavailable


@dataclass(frozen=True, slots=True)
class _Written:
    """A segment that was written and is not committed yet."""

    before: Head
    target: Head
    segment: Segment
    merged: int
    with_batch: bool
    expires: int | None


@dataclass(frozen=True, slots=True)
class _Tried:
    """Slots that were written, or may have been, and under which names."""

    epoch: bytes
    generation: int
    slots: tuple[int, ...]
    put_id: bytes


@dataclass(slots=True)
class Growth:
    """The growth of a head by one batch, over as many attempts as the append takes.

    Attributes:
        batch: What the history is to grow by.
        layout: How heads are stored.
        segments: The session's parts.
        expiry: What keeps them alive.
        options: Thresholds and observer.
        has_begun: Whether parts may have been written that are not committed.
    """

    batch: Items
    layout: Layout
    segments: SegmentStore
    expiry: Expiry
    options: StorageOptions
    has_begun: bool = False
    _attempts: int = 0
    _written: _Written | None = None
    _tried: list[_Tried] = field(default_factory=list)
    _foreign: set[int] = field(default_factory=set)
    _void: tuple[bytes, int] | None = None

    # --- one attempt -------------------------------------------------------------------------------------------------

    async def put(self, view: View, target: Head, result: Any = None) -> Put | Reread:
        """The write that puts the batch behind a history.

        Args:
            view: The head to write over.
            target: The history to extend.
            result: What the operation returns once the batch is stored.

        Raises:
            ContentionError: The batch must be sealed, and others kept coming first.
            UnavailableError: It must be sealed, and its parts could not be written.
        """
        await self.clean_up(view.stored, view.budget)
        target = await self.expiry.outliving(view.stored, target, view.now, view.budget)
        target = await self._swept(view, await self._gathered(view, target))
        grown = target.plus(self.batch)
        encoded = None if self.layout.is_too_long(grown.tail) else self._encoded(view, grown)
        if encoded is not None and not encoded.has_outgrown:
            return Put(encoded, result)
        insist = encoded is None or encoded.size > UNSEALED_LIMIT_BYTES
        sealed = await self._sealed(view, target, grown.tail, insist=insist)
        if isinstance(sealed, Sealed):
            return Put(self._encoded(view, sealed.head), result)
        if encoded is not None and encoded.size <= HEAD_LIMIT_BYTES and not (insist and isinstance(sealed, NeedsSlots)):
            return Put(self._encoded(view, _announcing(grown, sealed)), result)
        if self._attempts > 1 and not await view.budget.pause(conflict=True):
            raise self._not_sealed(view, sealed)
        if isinstance(sealed, NeedsSlots):
            return Put(self._encoded(view, _announcing(view.base, sealed)), is_final=False)
        return Reread()  # others were sealing: read the head again, and try other slots

    def _encoded(self, view: View, head: Head) -> Encoded:
        manifest = head.manifest.without_slots(self._foreign)
        return self.layout.encode(view, self._voided(view.stored, replace(head, manifest=manifest)))

    def _voided(self, stored: Head, head: Head) -> Head:
        """``head``, moving the generation on if the present one was spent on a part that will never be committed."""
        present = (stored.epoch, stored.manifest.generation)
        written = self._written
        is_spent = written is not None and (written.before.epoch, written.segment.generation) == present
        if self._void != present and not is_spent:
            return head
        generation = max(head.manifest.generation, stored.manifest.generation + 1)
        return replace(head, manifest=replace(head.manifest, generation=generation))

    def _not_sealed(self, view: View, sealed: NotSealed) -> Exception:
        name = view.stored.session_id
        if isinstance(sealed, Unavailable):
            return UnavailableError(
                f"session {name!r}: the parts of a large batch could not be written for {view.budget.seconds:g} s; the "
                "batch was not stored. Check the table's throttling metrics."
            )
        return ContentionError(
            f"session {name!r}: other writers came first {view.budget.retries} times in {view.budget.seconds:g} s; "
            "nothing was written. Run one turn of a session at a time (see lease)."
        )

    # --- sealing -----------------------------------------------------------------------------------------------------

    async def _sealed(self, view: View, target: Head, tail: Items, *, insist: bool) -> Sealed | NotSealed:
        """``target`` with the batch, its items sealed.

        Args:
            view: The head in the table: it says which slots are free.
            target: The history to extend.
            tail: Its newest items, the batch included.
            insist: The head has no room for the batch: write again what an earlier attempt could not commit, and choose
                other slots than those that are taken. The first to commit then wins; nobody is kept from finishing.
        """
        stored = view.stored
        self._attempts += 1
        if self._written is not None:
            resumed = self._resumed(self._written, stored, target)
            if resumed is not None or not insist:
                return Busy() if resumed is None else Sealed(resumed)
        if not insist and self._void == (stored.epoch, stored.manifest.generation):
            return Busy()
        with_batch = self._attempts == 1 or not target.tail.count or len(self.batch.text) > self.options.head_bytes
        merged, run = await self._run(target, tail if with_batch else target.tail, view.budget)
        chunks = _cut(run.packed(compress=self.options.compress), self.options.part_bytes)
        while True:
            taken = self._taken(stored)
            parts = self._laid_out(view, target, chunks, taken, run.count, merged)
            if parts is None:
                return NeedsSlots(len(taken) + len(chunks), write_units(len(chunks[0])))
            placement = await self._placed(stored, parts, view.budget)
            if placement.outcome is Placed.WRITTEN:
                break
            if placement.outcome is Placed.FOREIGN:
                self._foreign.add(placement.slot)
                continue
            if len(parts) > 1 and placement.outcome is Placed.OCCUPIED:  # some were written, and no head will name them
                await self.segments.withdraw(parts[0].put_id, [slot_number(part.key) for part in parts], view.budget)
            return self._in_vain(stored, parts[0].written, placement)
        expires = parts[0].expires
        self._written = self._known(stored, target, parts, run, merged, with_batch=with_batch, expires=expires)
        return Sealed(self._committable(self._written, target, NOTHING if with_batch else self.batch))

    def _taken(self, stored: Head) -> set[int]:
        """Slots not to be chosen: already tried under the present generation, or with a foreign item in them."""
        present = (stored.epoch, stored.manifest.generation)
        tried = {slot for each in self._tried if (each.epoch, each.generation) == present for slot in each.slots}
        return tried | self._foreign

    async def _run(self, target: Head, tail: Items, budget: RetryBudget) -> tuple[int, Items]:
        """What to seal, and how many of the newest segments are merged into it."""
        limit = max(self.options.part_bytes, _LEAST_MERGED_BYTES) // 1024 * 3 // 4
        merged = target.manifest.mergeable(self.options.fan_out, limit)
        if not merged:
            return 0, tail
        segments = target.manifest.segments
        loaded = await self.segments.load(target.epoch, segments[len(segments) - merged :], budget)
        items: list[object] = []
        for piece in loaded:
            if isinstance(piece, Damage):  # the damage is for a reader to report; an append goes on without merging
                return 0, tail
            items.extend(piece)
        run = from_values(items) + tail
        return (merged, run) if fits_one_run(run) else (0, tail)

    def _laid_out(
        self, view: View, target: Head, chunks: Sequence[bytes], taken: set[int], count: int, merged: int
    ) -> list[Part] | None:
        stored = view.stored
        if not stored.exists:
            return None
        kept = target.manifest.segments[: len(target.manifest.segments) - merged]
        template = Part(
            key=slot_key(stored.session_id, 9_999),
            epoch=stored.epoch,
            generation=stored.manifest.generation,
            put_id=secrets.token_bytes(COMMIT_BYTES),
            index=0,
            chunks=len(chunks),
            first=sum(segment.count for segment in kept),
            count=count,
            data=b"",
            written=view.now,
            expires=self.expiry.of_parts(target, view.now),
        )
        overhead = item_size(part_attributes(template))
        slots = stored.manifest.choose_slots([overhead + len(chunk) for chunk in chunks], taken)
        if slots is None:
            return None
        return [
            replace(template, key=slot_key(stored.session_id, slot), index=index, data=chunk)
            for index, (chunk, slot) in enumerate(zip(chunks, slots, strict=True))
        ]

    async def _placed(self, stored: Head, parts: list[Part], budget: RetryBudget) -> Placement:
        slots = tuple(slot_number(part.key) for part in parts)
        self.has_begun = True
        self._tried.append(_Tried(stored.epoch, stored.manifest.generation, slots, parts[0].put_id))
        return await self.segments.place(stored, parts, budget)

    def _in_vain(self, stored: Head, now: int, placement: Placement) -> NotSealed:
        """Some part was not written. Unless another writer is sealing at this moment, the generation is spent."""
        is_occupied = placement.outcome is Placed.OCCUPIED
        if not is_occupied or abs(now - placement.since) > _ABANDONED_SECONDS:
            self._void = (stored.epoch, stored.manifest.generation)
        return Unavailable() if placement.outcome is Placed.FAILED else Busy()

    def _known(
        self,
        stored: Head,
        target: Head,
        parts: list[Part],
        run: Items,
        merged: int,
        *,
        with_batch: bool,
        expires: int | None,
    ) -> _Written:
        segment = Segment(
            slots=tuple(slot_number(part.key) for part in parts),
            generation=stored.manifest.generation,
            count=run.count,
            level=target.manifest.level_above(merged),
            kilobytes=sum(write_units(item_size(part_attributes(part))) for part in parts),
            mark=parts[0].mark,
        )
        self.segments.remember(stored.epoch, segment, run.decode())
        self._observe("merge" if merged else "seal")
        return _Written(stored, target, segment, merged, with_batch, expires)

    def _resumed(self, written: _Written, stored: Head, target: Head) -> Head | None:
        """The segment of an earlier attempt on top of the head as it is now, or None when it no longer fits."""
        before = written.before.manifest
        same = (
            stored.epoch == written.before.epoch
            and stored.manifest.generation == before.generation
            and target.manifest.segments == written.target.manifest.segments
        )
        rest = _after(written.target.tail, target.tail) if same else None
        if rest is None or (written.with_batch and rest.count):
            self._written = None
            self._void = (written.before.epoch, before.generation)
            return None
        batch = NOTHING if written.with_batch else self.batch
        return self._committable(written, replace(target, tail=rest), rest + batch)

    @staticmethod
    def _committable(written: _Written, target: Head, tail: Items) -> Head:
        manifest = target.manifest.with_segment(written.segment, replacing=written.merged)
        manifest = replace(
            manifest,
            generation=max(manifest.generation, written.segment.generation + 1),
            expires=_earliest_end(manifest, written.expires),
        )
        return replace(target, manifest=manifest, tail=tail)

    # --- maintenance that rides on an append -------------------------------------------------------------------------

    async def clean_up(self, stored: Head, budget: RetryBudget) -> None:
        """Delete what was written for a life of the session that has ended since: no head knows of it any more."""
        ended = [each for each in self._tried if each.epoch != stored.epoch]
        if not ended:
            return
        self._tried = [each for each in self._tried if each.epoch == stored.epoch]
        if self._written is not None and self._written.before.epoch != stored.epoch:
            self._written = None
        for each in ended:
            await self.segments.withdraw(each.put_id, each.slots, budget)

    async def withdraw(self, budget: RetryBudget) -> None:
        """Delete all that was written, once it is certain that none of it is committed or will be."""
        tried, self._tried = self._tried, []
        for each in tried:
            await self.segments.withdraw(each.put_id, each.slots, budget)

    async def _gathered(self, view: View, head: Head) -> Head:
        """With everything back in the head, where the layout wants one item and it fits there."""
        if not self.options.single_item or not head.manifest.segments:
            return head
        loaded = await self.segments.load(head.epoch, head.manifest.segments, view.budget)
        if any(isinstance(piece, Damage) for piece in loaded):
            return head
        items = from_values([item for piece in loaded if not isinstance(piece, Damage) for item in piece]) + head.tail
        if self.layout.is_too_long(items):
            return head
        gathered = replace(head, tail=items, manifest=head.manifest.first(0))
        encoded = self._encoded(view, gathered)
        return head if encoded.has_outgrown else gathered

    async def _swept(self, view: View, head: Head) -> Head:
        """With the garbage deleted, when there is more of it than is worth keeping to write over."""
        garbage = view.stored.manifest
        if not garbage.is_cluttered or view.is_expired:
            return head
        slots = [slot for slot, kilobytes in garbage.free if kilobytes]
        left = await self.segments.erase(view.stored.epoch, garbage.generation, slots, view.budget)
        gone = set(slots) - left.keys()
        self._observe("sweep")
        free = tuple((slot, 0 if slot in gone else kilobytes) for slot, kilobytes in head.manifest.free)
        return replace(head, manifest=replace(head.manifest, free=free))

    def _observe(self, name: str) -> None:
        if self.options.observer is not None:
            self.options.observer(Event(name))


def _announcing(head: Head, sealed: NotSealed) -> Head:
    return replace(head, manifest=sealed.reserved(head.manifest)) if isinstance(sealed, NeedsSlots) else head


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _after(beginning: Items, whole: Items) -> Items | None:
    """What ``whole`` has after ``beginning``; None if it does not begin with it."""
    if not beginning.count:
        return whole
    length = len(beginning.text) - 1
    if whole.count < beginning.count or whole.text[:length] != beginning.text[:-1]:
        return None
    if whole.count == beginning.count:
        return NOTHING if whole.text == beginning.text else None
    return Items(b"[" + whole.text[length + 1 :], whole.count - beginning.count)


def _earliest_end(manifest: Manifest, expires: int | None) -> int:
    """When the first part of a manifest may expire, the newest segment being the only new one."""
    if manifest.expires == UNBOUNDED:
        return UNBOUNDED
    if expires is None:
        return 0 if len(manifest.segments) == 1 else manifest.expires
    if len(manifest.segments) == 1 or not manifest.expires:
        return expires
    return min(manifest.expires, expires)
