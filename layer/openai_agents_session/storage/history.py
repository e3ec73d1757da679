"""Reading a history: the newest items that a head names, whole or with an error that says what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptSessionError
from .commit import Committer
from .head import Head
from .manifest import Segment
from .retry import RetryBudget
from .segments import Damage, SegmentStore
from .transition import Reread, View


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """Which items of a history are wanted.

    Attributes:
        end: The position that they end before; None for the end of the history.
        limit: How many at the most.
        size: How many bytes, about: reading goes back no further than it takes to have so many.
    """

    end: int | None
    limit: int
    size: int


class History:
    """The items of one session.

    Args:
        session_id: The table key of its head.
        committer: Reads the head.
        segments: The session's parts.
    """

    def __init__(self, session_id: str, committer: Committer, segments: SegmentStore) -> None:
        self._session_id = session_id
        self._committer = committer
        self._segments = segments

    async def newest(
        self, head: Head, limit: int | None, owned: Callable[[Head], Head], budget: RetryBudget
    ) -> tuple[list[Any], Head]:
        """The newest ``limit`` items, or all, oldest first, and the head that they are the history of.

        Args:
            head: Where to begin. It is read anew if a part that it names has been replaced since.
            limit: How many at the most.
            owned: Checks a head, and empties it if it has expired.
            budget: The operation's.

        Raises:
            CorruptSessionError: A part that the present head names cannot be read.
        """
        while True:
            base = owned(head)
            wanted = base.count if limit is None else min(limit, base.count)
            loaded = await self._load(base, wanted, budget)
            if not isinstance(loaded, Damage):
                return loaded[len(loaded) - wanted :] if len(loaded) > wanted else loaded, base
            head = await self._unless_unchanged(head, base, loaded, budget)

    async def from_position(self, view: View, first: int) -> list[Any] | Reread:
        """The items of a head from a position on; or ``Reread`` when a part that it names has been replaced since."""
        wanted = max(0, view.base.count - first)
        loaded = await self._load(view.base, wanted, view.budget)
        if isinstance(loaded, Damage):
            await self._unless_unchanged(view.stored, view.base, loaded, view.budget)
            return Reread()
        return loaded[len(loaded) - wanted :]

    async def before(
        self, head: Head, wanted: HistoryWindow, owned: Callable[[Head], Head], budget: RetryBudget
    ) -> tuple[list[Any], int, Head]:
        """The newest items before a position, at most so many, of not much more than so many bytes.

        Returns:
            The items, oldest first; the position of the first; and the head that they are the history of.
        """
        while True:
            base = owned(head)
            end = base.count if wanted.end is None else min(wanted.end, base.count)
            loaded = await self._load_before(base, end, wanted, budget)
            if not isinstance(loaded, Damage):
                items, first = loaded
                return items, first, base
            head = await self._unless_unchanged(head, base, loaded, budget)

    async def _load_before(
        self, base: Head, end: int, wanted: HistoryWindow, budget: RetryBudget
    ) -> tuple[list[Any], int] | Damage:
        """What ``before`` needs: the segments that overlap its window, from the newest back, and the tail."""
        sealed = base.manifest.count
        least = max(0, end - wanted.limit)
        needed: list[Segment] = []
        first, last, kilobytes = sealed, sealed, 0
        for segment in reversed(base.manifest.segments):
            if first <= least or kilobytes * 1024 >= wanted.size:  # packed, they are no larger than their JSON
                break
            if first - segment.count < end:
                needed.insert(0, segment)
                kilobytes += segment.kilobytes
            else:
                last = first - segment.count
            first -= segment.count
        items: list[Any] = []
        for piece in await self._segments.load(base.epoch, needed, budget):
            if isinstance(piece, Damage):
                return piece
            items.extend(piece)
        if last == sealed:
            items.extend(base.tail.decode())
        shown = items[: end - first]
        return shown[max(0, least - first) :], max(first, least)

    async def newest_item(self, view: View) -> Any | Reread:
        """The newest item of a head, for a pop; or ``Reread`` when a part that it names has been replaced since."""
        loaded = await self._load(view.base, 1, view.budget)
        if isinstance(loaded, Damage):
            await self._unless_unchanged(view.stored, view.base, loaded, view.budget)
            return Reread()
        return loaded[-1]

    async def _load(self, base: Head, wanted: int, budget: RetryBudget) -> list[Any] | Damage:
        """The newest segments that ``wanted`` items need, and the tail."""
        needed: list[Segment] = []
        missing = wanted - base.tail.count
        for segment in reversed(base.manifest.segments):
            if missing <= 0:
                break
            needed.insert(0, segment)
            missing -= segment.count
        items: list[Any] = []
        for piece in await self._segments.load(base.epoch, needed, budget):
            if isinstance(piece, Damage):
                return piece
            items.extend(piece)
        items.extend(base.tail.decode())
        return items

    async def _unless_unchanged(self, stored: Head, base: Head, damage: Damage, budget: RetryBudget) -> Head:
        """The present head, if it is not the one whose part is missing: then the part was merely replaced meanwhile."""
        head = await self._committer.read(budget)
        if head.commit != stored.commit:
            return head
        intact = await self._segments.load(base.epoch, base.manifest.segments, budget)
        count = base.tail.count + sum(len(piece) for piece in intact if not isinstance(piece, Damage))
        raise CorruptSessionError(
            self._session_id, damage.key, damage.reason, intact_items=count, total_items=base.count
        )
