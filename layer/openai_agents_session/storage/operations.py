"""The operations on one session: each says what becomes of the head, and hands that to the commit.

::

    append   items behind the history          commit: one put           (and sealing, where the head outgrows its room)
    replace  items in place of its end         the same
    pop      the newest item off               the same
    clear    everything                        one delete; with parts: a put that empties it, the parts, a delete
    lease    who may write for a while         one put each to take, extend and give back
    recover  drop what cannot be read          one put

Reading is in ``history``, growing in ``sealing``, committing in ``commit``; rewinding, copying, naming and redacting in
``editing``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from ..errors import (
    CorruptSessionError,
    LeaseLostError,
    LeaseUnavailableError,
    OutcomeUnknownError,
    SessionError,
    WrongOwnerError,
)
from ..options import StorageOptions
from .aws_errors import ConditionFailed, RequestFailed
from .capacity import item_size
from .commit import Committer, IfUnknown
from .description import RecoveryReport, SessionInfo, info_of
from .expiry import Expiry
from .head import Head, Lease
from .history import History, HistoryWindow
from .items import Items, checked_size
from .keys import SEPARATOR
from .layout import TAIL_TEXT_LIMIT_BYTES, Layout
from .profile import NO_PROFILE, Profile
from .retry import GRACE_SECONDS, RetryBudget, deadline
from .sealing import Growth
from .segments import Damage, SegmentStore
from .table import Table
from .titles import derived_title
from .transition import Delete, Nothing, Planned, Put, Reread, View
from .turn_log import (
    NO_TURNS,
    AlreadyDone,
    Begun,
    Changed,
    Delivery,
    Held,
    Meeting,
    NothingOpen,
    OpenTurn,
    Outcome,
    TurnLog,
    Unremembered,
    is_at_work,
    refused,
    takes_up,
)
from .usage import NO_USAGE, Usage


class SessionStore:
    """One session in one table, used by one session object, one operation at a time.

    Args:
        session_id: The table key of its head, already validated.
        table: The table.
        options: Layout, retry budget, clock.
        ttl_seconds: Seconds from each write to expiry, or None.
        owner: Whom the session must belong to, or None for no check.

    Attributes:
        lease: The lease that this object holds, or None.
        layout: How its heads are stored.
        expiry: What keeps its parts alive.
    """

    def __init__(
        self, session_id: str, table: Table, options: StorageOptions, ttl_seconds: int | None, owner: str | None
    ) -> None:
        self.session_id = session_id
        self.table = table
        self.options = options
        self.lease: Lease | None = None
        self.committer = Committer(session_id, table, options)
        self.segments = SegmentStore(session_id, table, options)
        self.history = History(session_id, self.committer, self.segments)
        self.expiry = Expiry(session_id, table, options, ttl_seconds)
        self.layout = Layout(options, owner, ttl_seconds)
        self.owner = owner

    def budget(self) -> RetryBudget:
        """The time of one operation that begins now."""
        return RetryBudget(self.options.patience_seconds)

    def in_one_budget(self) -> AbstractContextManager[None]:
        """Let several operations together take no longer than one."""
        return deadline(asyncio.get_running_loop().time() + self.options.patience_seconds + GRACE_SECONDS)

    def now(self) -> int:
        """Unix seconds."""
        return int(self.options.clock())

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self, limit: int | None) -> list[Any]:
        """The newest ``limit`` items, or all, oldest first."""
        items, _ = await self.read_with_head(limit)
        return items

    async def read_with_head(self, limit: int | None) -> tuple[list[Any], Head]:
        """The same, and the head that they are the history of, emptied if it has expired."""
        budget = self.budget()
        return await self.history.newest(await self.committer.read(budget), limit, self.owned, budget)

    async def read_from(self, first: int) -> tuple[list[Any], Head]:
        """The items from a position on, and the head that they are the history of."""
        budget = self.budget()
        while True:
            head = await self.committer.read(budget)
            wanted = max(0, self.owned(head).count - first)
            items, base = await self.history.newest(head, wanted, self.owned, budget)
            if max(0, base.count - first) == wanted:
                return items, base

    async def page(self, window: HistoryWindow) -> tuple[list[Any], int, Head]:
        """Items before a position, the position of the first, and the head that they are the history of."""
        budget = self.budget()
        return await self.history.before(await self.committer.read(budget), window, self.owned, budget)

    def owned(self, head: Head) -> Head:
        """The head as of now, emptied if it has expired; checked for its owner."""
        base = head.as_of(self.now())
        self._check_owner(base)
        return base

    async def describe(self) -> SessionInfo:
        """What the table holds of the session."""
        item = await self.table.read_item(self.session_id, self.budget())
        stored = self.committer.decoded(item)
        head = self.owned(stored)
        info = info_of(head, item_size(item) if item else 0)
        return info if head is stored else replace(info, exists=False)  # it has expired

    # --- growing and shrinking ---------------------------------------------------------------------------------------

    async def append(self, batch: Items) -> None:
        """Add a batch at the end."""
        growth = self.growth(batch)

        async def transition(view: View) -> Planned:
            return await self.extended(view, view.base, growth)

        await self.grown(transition, growth)

    async def extended(self, view: View, target: Head, growth: Growth, result: Any = None) -> Put | Reread:
        """The write that puts the batch behind a history: in the head where it fits, sealed where it does not."""
        target = self._titled(target, growth.batch)
        is_large = len(growth.batch.text) > TAIL_TEXT_LIMIT_BYTES or self.options.single_item
        if not is_large and not growth.has_begun and not view.stored.manifest.is_cluttered:
            put = await self.put(view, target.plus(growth.batch), result)
            if not put.encoded.has_outgrown:
                return put
        return await growth.put(view, target, result)

    def _titled(self, target: Head, batch: Items) -> Head:
        """A history that is going to be listed, with a title from the first question where it has none."""
        is_listed = (target.owner or self.owner) is not None and SEPARATOR not in self.session_id
        if not is_listed or target.profile.title is not None or not batch.count:
            return target
        title = derived_title(batch.decode())
        return replace(target, profile=target.profile.named(title, is_derived=True)) if title else target

    async def replace(self, keep: int, batch: Items, *, expected: bytes | None = None) -> bool:
        """Put a batch in place of everything after the first ``keep`` items.

        Args:
            keep: How many items stay.
            batch: What follows them.
            expected: The commit id the head must still have, or None for any.

        Returns:
            Whether it was done; False when the head was not the expected one, or has expired since.
        """
        growth = self.growth(batch)
        allowed = {expected}

        async def transition(view: View) -> Planned:
            if expected is not None and (view.stored.commit not in allowed or view.is_expired):
                return Nothing(result=False)
            planned = await self.extended(view, view.base.first(keep), growth, result=True)
            if isinstance(planned, Put) and not planned.is_final:
                allowed.add(view.commit)
            return planned

        return bool(await self.grown(transition, growth))

    async def create(self, batch: Items, *, created: int | None, profile: Profile = NO_PROFILE) -> bool:
        """Store a session that does not exist yet. Of any number who try at once, one does.

        Args:
            batch: Its history.
            created: Unix second in which the conversation began; None for now.
            profile: Its title and metadata.

        Returns:
            False when there is one with items already; nothing was stored then.
        """
        growth = self.growth(batch)

        async def transition(view: View) -> Planned:
            if view.base.count:
                return Nothing(result=False)
            began = view.base.created if created is None else created
            empty = replace(view.base, created=began, profile=profile)
            return await self.extended(view, empty, growth, result=True)

        return bool(await self.grown(transition, growth))

    def growth(self, batch: Items) -> Growth:
        """The growth of the history by a batch. Raises ``InvalidInputError`` for one that is too large."""
        checked_size(self.session_id, batch)
        return Growth(batch, self.layout, self.segments, self.expiry, self.options)

    async def grown(
        self, transition: Any, growth: Growth, *, fenced: bool = True, if_unknown: IfUnknown = IfUnknown.RAISE
    ) -> Any:
        """Commit a transition that a growth takes part in; what it wrote in vain is deleted. See ``commit``."""
        budget, is_stored = self.budget(), False

        async def watched(view: View) -> Planned:
            nonlocal is_stored
            planned: Planned = await transition(view)
            is_stored = isinstance(planned, Put)
            return planned

        try:
            result = await self.commit(watched, budget, fenced=fenced, if_unknown=if_unknown)
        except OutcomeUnknownError:
            with contextlib.suppress(SessionError):  # what is of a life that has ended cannot have been committed
                await growth.clean_up(await self.committer.read(budget), budget)
            raise
        except SessionError:
            await growth.withdraw(budget)
            raise
        if not is_stored:
            await growth.withdraw(budget)
        return result

    async def pop(self) -> Any:
        """Remove the newest item and return it; None when there is none."""

        async def transition(view: View) -> Planned:
            if not view.base.count:
                return Nothing()
            newest = await self.history.newest_item(view)
            if isinstance(newest, Reread):
                return newest
            return await self.put(view, view.base.first(view.base.count - 1), newest)

        return await self.commit(transition, self.budget())

    # --- clearing ----------------------------------------------------------------------------------------------------

    async def clear(self, *, expected: bytes | None = None) -> bool:
        """Remove everything.

        A session that is one item is deleted as it was seen. One with parts is first emptied, which is the commit
        point; then its parts go, then the head, unless somebody has written it again. It needs no lease, and ends that
        of anybody else.

        Args:
            expected: The commit id the head must still have, or None for any.

        Returns:
            False when the head was not the expected one.
        """
        budget = self.budget()

        async def transition(view: View) -> Planned:
            if not view.stored.exists:
                return Nothing(result=expected is None)
            if expected is not None and view.stored.commit != expected:
                return Nothing(result=False)
            holds = self._holds_lease(view.base)
            if not view.stored.manifest.slot_count and not holds:
                return Delete(result=True)
            emptied = view.base.first(0)
            manifest = replace(emptied.manifest, generation=emptied.manifest.generation + 1)
            lease = view.base.lease if holds else None
            forgotten = replace(emptied, manifest=manifest, lease=lease, profile=NO_PROFILE)
            return await self.put(view, forgotten, result=True)

        try:
            cleared = await self.commit(
                transition, budget, fenced=self.lease is not None, if_unknown=IfUnknown.DONE_WHEN_OVER
            )
        except CorruptSessionError as error:
            if not await self._cleared_damaged(budget):
                raise error from error.__cause__
            return True
        if cleared:
            await self._erased(budget)
        return bool(cleared)

    async def _cleared_damaged(self, budget: RetryBudget) -> bool:
        """Whether a head that cannot be read was deleted: one without parts, by a caller who acts for no owner."""
        item = await self.table.read_item(self.session_id, budget)
        if not item or "parts" in item or "tail" in item or self._acts_for_somebody or self.lease is not None:
            return False
        is_unknown = False
        while True:
            try:
                await self.table.delete_seen(self.session_id, item, budget)
                return True
            except ConditionFailed as refusal:
                return await self._is_gone(refusal, budget) if is_unknown or refusal.retried else False
            except RequestFailed as failure:
                is_unknown |= failure.may_have_landed
                if not await budget.pause():
                    raise self._not_erased(1, failure.cause) from failure.cause
            except SessionError as error:
                raise (self._not_erased(1, error) if is_unknown else error) from error.__cause__

    async def _is_gone(self, refusal: ConditionFailed, budget: RetryBudget) -> bool:
        """Whether a session, of which an earlier deletion may have landed, is not there. Raises when another is."""
        if await self.table.read_item(self.session_id, budget) is None:
            return True
        raise self._not_erased(1, refusal) from refusal

    async def _erased(self, budget: RetryBudget) -> None:
        """Delete the parts of the head that was just emptied, and it, unless somebody holds its lease."""
        head = self.committer.known
        if head is None or not head.exists or head.count:
            return  # gone, or begun again
        slots = [slot for slot, _ in head.manifest.free]
        left = await self.segments.erase_all(head.epoch, head.manifest.generation, slots, budget)
        if left:
            reason = next(iter(left.values()))
            raise self._not_erased(len(left), reason) from reason
        if head.lease is None or head.lease.until <= self._now_milliseconds():  # else a turn is running, ours or not
            self.committer.known = None
            await self._deleted(head, budget)

    async def _deleted(self, head: Head, budget: RetryBudget) -> None:
        while True:
            try:
                await self.table.delete_head(head, budget)
            except ConditionFailed:
                return  # written again, or deleted already
            except RequestFailed as failure:
                if not await budget.pause():
                    raise self._not_erased(1, failure.cause) from failure.cause
            except SessionError as error:
                raise self._not_erased(1, error) from error
            else:
                return

    def _not_erased(self, items: int, reason: BaseException) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"session {self.session_id!r}: {items} of its items may not be deleted from table {self.table.name!r} "
            f"({reason}). Clear it again."
        )

    # --- the lease ---------------------------------------------------------------------------------------------------

    async def take_lease(self, milliseconds: int) -> float | None:
        """Take the lease if it is free.

        Returns:
            None when it is ours; otherwise the seconds until the holder's runs out.
        """

        async def transition(view: View) -> Planned:
            now = self._now_milliseconds()
            held = view.base.lease
            if held is not None and held.until > now:
                return Nothing(result=(held.until - now) / 1000)
            taken = Lease(view.commit, now + milliseconds)
            return await self.put(view, replace(view.base, lease=taken), result=taken)

        outcome: Lease | float = await self.commit(transition, self.budget(), fenced=False, if_unknown=IfUnknown.REPEAT)
        if not isinstance(outcome, Lease):
            return outcome
        self.lease = outcome
        return None

    async def begin_turn(
        self,
        delivery: Delivery,
        message: Items,
        milliseconds: int,
        *,
        known: TurnLog | None = None,
        keep: int | None = None,
        revision: bytes | None = None,
    ) -> Meeting:
        """Take the lease for a delivery, begin its turn and store its message, in one write.

        Args:
            delivery: Who asks, and for what.
            message: The items that the turn begins with.
            milliseconds: How long the lease lasts.
            known: What to remember where the head knows of no turns; None for a caller who has not
                looked for any yet, and meets ``Unremembered`` there.
            keep: How many items of the history stay before the message, in the same write; None for all.
            revision: The commit id of the head that a turn of its own must be based on; None for any.

        Returns:
            ``Begun`` when the lease is ours; otherwise why not, and nothing was written. After ``Begun`` with
            ``interrupted`` the message is not stored: put the history in order, then ``resume_turn`` or ``start_turn``.
        """
        growth = self.growth(message)

        async def transition(view: View) -> Planned:
            now, log = self._now_milliseconds(), view.base.turns
            held = view.base.lease
            if held is not None and held.until > now:
                return Nothing(Held((held.until - now) / 1000, is_at_work(log, delivery)))
            if log == NO_TURNS and known is None:
                return Nothing(Unremembered(is_new=not view.base.count))
            if log == NO_TURNS and known is not None:
                log = known
            if (reason := refused(log, delivery)) is not None:
                return Nothing(reason)
            if revision not in (None, view.stored.commit) and not takes_up(log, delivery):
                return Nothing(Changed())
            leased = replace(view.base, lease=Lease(view.commit, now + milliseconds))
            if log.open is not None:
                turns = log.taken_up(delivery.id) if takes_up(log, delivery) else log
                return await self.put(view, replace(leased, turns=turns), (leased.lease, turns.open, True))
            is_decision = delivery.decides is not None
            kept = _kept(replace(leased, turns=log), keep)
            turns = kept.turns.begun(delivery.id, delivery.digest, kept.count, decides=is_decision)
            return await self.extended(view, replace(kept, turns=turns), growth, (kept.lease, turns.open, False))

        outcome = await self.grown(transition, growth, fenced=False, if_unknown=IfUnknown.RAISE)
        if not isinstance(outcome, tuple):
            refusal: Meeting = outcome
            return refusal
        self.lease, turn, interrupted = outcome
        return Begun(turn, interrupted)

    async def start_turn(self, delivery: Delivery, message: Items, keep: int | None = None) -> OpenTurn:
        """Holding the lease, and with the history in order: give up the open turn, begin another, store its message.

        ``keep`` is how many items of the history stay before the message; None for all.
        """
        growth = self.growth(message)

        async def transition(view: View) -> Planned:
            kept = _kept(view.base, keep)
            turns = kept.turns.begun(delivery.id, delivery.digest, kept.count)
            return await self.extended(view, replace(kept, turns=turns), growth, turns.open)

        turn: OpenTurn = await self.grown(transition, growth)
        return turn

    async def take_up(self, delivery: bytes, milliseconds: int) -> Meeting:
        """Take the lease for a turn that a delivery has begun, from its earlier holder, too.

        For a caller who knows that the earlier holder has ended: the lease of one that was killed would else have to
        run out first. Should it be alive, its next write fails.

        Args:
            delivery: The delivery, as ``turn_id`` stores its name.
            milliseconds: How long the lease lasts.

        Returns:
            ``Begun``; ``Held`` when somebody else has taken the turn up; ``AlreadyDone`` when it is done, and
            ``NothingOpen`` when the head knows of no such turn. Only the first has written.
        """

        async def transition(view: View) -> Planned:
            now, log = self._now_milliseconds(), view.base.turns
            if (done := log.finished_by(delivery)) is not None:
                return Nothing(AlreadyDone(done))
            if log.open is None or delivery not in log.open.ids:
                return Nothing(NothingOpen())
            held = view.base.lease
            if held is not None and held.until > now and log.open.ids[0] != delivery:
                return Nothing(Held((held.until - now) / 1000))
            leased = replace(view.base, lease=Lease(view.commit, now + milliseconds), turns=log.taken_up(delivery))
            return await self.put(view, leased, (leased.lease, leased.turns.open))

        outcome = await self.commit(transition, self.budget(), fenced=False, if_unknown=IfUnknown.REPEAT)
        if not isinstance(outcome, tuple):
            refusal: Meeting = outcome
            return refusal
        self.lease, turn = outcome
        return Begun(turn, interrupted=True)

    async def end_turn(
        self,
        batch: Items,
        outcome: Outcome,
        *,
        waiting: str | None = None,
        keep: int | None = None,
        removed: Sequence[Any] = (),
        usage: Usage = NO_USAGE,
        is_resumed: bool = True,
    ) -> None:
        """Holding the lease: add the turn's last items, end the turn and give the lease back, in one write.

        Args:
            batch: The items.
            outcome: How the turn ended.
            waiting: The run that waits for a decision from now on.
            keep: How many items of the history stay before the batch; None for all.
            removed: Items that do not stay: a title that was taken from them does not either.
            usage: What the run has used. Of a run that was resumed, all of it: what was counted when it was parked is
                not counted again.
            is_resumed: Whether a turn that decides went on with the run that was parked, whose usage it brings.
        """
        growth = self.growth(batch)

        async def transition(view: View) -> Planned:
            kept = view.base if keep is None else view.base.first(keep)
            before = view.base.turns.usage_before() if is_resumed else NO_USAGE
            turns = kept.turns.ended(outcome, kept.count + batch.count, waiting=waiting, usage=usage)
            ledger = kept.profile.ledger.plus(view.now, usage.beyond(before))
            profile = replace(kept.profile.without_title_of(removed), ledger=ledger)
            return await self.extended(view, replace(kept, lease=None, turns=turns, profile=profile), growth)

        await self.grown(transition, growth)
        self.lease = None

    async def meeting(self, delivery: Delivery) -> Meeting | None:
        """What a delivery would meet now, as ``begin_turn`` would tell it; None where it would get a turn of its own.

        A turn that it has begun and that is not done is ``Held``, for 0 seconds when nobody works on it.
        """
        head = self.owned(await self.committer.read(self.budget()))
        now, log, held = self._now_milliseconds(), head.turns, head.lease
        seconds = 0.0 if held is None else max(0.0, (held.until - now) / 1000)
        if seconds or is_at_work(log, delivery):
            return Held(seconds, is_at_work(log, delivery))
        return Unremembered(is_new=not head.count) if log == NO_TURNS else refused(log, delivery)

    async def turns(self) -> tuple[TurnLog, bytes | None]:
        """The newest turns, as the head remembers them, and the head's commit id; None without a head."""
        stored = await self.committer.read(self.budget())
        return self.owned(stored).turns, stored.commit

    async def extend_lease(self, milliseconds: int) -> None:
        """Let our lease run out so long from now. Raises ``LeaseLostError`` if it is not ours any more."""
        mine = self.lease
        if mine is None:
            raise LeaseLostError(f"session {self.session_id!r}: no lease is held")

        async def transition(view: View) -> Planned:
            extended = Lease(mine.token, self._now_milliseconds() + milliseconds)
            return await self.put(view, replace(view.base, lease=extended), result=extended)

        self.lease = await self.commit(transition, self.budget(), if_unknown=IfUnknown.REPEAT)

    async def release_lease(self) -> None:
        """Give the lease back; nothing happens if it is not ours any more.

        A session that this object began and stored nothing in is deleted. Any other stays, empty or not: its head
        remembers who wrote it, and somebody may be about to look for their write.
        """
        mine, self.lease = self.lease, None
        if mine is None:
            return
        budget = self.budget()

        async def transition(view: View) -> Planned:
            if view.base.lease is None or view.base.lease.token != mine.token:
                return Nothing(result=False)
            head = replace(view.base, lease=None)
            if not head.count:  # it may be deleted next: a seal under way for it must then fail
                head = replace(head, manifest=replace(head.manifest, generation=head.manifest.generation + 1))
            return await self.put(view, head, result=True)

        released = await self.commit(transition, budget, fenced=False, if_unknown=IfUnknown.REPEAT)
        head = self.committer.known
        if released and head is not None and head.lease is None and head.receipts.are_all_of(self.committer.ids.writer):
            await self._erased(budget)

    async def revoke_lease(self) -> bool:
        """Take the lease from whoever holds it: their next write is refused, and their turn ends there.

        Returns:
            Whether anybody held it.
        """

        async def transition(view: View) -> Planned:
            held = view.base.lease
            if held is None or held.until <= self._now_milliseconds():
                return Nothing(result=False)
            return await self.put(view, replace(view.base, lease=None), result=True)

        revoked = await self.commit(transition, self.budget(), fenced=False, if_unknown=IfUnknown.REPEAT)
        return bool(revoked)

    def _holds_lease(self, head: Head) -> bool:
        return (
            self.lease is not None
            and head.lease is not None
            and head.lease.token == self.lease.token
            and head.lease.until > self._now_milliseconds()
        )

    def _now_milliseconds(self) -> int:
        return int(self.options.clock() * 1000)

    # --- damage ------------------------------------------------------------------------------------------------------

    async def recover(self) -> RecoveryReport:
        """Drop the segments that cannot be read, so that the session goes on with the rest.

        Raises:
            CorruptSessionError: The head itself is damaged. Nothing is guessed from parts that no head names.
        """

        async def transition(view: View) -> Planned:
            segments = view.base.manifest.segments
            loaded = await self.segments.load(view.base.epoch, segments, view.budget, from_table=True)
            damaged = tuple(piece.key for piece in loaded if isinstance(piece, Damage))
            if not damaged:
                return Nothing(RecoveryReport(self.session_id, False, view.base.count, 0, ()))
            whole = [segment for segment, piece in zip(segments, loaded, strict=True) if not isinstance(piece, Damage)]
            rest = replace(view.base, manifest=view.base.manifest.only(whole))
            report = RecoveryReport(self.session_id, True, rest.count, view.base.count - rest.count, damaged)
            return await self.put(view, rest, report)

        report: RecoveryReport = await self.commit(transition, self.budget())
        return report

    # --- what every commit is made with ------------------------------------------------------------------------------

    async def put(self, view: View, head: Head, result: Any = None) -> Put:
        """The write of a head, its parts made to outlive it."""
        if head.manifest.slot_count and (head.manifest.expires or self.expiry.ttl_seconds is not None):
            head = await self.expiry.outliving(view.stored, head, view.now, view.budget)
        return Put(self.layout.encode(view, head), result)

    async def commit(
        self, transition: Any, budget: RetryBudget, *, fenced: bool = True, if_unknown: IfUnknown = IfUnknown.RAISE
    ) -> Any:
        """Carry out a transition, checked for owner and lease at the commit point.

        Args:
            transition: What becomes of the head.
            budget: The operation's.
            fenced: Whether a lease of anybody else's keeps it from being written.
            if_unknown: What to do where the evidence of an earlier try is gone.

        Returns:
            The result that the transition gave.
        """

        async def landed(before: Head, written: Head) -> None:
            if written.ttl is not None:
                await self.expiry.bound(before, written, self.now(), budget)

        def check(view: View) -> None:
            self._check_owner(view.base)
            if fenced:
                self.check_lease(view.base)

        return await self.committer.commit(transition, check, budget, if_unknown=if_unknown, landed=landed)

    @property
    def _acts_for_somebody(self) -> bool:
        """Whether what a session says of its owner matters."""
        return self.owner is not None or self.options.unowned_only

    def _check_owner(self, head: Head) -> None:
        is_unowned = self.owner is None and self.options.unowned_only
        if is_unowned and head.owner is not None:
            raise WrongOwnerError(f"session {self.session_id!r} does not exist for nobody")
        if self.owner is not None and head.owner != self.owner and (head.owner is not None or head.count):
            raise WrongOwnerError(f"session {self.session_id!r} does not exist for this owner")

    def check_lease(self, head: Head) -> None:
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


def _kept(head: Head, keep: int | None) -> Head:
    """A history of which so many items stay."""
    return head if keep is None or keep >= head.count else head.first(keep)
