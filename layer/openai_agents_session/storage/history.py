"""Reading a history: the newest items that a head names, whole or with an error that says what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CorruptSessionError
from .commit import Committer
from .head import Head
from .manifest import Segment
from .retry import RetryBudget
from .segments import Damage, SegmentStore
from .transition import Reread, View


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
