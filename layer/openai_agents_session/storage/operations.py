"""The storage engine of one session: every operation as one conditional write of the head.

*Logical steps*, append, pop, replace, clear, take or release the lease, map the head to the next and commit it: nothing
else decides what the history is. *Upkeep*, seal, merge, refresh, sweep, changes where items lie. It rides on an append:
parts are written first, the head that names them commits them together with the batch. Upkeep may fail, lose a race or
be skipped without anyone noticing; whoever comes next does it.

::

    append:  [ put part(s) ]  ->  put head if unchanged        acknowledged here, and only here
                    |                    |
               killed: garbage      killed: landed or not; the receipt in the head tells
               in a slot that
               the head knows
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import (
    ContentionError,
    CorruptSessionError,
    LeaseLostError,
    LeaseUnavailableError,
    OutcomeUnknownError,
    SessionError,
    UnavailableError,
    WrongOwnerError,
)
from ..events import Event
from ..options import StorageOptions
from .capacity import ITEM_LIMIT_BYTES
from .head import Head, Lease, from_attributes
from .items import NOTHING, Items, from_values
from .manifest import Segment
from .receipts import KEEP, KEEP_CONTENDED, CommitIds
from .record import DamagedRecordError
from .recovery import salvaged
from .retry import RetryBudget
from .sealing import Sealing
from .segments import Damage, SegmentStore, part_expiry
from .table import Refused, Table, Unsettled, unavailable

HEAD_LIMIT_BYTES = ITEM_LIMIT_BYTES - 8 * 1024
"""What a head may weigh: DynamoDB's limit, less room for receipts and manifest."""

UNSEALED_LIMIT_BYTES = 64 * 1024
"""A head may be over its threshold up to here, when sealing at once would cost an extra write or is not possible."""

_SWEEP_KILOBYTES = 64

_CROWD = 2
"""After more refusals than that there is a crowd."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an operation makes of a head.

    Attributes:
        head: The next head; None when there is nothing to write.
        result: What the operation returns.
        final: Whether the operation is complete with it; otherwise it goes on from the head just written.
    """

    head: Head | None
    result: Any = None
    final: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """A head as an operation sees it.

    Attributes:
        stored: As the table holds it: which slots may be written, and under which generation.
        base: The same, emptied if it has expired: what the history is.
        now: Unix seconds.
    """

    stored: Head
    base: Head
    now: int

    @property
    def is_expired(self) -> bool:
        """Whether the history is empty because it has expired."""
        return self.base is not self.stored


Plan = Callable[[View], Awaitable[Step]]


class Engine:
    """One session in one table, used by one session object.

    Args:
        session_id: The session, already validated.
        table: The table.
        options: Layout and patience.
        ttl_seconds: Seconds from each write to expiry, or None.
        owner: Whom the session must belong to, or None for no check.
    """

    def __init__(
        self, session_id: str, table: Table, options: StorageOptions, ttl_seconds: int | None, owner: str | None
    ) -> None:
        self.session_id = session_id
        self.table = table
        self.options = options
        self.lease: Lease | None = None
        self.parts = SegmentStore(session_id, table, options)
        self._ttl_seconds = ttl_seconds
        self._owner = owner
        self._commits = CommitIds()
        self._known: Head | None = None
        self._pending_commit = b""

    @property
    def known(self) -> Head | None:
        """The head as last seen, if nothing has happened since that makes it doubtful."""
        return self._known

    # --- reading ---------------------------------------------------------------------------------------------------

    async def read(self, limit: int | None) -> list[Any]:
        """The newest ``limit`` items, or all, oldest first."""
        patience = self.patience()
        head = await self._current_head(patience)
        while True:
            view = self._view(head)
            self._check_owner(view.base)
            wanted = view.base.count if limit is None else min(limit, view.base.count)
            loaded = await self._load_newest(view.base, wanted, patience)
            damages = [piece for piece in loaded if isinstance(piece, Damage)]
            if not damages:
                items = [item for piece in loaded if not isinstance(piece, Damage) for item in piece]
                return items[len(items) - wanted :] if len(items) > wanted else items
            head = await self._unless_unchanged(view, damages[0], patience)

    async def _current_head(self, patience: RetryBudget) -> Head:
        """The head; without asking while our own lease keeps everybody else from writing."""
        if self._known is not None and self._holds_lease(self._known):
            return self._known
        return await self._read_head(patience)

    async def _read_head(self, patience: RetryBudget) -> Head:
        item = await self.table.read_item(self.session_id, patience)
        self._known = await self.inspected(item)
        return self._known

    async def inspected(self, item: Any) -> Head:
        """The head that an item holds; when it is damaged, the error says how much the parts still hold."""
        try:
            return self.decoded(item)
        except CorruptSessionError as error:
            corrupt = error
        with contextlib.suppress(SessionError):
            found = await salvaged(self.table, self.session_id, item, self.now(), self.patience())
            corrupt = _corrupt_head(self.session_id, corrupt.__cause__, found.count)
        raise corrupt

    def decoded(self, item: Any) -> Head:
        """The head that an item holds.

        Raises:
            CorruptSessionError: It is damaged.
        """
        try:
            return from_attributes(self.session_id, item, self.now())
        except DamagedRecordError as error:
            raise _corrupt_head(self.session_id, error, None) from error

    async def _load_newest(self, head: Head, wanted: int, patience: RetryBudget) -> list[list[Any] | Damage]:
        """The newest segments that ``wanted`` items need, and the tail."""
        needed: list[Segment] = []
        missing = wanted - head.tail.count
        for segment in reversed(head.manifest.segments):
            if missing <= 0:
                break
            needed.insert(0, segment)
            missing -= segment.count
        return [*await self.parts.load(head.epoch, needed, patience), head.tail.decode()]

    async def _unless_unchanged(self, view: View, damage: Damage, patience: RetryBudget) -> Head:
        """The present head, if it is not the one whose part is missing: then the part was merely replaced meanwhile."""
        head = await self._read_head(patience)
        if head.commit != view.stored.commit:
            return head
        intact = await self.parts.load(view.base.epoch, view.base.manifest.segments, patience)
        count = view.base.tail.count + sum(len(piece) for piece in intact if not isinstance(piece, Damage))
        raise CorruptSessionError(
            self.session_id, damage.key, damage.reason, intact_items=count, total_items=view.base.count
        )

    def owned(self, head: Head) -> Head:
        """The head as of now, emptied if it has expired; checked for its owner."""
        view = self._view(head)
        self._check_owner(view.base)
        return view.base

    # --- logical steps ---------------------------------------------------------------------------------------------

    async def append(self, batch: Items) -> None:
        """Add a batch at the end."""
        sealing = self._sealing()

        async def plan(view: View) -> Step:
            return await self._grown(view, view.base, batch, sealing)

        await self._extended(plan, sealing)

    async def replace(self, keep: int, batch: Items, *, expected: bytes | None = None) -> bool:
        """Put a batch in place of everything after the first ``keep`` items.

        Args:
            keep: How many items stay.
            batch: What follows them.
            expected: The commit id the head must still have, or None for any.

        Returns:
            Whether it was done; False when the head was not the expected one, or has expired since.
        """
        sealing = self._sealing()
        intermediate: list[bytes | None] = [expected]

        async def plan(view: View) -> Step:
            if expected is not None and (view.stored.commit not in intermediate or view.is_expired):
                return Step(None, result=False)
            step = await self._grown(view, view.base.first(keep), batch, sealing)
            if not step.final:
                intermediate.append(self._pending_commit)
            return replace(step, result=True)

        return bool(await self._extended(plan, sealing))

    async def _extended(self, plan: Plan, sealing: Sealing) -> Any:
        try:
            return await self._commit(plan)
        except SessionError:
            await self._tidy(sealing)
            raise

    async def _tidy(self, sealing: Sealing) -> None:
        """Delete what a failed append wrote for a life of the session that has ended: no head knows of it."""
        if not sealing.wrote:
            return
        with contextlib.suppress(SessionError):
            await sealing.clean_up(await self._read_head(RetryBudget(min(2, self.options.patience_seconds))))

    async def pop(self) -> Any:
        """Remove the newest item and return it; None when there is none."""
        patience = self.patience()

        async def plan(view: View) -> Step:
            if not view.base.count:
                return Step(None)
            (newest, *_) = reversed(await self._intact(view, 1, patience))
            return Step(view.base.first(view.base.count - 1), result=newest)

        return await self._commit(plan)

    async def _intact(self, view: View, wanted: int, patience: RetryBudget) -> list[Any]:
        """The newest items, at least ``wanted``; raises when they cannot be read."""
        loaded = await self._load_newest(view.base, wanted, patience)
        items: list[Any] = []
        for piece in loaded:
            if isinstance(piece, Damage):
                await self._unless_unchanged(view, piece, patience)
                raise _StaleHead
            items.extend(piece)
        return items

    async def clear(self) -> None:
        """Remove everything.

        A session that is one item is deleted as it was seen. One with parts is first emptied, which is the commit
        point, then its parts go, then the head, unless somebody has written it again. It needs no lease, and ends that
        of anybody else.
        """
        if self._owner is None and self.lease is None and await self._cleared_single():
            self._known = None
            return

        async def plan(view: View) -> Step:
            if not view.stored.exists:
                return Step(None)
            empty = view.base.first(0)
            manifest = replace(empty.manifest, generation=empty.manifest.generation + 1)
            lease = view.base.lease if self._holds_lease(view.base) else None
            return Step(replace(empty, manifest=manifest, lease=lease))

        await self._commit(plan, fenced=self.lease is not None, repeatable=True)
        head, self._known = self._known, None
        if head is None or not head.exists or head.count:
            return  # gone, or begun again
        if self._holds_lease(head):
            self._known = head
            await self._erase_parts(head)
            return
        await self._erase_parts(head)
        await self._delete_emptied(head)

    async def _cleared_single(self) -> bool:
        """Whether the session was one item, or none, and now is gone.

        Only what was seen is deleted: a delete that arrives late must not take what was written after the clear.
        """
        patience = self.patience()
        known = self._known
        item: Any = None
        if known is not None and known.commit is not None and not known.manifest.slot_count:
            item = {"commit": {"B": known.commit}}
        else:
            item = await self.table.read_item(self.session_id, patience)
        while item and "parts" not in item:
            try:
                await self.table.delete_seen(self.session_id, item)
                return True
            except Refused as refusal:
                self._observe("conflict")
                if not await patience.pause(conflict=True):
                    raise self._gave_up(patience, []) from None
                item = refusal.item if refusal.told else await self.table.read_item(self.session_id, patience)
            except Unsettled as failure:
                if not await patience.pause():
                    raise unavailable(self.table.name, patience, failure) from failure.cause
                item = await self.table.read_item(self.session_id, patience)
        return not item

    async def _erase_parts(self, head: Head) -> None:
        patience = self.patience()
        slots = [slot for slot, _ in head.manifest.free]
        while True:
            slots = await self.parts.erase(head.epoch, head.manifest.generation, slots)
            if not slots:
                return
            if not await patience.pause():
                raise OutcomeUnknownError(
                    f"session {self.session_id!r} is cleared, but {len(slots)} of its parts could not be deleted from "
                    f"table {self.table.name!r}. Clear it again."
                )

    async def _delete_emptied(self, head: Head) -> None:
        patience = self.patience()
        while True:
            try:
                await self.table.delete_head(head)
                return
            except Refused:
                return  # written again, or deleted already
            except Unsettled as failure:
                if not await patience.pause():
                    raise unavailable(self.table.name, patience, failure) from failure.cause

    # --- the lease -------------------------------------------------------------------------------------------------

    async def take_lease(self, milliseconds: int) -> float | None:
        """Take the lease if it is free.

        Returns:
            None when it is ours; otherwise the seconds until the holder's runs out.
        """

        async def plan(view: View) -> Step:
            now = self._now_milliseconds()
            held = view.base.lease
            if held is not None and held.until > now:
                return Step(None, result=(held.until - now) / 1000)
            taken = Lease(self._pending_commit, now + milliseconds)
            return Step(replace(view.base, lease=taken), result=taken)

        outcome: Lease | float = await self._commit(plan, fenced=False)
        if not isinstance(outcome, Lease):
            return outcome
        self.lease = outcome
        return None

    async def extend_lease(self, milliseconds: int) -> None:
        """Let our lease run out so long from now. Raises ``LeaseLostError`` if it is not ours any more."""
        mine = self.lease
        if mine is None:
            raise LeaseLostError(f"session {self.session_id!r}: no lease is held")

        async def plan(view: View) -> Step:
            extended = Lease(mine.token, self._now_milliseconds() + milliseconds)
            return Step(replace(view.base, lease=extended), result=extended)

        self.lease = await self._commit(plan)

    async def release_lease(self) -> None:
        """Give the lease back; nothing happens if it is not ours any more. Leaves no empty session behind."""
        mine, self.lease = self.lease, None
        if mine is None:
            return

        async def plan(view: View) -> Step:
            if view.base.lease is None or view.base.lease.token != mine.token:
                return Step(None, result=False)
            return Step(replace(view.base, lease=None), result=True)

        released = await self._commit(plan, fenced=False, repeatable=True)
        head = self._known
        if released and head is not None and not head.count and head.lease is None:
            self._known = None
            await self._erase_parts(head)
            await self._delete_emptied(head)

    def _holds_lease(self, head: Head) -> bool:
        return (
            self.lease is not None
            and head.lease is not None
            and head.lease.token == self.lease.token
            and head.lease.until > self._now_milliseconds()
        )

    # --- the commit point ------------------------------------------------------------------------------------------

    async def _commit(self, plan: Plan, *, fenced: bool = True, repeatable: bool = False) -> Any:
        """Apply a plan to the head until the write that makes it true has landed, once.

        A session that has read the head writes on the condition that it is unchanged, without reading it again. A
        refusal brings the head that is there instead, to see whether the write is in it after all (its answer was lost
        and botocore, or we, sent it again), and to go on from.

        Args:
            plan: Makes the next head of a head.
            fenced: Whether the lease must allow it.
            repeatable: Whether the plan may be carried out again after it has, to no other effect.
        """
        course = _Course(self.patience(), self._known)
        self._known = None
        while True:
            head = await self._seen(course)
            landed = self._landed(head, course.doubts, repeatable)
            if landed is not None and landed.final:
                self._known = head
                return landed.result
            if landed is not None or (course.doubts and not course.doubts[0].expected.is_same(head)):
                course.doubts = []  # what has not landed on a head that is gone never will
            self._pending_commit = self._commits.next()
            view = self._view(head)
            step = await self._planned(course, view, plan, fenced=fenced)
            if step is None:
                course.head = None
                continue
            if step.head is None:
                self._known = head
                return step.result
            if not await self._made(course, view, step, step.head):
                continue
            if step.final:
                return step.result
            self._known, course.doubts = None, []

    async def _seen(self, course: _Course) -> Head:
        """The head to start from: the one at hand, or else the one in the table."""
        if course.head is None:
            course.head, course.fresh = await self._reread(course.patience, course.doubts), True
        return course.head

    async def _planned(self, course: _Course, view: View, plan: Plan, *, fenced: bool) -> Step | None:
        """What the plan makes of the head; None when it must be read first.

        A write finds out by itself whether the head that we remembered is still the one. Nothing else may be concluded
        from it: neither that there is nothing to do, nor that something is wrong.
        """
        try:
            self._check_owner(view.base)
            if fenced:
                self._check_lease(view.base)
            step = await plan(view)
        except _StaleHead:
            return None
        except SessionError as error:
            if not course.fresh:
                return None
            if course.doubts and isinstance(error, UnavailableError):
                raise self._gave_up(course.patience, course.doubts) from error
            raise
        return None if step.head is None and not course.fresh else step

    async def _made(self, course: _Course, view: View, step: Step, head: Head) -> bool:
        """Whether the step's write landed for certain; if not, after a pause, with the head to go on from."""
        written = await self._prepared(view, head, KEEP_CONTENDED if course.patience.retries else KEEP)
        doubt = Doubt(step, view.stored, written)
        try:
            await self.put(written, view.stored)
        except Refused as refusal:
            self._observe("conflict")
            await self._refused(course, refusal, doubt)
            return False
        except Unsettled as failure:
            self._observe("retry")
            await self._unsettled(course, failure, doubt)
            return False
        self._known, course.head, course.fresh = written, written, True
        if written.ttl is not None and view.stored.ttl is None and view.stored.manifest.slot_count:
            await self.parts.bound(written)
        return True

    async def _refused(self, course: _Course, refusal: Refused, doubt: Doubt) -> None:
        """Another writer was first, or it was our own write, sent again without our knowledge."""
        if refusal.retried:
            course.doubts.append(doubt)
        course.head, course.fresh = (await self.inspected(refusal.item) if refusal.told else None), True
        if _is_in(course.head, course.doubts):
            return
        if not await course.patience.pause(conflict=True):
            raise self._gave_up(course.patience, course.doubts) from None
        if course.patience.retries > _CROWD:
            course.head = None  # others have written meanwhile: reading costs a fifth of being refused again

    async def _unsettled(self, course: _Course, failure: Unsettled, doubt: Doubt) -> None:
        """The write failed, or its answer was lost."""
        if failure.may_have_landed:
            course.doubts.append(doubt)
            course.head = None
        if await course.patience.pause():
            return
        if course.doubts:
            raise self._gave_up(course.patience, course.doubts) from failure.cause
        raise unavailable(self.table.name, course.patience, failure) from failure.cause

    async def _reread(self, patience: RetryBudget, doubts: list[Doubt]) -> Head:
        try:
            head = await self._read_head(patience)
        except UnavailableError as error:
            if not doubts:
                raise
            raise self._gave_up(patience, doubts) from error
        self._known = None
        return head

    def _landed(self, head: Head, doubts: list[Doubt], repeatable: bool) -> Step | None:
        """The step in doubt that landed, None if none did. All were to replace one head, so at most one did.

        Where there was no head and now there is none, or one that began otherwise, ours may have been and gone; then
        somebody cleared it at once. To say so of every first write whose answer is lost would help nobody.

        Raises:
            OutcomeUnknownError: The head that would tell is gone, or has forgotten.
        """
        for doubt in doubts:
            if doubt.commit in head.receipts:
                return doubt.step
        if not doubts or repeatable or doubts[0].expected.is_same(head):
            return None
        oldest = doubts[0]
        if head.epoch != oldest.epoch and oldest.expected.commit is not None:
            raise OutcomeUnknownError(
                f"session {self.session_id!r}: an answer was lost, and the session has been cleared or has expired "
                "since: whether the write came before that can no longer be told. Read the history before repeating it."
            )
        if head.epoch == oldest.epoch and head.receipts.dropped >= oldest.number:
            raise OutcomeUnknownError(
                f"session {self.session_id!r}: an answer was lost and so many others have written since that it can no "
                "longer be told whether the write landed. Read the history before repeating it."
            )
        return None

    def _gave_up(self, patience: RetryBudget, doubts: list[Doubt]) -> Exception:
        if doubts:
            return OutcomeUnknownError(
                f"session {self.session_id!r}: an answer was lost, and after {patience.seconds:g} s it is still not "
                "known whether the write landed. Read the history before repeating it."
            )
        return ContentionError(
            f"session {self.session_id!r}: other writers came first {patience.retries} times in "
            f"{patience.seconds:g} s; nothing was written. Run one turn of a session at a time (see lease)."
        )

    async def _prepared(self, view: View, head: Head, keep: int) -> Head:
        """The head to write: stamped, its parts made to outlive it, and a slot announced if it may soon need one."""
        ttl = None if self._ttl_seconds is None else view.now + self._ttl_seconds
        if head.owner is None and self._owner is not None:
            head = replace(head, owner=self._owner)
        manifest = await self.parts.outliving(head, view.now, self._ttl_seconds, self.patience())
        if manifest.segments or len(head.tail.text) > self._item_bytes // 2:
            manifest = manifest.reserving(1)
        return replace(head, manifest=manifest).committed(self._pending_commit, view.now, ttl, keep=keep)

    async def put(self, head: Head, expected: Head) -> None:
        """Write a head in place of the one that was seen. Raises like ``Table.put_head``."""
        await self.table.put_head(self.attributes(head), expected)

    def attributes(self, head: Head) -> dict[str, dict[str, Any]]:
        """The item to store for a head."""
        return head.attributes(item_bytes=self._item_bytes, compress=self.options.compress)

    # --- how a head grows ------------------------------------------------------------------------------------------

    async def _grown(self, view: View, target: Head, batch: Items, sealing: Sealing) -> Step:
        """``target`` with a batch at its end, sealed if it outgrows the head."""
        await sealing.clean_up(view.stored)
        target = await self._swept(view, target)
        if self.options.single_item and target.manifest.segments:
            target = await self._gathered(view, target)
        grown = target.plus(batch)
        if self._fits(view, grown):
            return Step(sealing.voided(view.stored, grown))
        size = self._size(view, grown)
        insist = size > UNSEALED_LIMIT_BYTES
        expires = self._part_expiry(view, target)
        sealed = await sealing.seal(view.stored, target, batch, view.now, expires, insist=insist)
        if sealed is not None:
            return Step(sealed)
        if not insist or (size <= HEAD_LIMIT_BYTES and not sealing.announcement):
            announced = replace(grown, manifest=sealing.reserved(grown.manifest))
            return Step(sealing.voided(view.stored, announced))
        if sealing.attempts > 1 and not await sealing.patience.pause(conflict=True):
            raise self._not_sealed(sealing)
        if not sealing.announcement:
            raise _StaleHead  # others were sealing: look again, and try other slots
        return Step(replace(view.base, manifest=sealing.reserved(view.base.manifest)), final=False)

    def _not_sealed(self, sealing: Sealing) -> Exception:
        if sealing.contended:
            return self._gave_up(sealing.patience, [])
        return UnavailableError(
            f"table {self.table.name!r}: the parts of a large batch could not be written for "
            f"{sealing.patience.seconds:g} s; the batch was not stored."
        )

    def _fits(self, view: View, head: Head) -> bool:
        stamped = self._stamped(view, head)
        if stamped.is_plain(self._item_bytes):
            return True
        if not head.manifest.segments:
            return False
        step = self.options.head_bytes
        compress = self.options.compress
        bare = replace(stamped, tail=NOTHING).size(item_bytes=0, compress=compress)
        # A long id, owner or manifest takes its room in the head; what is left for items must still be worth having.
        limit = step * -(-(bare + step // 2) // step)
        return stamped.size(item_bytes=0, compress=compress) <= limit

    def _size(self, view: View, head: Head) -> int:
        return self._stamped(view, head).size(item_bytes=self._item_bytes, compress=self.options.compress)

    def _stamped(self, view: View, head: Head) -> Head:
        return head.committed(self._pending_commit, view.now, None if self._ttl_seconds is None else view.now)

    def _part_expiry(self, view: View, head: Head) -> int | None:
        return None if self._ttl_seconds is None else part_expiry(head, view.now, self._ttl_seconds)

    async def _gathered(self, view: View, head: Head) -> Head:
        """With everything back in the head, if it fits there."""
        items = await self._intact(replace(view, base=head), head.count, self.patience())
        gathered = replace(head, tail=from_values(items), manifest=head.manifest.first(0))
        return gathered if self._stamped(view, gathered).is_plain(self._item_bytes) else head

    async def _swept(self, view: View, head: Head) -> Head:
        """With the garbage deleted, when there is more of it than is worth keeping to write over."""
        garbage = view.stored.manifest
        if garbage.free_kilobytes <= max(_SWEEP_KILOBYTES, 2 * garbage.live_kilobytes) or view.is_expired:
            return head
        slots = [slot for slot, kilobytes in garbage.free if kilobytes]
        left = await self.parts.erase(view.stored.epoch, garbage.generation, slots)
        gone = set(slots) - set(left)
        self._observe("sweep")
        free = tuple((slot, 0 if slot in gone else kilobytes) for slot, kilobytes in head.manifest.free)
        return replace(head, manifest=replace(head.manifest, free=free))

    # --- small things ----------------------------------------------------------------------------------------------

    @property
    def _item_bytes(self) -> int:
        return HEAD_LIMIT_BYTES if self.options.single_item else self.options.item_bytes

    def _sealing(self) -> Sealing:
        return Sealing(self.parts, self.options, self.patience())

    def patience(self) -> RetryBudget:
        """The retries of one operation that begins now."""
        return RetryBudget(self.options.patience_seconds)

    def _view(self, head: Head) -> View:
        now = self.now()
        return View(head, head.as_of(now), now)

    def _check_owner(self, head: Head) -> None:
        if self._owner is not None and head.owner != self._owner and (head.owner is not None or head.count):
            raise WrongOwnerError(f"session {self.session_id!r} does not exist for this owner")

    def _check_lease(self, head: Head) -> None:
        """The fence, at the commit point: with a lease, it must still be ours; without, nobody else may hold one."""
        if self.lease is not None:
            if not self._holds_lease(head):
                raise LeaseLostError(
                    f"session {self.session_id!r}: the lease of this turn ran out or was taken over. Nothing was "
                    "written"
                )
            return
        left = 0 if head.lease is None else head.lease.until - self._now_milliseconds()
        if left > 0:
            raise LeaseUnavailableError(
                f"session {self.session_id!r}: a turn is running; it ends in at most {left / 1000:.1f} s. Nothing was "
                "written",
                retry_after=left / 1000,
            )

    def now(self) -> int:
        """Unix seconds."""
        return int(self.options.clock())

    def _now_milliseconds(self) -> int:
        return int(self.options.clock() * 1000)

    def _observe(self, name: str) -> None:
        if self.options.observer is not None:
            self.options.observer(Event(name))


class Doubt:
    """A write that may have landed, or may still.

    Attributes:
        step: What it does.
        expected: The head that it was to replace.
        commit: Its id.
        epoch: The life of the session that it belongs to.
        number: The number its receipt has.
    """

    def __init__(self, step: Step, expected: Head, written: Head) -> None:
        self.step = step
        self.expected = expected
        self.commit = written.commit or b""
        self.epoch = written.epoch
        self.number = written.receipts.number


def _corrupt_head(session_id: str, cause: BaseException | None, intact_items: int | None) -> CorruptSessionError:
    error = CorruptSessionError(session_id, "head", str(cause), intact_items=intact_items, total_items=None)
    error.__cause__ = cause
    return error


def _is_in(head: Head | None, doubts: list[Doubt]) -> bool:
    return head is not None and any(doubt.commit in head.receipts for doubt in doubts)


@dataclass(slots=True)
class _Course:
    """An operation under way.

    Attributes:
        patience: Its retries.
        head: The head to start from next; None when it has to be read.
        fresh: Whether that came from the table since the operation began, rather than from our memory.
        doubts: Writes to replace one head, of which one may have landed.
    """

    patience: RetryBudget
    head: Head | None
    fresh: bool = False
    doubts: list[Doubt] = field(default_factory=list)


class _StaleHead(Exception):
    """A part that the head names is gone because the head has changed: look again."""
