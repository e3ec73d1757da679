"""What changes a conversation besides appending: naming, rewinding, copying, redacting. One commit each.

::

    describe   title, metadata            one put; the time of the last activity and the session's end stay as they are
    rewind     the first N items stay     one put
    copy       the first N items, anew    one transaction: the new head with all its parts
    redact     one item says a notice     one put that names the rest of the history written anew; then the old parts go
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ..errors import InvalidInputError, OutcomeUnknownError, SessionExistsError, SessionNotFoundError
from ..tool_calls import is_whole_cut, open_calls, output_of, whole_start
from .commit import IfUnknown
from .copying import Copying
from .head import Head
from .items import Items, fits_one_batch, from_values
from .operations import SessionStore
from .profile import Profile
from .redaction import redacted
from .sealing import Growth
from .transition import Nothing, Planned, Put, Reread, View
from .usage import NO_LEDGER

_TRIES = 2
_EARLY_SECONDS = 3_600


class _Outcome(Enum):
    """What became of a copy."""

    STORED = "stored"
    EXISTS = "there is another session"
    TOO_LARGE = "it does not fit one transaction"


@dataclass(frozen=True, slots=True)
class Editor:
    """Changes one session.

    Attributes:
        store: The session.
    """

    store: SessionStore

    async def seen(self) -> Head:
        """The head. Raises ``SessionNotFoundError``."""
        stored = await self.store.committer.read(self.store.budget())
        return self._present(stored)

    def _present(self, stored: Head) -> Head:
        base = self.store.owned(stored)
        if not stored.exists or base is not stored:
            raise self._not_found()
        return base

    async def describe(self, change: Callable[[Profile], Profile]) -> Head:
        """Change title and metadata. It needs no lease: a turn that is running goes on.

        Args:
            change: What becomes of them; may be asked again, with others.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        quiet = replace(self.store.layout, is_quiet=True)

        async def transition(view: View) -> Planned:
            self._check_exists(view)
            profile = change(view.base.profile)
            described = replace(view.base, profile=profile)
            if profile == view.base.profile and not _is_missing_in_list(view, quiet.encode(view, described).head):
                return Nothing(view.base)
            return Put(quiet.encode(view, described), described)

        head: Head = await self.store.commit(transition, self.store.budget(), fenced=False)
        return head

    async def rewind(self, keep: int) -> int:
        """Let the first so many items stay. Returns how many were removed.

        Args:
            keep: How many. What has no more is left as it is.

        Raises:
            InvalidInputError: A tool call would stay without its output, or an item without its reasoning.
            SessionNotFoundError: There is no such session.
        """

        async def transition(view: View) -> Planned:
            self._check_exists(view)
            base = view.base
            if base.count <= keep:
                return Nothing(0)
            if (refusal := await self._cut_refused(view, keep)) is not None:
                return refusal
            rest = base.first(keep)
            rest = replace(rest, turns=rest.turns.rewound(keep))
            return await self.store.put(view, rest, base.count - keep)

        removed: int = await self.store.commit(transition, self.store.budget())
        return removed

    async def _cut_refused(self, view: View, keep: int) -> Reread | None:
        """Raises where a history cannot end after so many items; ``Reread`` where that cannot be told of this head."""
        if not keep:
            return None
        items = await self.store.history.from_position(view, keep - 1)
        if isinstance(items, Reread):
            return items
        if whole_start(items, 1) == 1:  # nothing after the cut answers a call before it: no need to read that
            return None
        everything = await self.store.history.from_position(view, 0)
        if isinstance(everything, Reread):
            return everything
        _check_cut(self.store.session_id, everything, keep)
        return None

    # --- copying -----------------------------------------------------------------------------------------------------

    async def copy(
        self,
        target: SessionStore,
        keep: int | None,
        change: Callable[[Profile], Profile],
        *,
        is_new: bool,
        closing: str,
    ) -> Head:
        """Store the first items of this session as another one: all of it, or nothing.

        Args:
            target: The session to be.
            keep: How many items; None for all.
            change: What the copy is called, given what this one is.
            is_new: Whether nobody else can know the id of the copy: then a lost answer is no reason to give up.
            closing: The output, in the copy, of calls that have none: of a run that waits, or a turn that was stopped.
                Neither is the copy's, so nobody else would give them one.

        Returns:
            The head of the copy.

        Raises:
            InvalidInputError: ``keep`` is more than there are, or would separate a tool call from its output.
            LeaseUnavailableError: A turn is running: its last step may not be whole.
            SessionNotFoundError: There is nothing to copy.
            SessionExistsError: There is a session under the id of the copy.
        """
        items, head = await self.store.read_with_head(None)
        if not head.exists or not items:
            raise self._not_found()
        self.store.check_lease(head)
        kept = len(items) if keep is None else keep
        if not 0 < kept <= len(items):
            raise InvalidInputError(f"session {self.store.session_id!r}: it has {len(items)} items, not {kept}")
        _check_cut(self.store.session_id, items, kept)
        like = replace(head, profile=change(replace(head.profile.unlisted(), ledger=NO_LEDGER)))
        copied = items[:kept]
        copied += [output_of(call, closing) for call in open_calls(copied)]
        return await _Copy(target, from_values(copied), like, is_new=is_new).made()

    # --- redacting ---------------------------------------------------------------------------------------------------

    async def redact(self, position: int, notice: str) -> bool:
        """Put a notice in place of what one item says, here and in every part that still holds it.

        Args:
            position: Of the item in the history, from 0.
            notice: What it is to say.

        Returns:
            Whether it said anything else before.

        Raises:
            InvalidInputError: There is no such item, or the history from it on is too large to be written in one piece.
            OutcomeUnknownError: The item is redacted, but old parts may not be deleted: redact it again.
        """
        while True:
            budget = self.store.budget()
            stored = await self.store.committer.read(budget)
            done = await self._redacted(stored, position, notice)
            if done is not None:
                await self._erase_old_parts()
                return done

    async def _redacted(self, stored: Head, position: int, notice: str) -> bool | None:
        """Whether the item said anything else; None when others have written meanwhile."""
        base = self._present(stored)
        if not 0 <= position < base.count:
            raise InvalidInputError(
                f"session {self.store.session_id!r}: there is no item at {position}; it has {base.count}"
            )
        first = _segment_start(base, position)
        items, head = await self.store.read_from(first)
        if head.commit != stored.commit:
            return None
        item = items[position - first]
        instead = redacted(item, notice)
        if instead == item:
            return False
        items[position - first] = instead
        batch = from_values(items)
        if not fits_one_batch(batch):
            raise InvalidInputError(
                f"session {self.store.session_id!r}: the history from item {first} on is too large to be written in "
                f"one piece, so that item {position} cannot be redacted"
            )
        growth = self._quiet_growth(batch, base)
        profile = base.profile.without_title_of([item])
        allowed = {stored.commit}

        async def transition(view: View) -> Planned:
            if view.stored.commit not in allowed or view.is_expired:
                return Nothing(None)
            kept = replace(view.base.first(first), turns=view.base.turns, profile=profile)
            planned = await growth.put(view, kept, result=True)
            if isinstance(planned, Put) and not planned.is_final:
                allowed.add(view.commit)
            return planned

        outcome: bool | None = await self.store.grown(transition, growth)
        return outcome

    def _quiet_growth(self, batch: Items, base: Head) -> Growth:
        """A growth that leaves the session's end as it is."""
        seconds = None if base.ttl is None else max(1, base.ttl - self.store.now())
        expiry = replace(self.store.expiry, ttl_seconds=seconds)
        layout = replace(self.store.layout, is_quiet=True)
        return Growth(batch, layout, self.store.segments, expiry, self.store.options)

    async def _erase_old_parts(self) -> None:
        """Delete what slots hold that are free: it may be what was redacted."""
        budget = self.store.budget()
        head = self.store.committer.known or await self.store.committer.read(budget)
        slots = [slot for slot, kilobytes in head.manifest.free if kilobytes]
        left = await self.store.segments.erase_all(head.epoch, head.manifest.generation, slots, budget)
        if left:
            reason = next(iter(left.values()))
            raise OutcomeUnknownError(
                f"session {self.store.session_id!r}: the item is redacted, but {len(left)} old parts may not be "
                f"deleted ({reason}). Redact it again."
            ) from reason

    # --- what is refused ---------------------------------------------------------------------------------------------

    def _check_exists(self, view: View) -> None:
        if not view.stored.exists or view.is_expired:
            raise self._not_found()

    def _not_found(self) -> SessionNotFoundError:
        return SessionNotFoundError(
            f"session {self.store.session_id!r} is not in table {self.store.table.name!r}, has no items or has expired"
        )


class _Copy:
    """A session that is going to be there whole.

    Args:
        target: It.
        batch: Its history.
        like: What has its title, metadata and owner.
        is_new: Whether nobody else can know its id.
    """

    def __init__(self, target: SessionStore, batch: Items, like: Head, *, is_new: bool) -> None:
        self._target, self._batch, self._like = target, batch, like
        self._if_unknown = IfUnknown.REPEAT if is_new else IfUnknown.RAISE
        self._epoch: bytes | None = None

    async def made(self) -> Head:
        """Store it. Raises ``SessionExistsError``."""
        target = self._target
        outcome = await target.commit(self._at_once, target.budget(), if_unknown=self._if_unknown)
        if outcome is _Outcome.TOO_LARGE:
            outcome = await self._in_steps()
        if outcome is _Outcome.EXISTS:
            raise SessionExistsError(f"session {target.session_id!r} exists already: nothing was written")
        return target.committer.known or await target.committer.read(target.budget())

    async def _at_once(self, view: View) -> Planned:
        """The head with its parts, in one transaction, where there is nothing."""
        if view.base.count:
            is_ours = view.stored.epoch == self._epoch  # the answer to it was lost
            return Nothing(_Outcome.STORED if is_ours else _Outcome.EXISTS)
        target = self._target
        copying = Copying(target.layout, target.expiry, target.options.part_bytes, target.options.compress)
        self._epoch = self._epoch or view.base.epoch
        head = replace(self._begun(view), epoch=self._epoch)
        put = None if view.stored.exists or view.budget.retries > _TRIES else copying.put(view, head, self._batch)
        return Nothing(_Outcome.TOO_LARGE) if put is None else replace(put, result=_Outcome.STORED)

    def _begun(self, view: View) -> Head:
        return replace(view.base, owner=view.base.owner or self._like.owner, profile=self._like.profile)

    async def _in_steps(self) -> _Outcome:
        """What is too large for a transaction, or lies over what somebody left: it has an early end until it is whole.

        Killed on the way, DynamoDB deletes what there is within its usual time.
        """
        target = self._target
        early = SessionStore(target.session_id, target.table, target.options, _EARLY_SECONDS, target.owner)
        growth = early.growth(self._batch)

        async def grown(view: View) -> Planned:
            if view.base.count:
                return Nothing(_Outcome.EXISTS)
            return await early.extended(view, self._begun(view), growth, _Outcome.STORED)

        async def settled(view: View) -> Planned:
            return await target.put(view, view.base, _Outcome.STORED)

        outcome: _Outcome = await early.grown(grown, growth, if_unknown=self._if_unknown)
        if outcome is _Outcome.STORED:
            target.committer.known = early.committer.known
            await target.commit(settled, target.budget(), if_unknown=IfUnknown.REPEAT)
        return outcome


def _segment_start(base: Head, position: int) -> int:
    """Where the segment begins that holds a position; of the newest items, where these begin."""
    first = 0
    for segment in base.manifest.segments:
        if position < first + segment.count:
            return first
        first += segment.count
    return first


def _is_missing_in_list(view: View, head: Head) -> bool:
    return head.profile.active is not None and view.stored.profile.active is None


def _check_cut(session_id: str, items: list[Any], keep: int) -> None:
    if is_whole_cut(items, keep):
        return
    before = next(position for position in range(keep - 1, -1, -1) if is_whole_cut(items, position))
    after = next(position for position in range(keep + 1, len(items) + 1) if is_whole_cut(items, position))
    raise InvalidInputError(
        f"session {session_id!r}: item {keep} belongs to a step that began before it, which a model refuses to see "
        f"cut. Keep {before} items, or {after}"
    )
