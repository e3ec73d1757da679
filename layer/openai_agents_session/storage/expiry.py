"""Parts outlive their head.

A part that DynamoDB deletes before its head is lost history. So parts get a later end before the head that needs it is
written, and never an earlier one: whatever fails in between, a session that can be read has its parts. When a session
first gets a ``ttl``, its parts get one after the head, since until then the session never ends.

::

    head never ends      parts never end             expires = 0
    head gets an end     parts still without         expires = UNBOUNDED     then: give them one, at once and at the
    head has an end      parts end later             expires = the earliest        next write, should that have failed
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..events import Event
from ..options import StorageOptions
from .aws_errors import ConditionFailed, RequestFailed, unavailable
from .head import Head
from .keys import slot_key
from .manifest import UNBOUNDED, Manifest
from .retry import RetryBudget
from .table import Table, at_once

# Measured over simulated lives of days to years (tests/unit/test_part_expiry.py): at any age refreshing costs less than
# a tenth of all writes. Extending at once what has up to half of the slack left costs half as much again: most of it
# would have been merged before it needed that.
_SLACK = 2
_SOON = 8


def part_expiry(head: Head, now: int, ttl_seconds: int) -> int:
    """When parts written now may expire, in Unix seconds.

    Writing a new ``ttl`` costs as much as writing the part, so the slack is twice the session's age, and at least twice
    ``ttl_seconds``: few parts then live on until they need it without having been merged, and parts stay behind an
    abandoned session no longer than twice what that lived.
    """
    return now + ttl_seconds + _SLACK * max(ttl_seconds, now - head.created)


@dataclass(frozen=True, slots=True)
class Expiry:
    """Keeps the parts of one session alive for as long as its head.

    Args:
        session_id: The session.
        table: The table.
        options: For its observer.
        ttl_seconds: Seconds from a write to the session's end; None for never.
    """

    session_id: str
    table: Table
    options: StorageOptions
    ttl_seconds: int | None

    def of_parts(self, head: Head, now: int) -> int | None:
        """The ``ttl`` of parts written now, in Unix seconds."""
        return None if self.ttl_seconds is None else part_expiry(head, now, self.ttl_seconds)

    async def outliving(self, stored: Head, head: Head, now: int, budget: RetryBudget) -> Head:
        """The head to write, once all its parts live at least as long as it will.

        Args:
            stored: What it is written over.
            head: The next head; its manifest's ``expires`` is what is known of its parts.
            now: Unix seconds.
            budget: The operation's.
        """
        manifest = head.manifest
        if not manifest.slot_count or (not manifest.segments and manifest.expires != UNBOUNDED and stored.ttl):
            return head if not manifest.expires else replace(head, manifest=replace(manifest, expires=0))
        if self.ttl_seconds is None:
            if manifest.expires and manifest.segments:
                await self._extend(head, dict.fromkeys(dict(self._keys(manifest))), budget)
            return replace(head, manifest=replace(manifest, expires=0))
        return replace(head, manifest=replace(manifest, expires=await self._earliest(head, now, budget)))

    async def _earliest(self, head: Head, now: int, budget: RetryBudget) -> int:
        """When the first part ends, after those that end too early were extended."""
        manifest, ttl_seconds = head.manifest, self.ttl_seconds or 0
        until, needed = part_expiry(head, now, ttl_seconds), now + ttl_seconds
        if not manifest.expires:
            return UNBOUNDED
        if manifest.expires >= needed:
            return manifest.expires
        # To read when each expires costs a twentieth of extending it. What has little slack left is extended as well.
        ends = await self.table.read_ends(dict(self._keys(manifest)), budget)
        soon = {key: end for key, end in ends.items() if end is None or end < needed + (until - needed) // _SOON}
        await self._extend(head, {key: end and until for key, end in soon.items()}, budget)
        if None in soon.values():
            return UNBOUNDED
        if not manifest.segments:
            return 0
        return min([until, *(end for key, end in ends.items() if key not in soon and end is not None)])

    async def _extend(self, head: Head, ends: Mapping[str, int | None], budget: RetryBudget) -> None:
        """Let parts live on until a Unix second, or for good.

        A part without an end keeps none, but its fence is raised: a delayed request for an earlier end is then refused.
        """
        number = head.receipts.number + 1  # of the write that this is for
        generations = dict(self._keys(head.manifest))
        self._observe("refresh")

        async def one(key: str) -> None:
            while True:
                try:
                    await self.table.set_part_expiry(key, head.epoch, generations[key], ends[key], number, budget)
                    return
                except ConditionFailed:
                    return  # it lives longer already, or was replaced: then the head has changed and we will see
                except RequestFailed as failure:
                    if not await budget.pause():
                        raise unavailable(self.table.name, budget, failure) from failure.cause

        await at_once(one, ends)

    async def bound(self, stored: Head, written: Head, now: int, budget: RetryBudget) -> None:
        """After a head with a ``ttl`` was written, give its parts an end where they may have none.

        Garbage needs an end as well: no head knows of it once DynamoDB has deleted this one. It comes after the head's
        write: that might fail, and then a session without an end would lose its parts. Best effort: where it fails,
        the next write tries again.
        """
        manifest = written.manifest
        is_first = stored.exists and stored.ttl is None and stored.manifest.slot_count > 0
        if written.ttl is None or not (is_first or manifest.expires == UNBOUNDED):
            return
        until = max(part_expiry(written, now, self.ttl_seconds or 0), written.ttl)

        async def one(slot: int) -> None:
            key, number = slot_key(self.session_id, slot), written.receipts.number
            with contextlib.suppress(ConditionFailed, RequestFailed):
                await self.table.bound_part(key, written.epoch, manifest.generation, until, number, budget)

        await at_once(one, range(manifest.slot_count))

    def _keys(self, manifest: Manifest) -> list[tuple[str, int]]:
        return [(slot_key(self.session_id, slot), s.generation) for s in manifest.segments for slot in s.slots]

    def _observe(self, name: str) -> None:
        if self.options.observer is not None:
            self.options.observer(Event(name))
