"""Sealing: what a head outgrows moves into a segment, small segments merge into larger ones.

The part is written first, into a slot that the committed head says is free and under the generation that it says comes
next. The head that names it is the commit point. If the head has changed by then, the part is still good as long as the
new head has the same segments and begins its tail with what was sealed; otherwise it is garbage in a slot that the head
knows, and the next head write moves the generation on so that the slot can be written again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..events import Event
from ..options import StorageOptions
from .capacity import item_size, write_units
from .head import Head
from .items import NOTHING, Items, from_values
from .manifest import Manifest, Part, Segment, slot_key
from .receipts import COMMIT_BYTES
from .retry import RetryBudget
from .segments import Damage, Placed, SegmentStore
from .table import part_attributes

_ABANDONED_SECONDS = 5
"""A part that nobody has committed for so long belongs to a writer that died or gave up."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A segment that was written and is not committed yet."""

    before: Head
    target: Head
    segment: Segment
    merged: int
    with_batch: bool
    expires: int | None


class Sealing:
    """The sealing of one append, over as many attempts as the append takes.

    Args:
        parts: The session's parts.
        options: The layout.
        patience: The append's.

    Attributes:
        patience: The append's.
        attempts: How often it was tried to seal.
        contended: Whether it was another writer, rather than DynamoDB, that kept the last attempt from writing.
    """

    def __init__(self, parts: SegmentStore, options: StorageOptions, patience: RetryBudget) -> None:
        self.patience = patience
        self.attempts = 0
        self.contended = False
        self._parts = parts
        self._options = options
        self._sealed: _Sealed | None = None
        self._tried: list[tuple[bytes, int, tuple[int, ...]]] = []
        self._void: int | None = None
        self._needs: tuple[int, int] | None = None

    @property
    def announcement(self) -> bool:
        """Whether sealing waits for slots to be announced in the head."""
        return self._needs is not None

    @property
    def wrote(self) -> bool:
        """Whether parts were written that may not have been committed."""
        return bool(self._tried)

    async def seal(
        self, stored: Head, target: Head, batch: Items, now: int, expires: int | None, *, insist: bool
    ) -> Head | None:
        """``target`` with the batch, its items sealed; None when that is not possible now.

        Args:
            stored: The head in the table: it says which slots are free.
            target: The history to extend.
            batch: What to extend it by.
            now: Unix seconds.
            expires: When the segment may expire, in Unix seconds, or None.
            insist: The head has no room for the batch: write again what an earlier attempt wrote in vain, and go round
                the slots that are taken. Who commits first then wins, and nobody keeps others from finishing.
        """
        self._needs = None
        self.attempts += 1
        if self._sealed is not None:
            resumed = self._resumed(self._sealed, stored, target, batch)
            if resumed is not None or not insist:
                return resumed
        if not insist and self._void == stored.manifest.generation:
            return None
        with_batch = self.attempts == 1 or not target.tail.count or len(batch.text) > self._options.head_bytes
        merged, run = await self._run(target, batch if with_batch else NOTHING)
        chunks = _cut(run.packed(compress=self._options.compress), self._options.part_bytes)
        taken = self._taken(stored)
        parts = self._laid_out(stored, target, chunks, taken, run.count, merged, now, expires)
        if parts is None:
            self._needs = len(taken) + len(chunks), write_units(len(chunks[0]))
            return None
        return await self._written(stored, target, batch, parts, run, merged, with_batch, expires)

    def _taken(self, stored: Head) -> set[int]:
        """The slots that this append has tried under the present generation: ours in vain, or somebody else's."""
        present = (stored.epoch, stored.manifest.generation)
        return {slot for epoch, generation, slots in self._tried if (epoch, generation) == present for slot in slots}

    async def clean_up(self, stored: Head) -> None:
        """Delete what was written for a life of the session that has ended since: no head knows of it any more."""
        ended = [written for written in self._tried if written[0] != stored.epoch]
        if not ended:
            return
        self._tried = [written for written in self._tried if written[0] == stored.epoch]
        if self._sealed is not None and self._sealed.before.epoch != stored.epoch:
            self._sealed = None
        for epoch, generation, slots in ended:
            left = await self._parts.erase(epoch, generation + 1, slots)
            while left and await self.patience.pause():
                left = await self._parts.erase(epoch, generation + 1, left)

    async def _run(self, target: Head, batch: Items) -> tuple[int, Items]:
        """What to seal, and how many of the newest segments are merged into it."""
        run = target.tail + batch
        limit = self._options.part_bytes // 1024 * 3 // 4
        merged = target.manifest.mergeable(self._options.fan_out, limit)
        if not merged:
            return 0, run
        segments = target.manifest.segments
        loaded = await self._parts.load(target.epoch, segments[len(segments) - merged :], self.patience)
        items: list[object] = []
        for piece in loaded:
            if isinstance(piece, Damage):  # the damage is for a reader to report; an append goes on without merging
                return 0, run
            items.extend(piece)
        return merged, from_values(items) + run

    def _laid_out(
        self,
        stored: Head,
        target: Head,
        chunks: Sequence[bytes],
        taken: set[int],
        count: int,
        merged: int,
        now: int,
        expires: int | None,
    ) -> list[Part] | None:
        kept = target.manifest.segments[: len(target.manifest.segments) - merged]
        put_id = secrets.token_bytes(COMMIT_BYTES)
        template = Part(
            key="",
            epoch=stored.epoch,
            generation=stored.manifest.generation,
            put_id=put_id,
            index=0,
            chunks=len(chunks),
            first=sum(segment.count for segment in kept),
            count=count,
            data=b"",
            written=now,
            expires=expires,
        )
        parts = [replace(template, index=index, data=chunk) for index, chunk in enumerate(chunks)]
        empty = replace(template, key=slot_key(stored.session_id, 9_999))
        overhead = item_size(part_attributes(empty))
        if not stored.exists:
            return None
        slots = stored.manifest.choose_slots([overhead + len(chunk) for chunk in chunks], taken)
        if slots is None:
            return None
        return [replace(part, key=slot_key(stored.session_id, slot)) for part, slot in zip(parts, slots, strict=True)]

    async def _written(
        self,
        stored: Head,
        target: Head,
        batch: Items,
        parts: list[Part],
        run: Items,
        merged: int,
        with_batch: bool,
        expires: int | None,
    ) -> Head | None:
        slots = tuple(int(part.key.rpartition("~")[2]) for part in parts)
        self._tried.append((stored.epoch, stored.manifest.generation, slots))
        outcome, since = await self._parts.place(stored, parts, self.patience)
        self.contended = outcome is Placed.OCCUPIED
        if outcome is not Placed.WRITTEN:
            if since is None or abs(parts[0].written - since) > _ABANDONED_SECONDS:
                self._void = stored.manifest.generation
            return None
        segment = Segment(
            slots=slots,
            generation=stored.manifest.generation,
            count=run.count,
            level=target.manifest.level_above(merged),
            kilobytes=sum(write_units(item_size(part_attributes(part))) for part in parts),
            mark=parts[0].mark,
        )
        self._parts.remember(stored.epoch, segment, run.decode())
        self._observe("merge" if merged else "seal")
        self._sealed = _Sealed(stored, target, segment, merged, with_batch, expires)
        return self._committable(self._sealed, target, NOTHING if with_batch else batch)

    def _resumed(self, sealed: _Sealed, stored: Head, target: Head, batch: Items) -> Head | None:
        """The segment of an earlier attempt on top of the head as it is now, or None when it no longer fits."""
        before = sealed.before.manifest
        same = (
            stored.epoch == sealed.before.epoch
            and stored.manifest.generation == before.generation
            and target.manifest.segments == sealed.target.manifest.segments
        )
        rest = _after(sealed.target.tail, target.tail) if same else None
        if rest is None or (sealed.with_batch and rest.count):
            self._sealed = None
            self._void = before.generation
            return None
        return self._committable(sealed, replace(target, tail=rest), NOTHING if sealed.with_batch else batch, rest)

    def _committable(self, sealed: _Sealed, target: Head, batch: Items, rest: Items = NOTHING) -> Head:
        manifest = target.manifest.with_segment(sealed.segment, replacing=sealed.merged)
        manifest = replace(
            manifest,
            generation=max(manifest.generation, sealed.segment.generation + 1),
            expires=_expires(manifest, sealed.expires),
        )
        return replace(target, manifest=manifest, tail=rest + batch)

    def voided(self, stored: Head, head: Head) -> Head:
        """``head``, moving the generation on if the present one was spent on a part that will never be committed."""
        generation = stored.manifest.generation
        written = self._sealed
        unused = written is not None and (written.before.epoch, written.segment.generation) == (
            stored.epoch,
            generation,
        )
        if self._void != generation and not unused:
            return head
        generation = max(head.manifest.generation, stored.manifest.generation + 1)
        return replace(head, manifest=replace(head.manifest, generation=generation))

    def reserved(self, manifest: Manifest) -> Manifest:
        """``manifest`` with the slots that sealing waits for."""
        return manifest.reserving(*self._needs) if self._needs else manifest

    def _observe(self, name: str) -> None:
        if self._options.observer is not None:
            self._options.observer(Event(name))


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


def _expires(manifest: Manifest, expires: int | None) -> int:
    """When the first part of a manifest may expire, the newest segment being the only new one."""
    if expires is None:
        return 0 if len(manifest.segments) == 1 else manifest.expires
    if len(manifest.segments) == 1 or not manifest.expires:
        return expires
    return min(manifest.expires, expires)
