"""The conversations of an owner, newest activity first, from an index that costs an append nothing.

::

    index     owner, active       one entry a session: it moves when a day brings the session's first write
    a page    whole days of entries, newest first, then the heads of these for the exact times

The index knows the day of the last write, and the heads the millisecond. So days are read whole, and sorted by what the
heads say. A day with more than ``DAY_LIMIT`` conversations of one owner is read in pieces of so many, in the order in
which the conversations were first written on that day: a page then costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from .head import Attributes, Head, glimpse
from .record import DamagedRecordError
from .retry import RetryBudget
from .table import IndexEntry, Table
from .usage import DAY_SECONDS

DAY_LIMIT = 1_000
"""Most conversations of one owner and one day whose order is exact; beyond, it is exact within each so many."""

READ_LIMIT = 2 * DAY_LIMIT
"""About how many heads one page reads, where many have expired or few titles match: it may then be shorter."""

_DAY_MILLISECONDS = 1000 * DAY_SECONDS
_LEAST_ENTRIES = 100
_ENTRIES_A_HEAD = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation in a list.

    Attributes:
        head: Its head, without the items; None when it cannot be read.
        session_id: The session.
        at: Unix millisecond of its last write.
        count: Items in its history.
    """

    head: Head | None
    session_id: str
    at: int
    count: int

    @property
    def order(self) -> tuple[int, str]:
        """Where it stands: the larger, the earlier in the list."""
        return self.at, self.session_id


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins.

    Attributes:
        start: The entry of the index after which the piece begins that the page is in; None for the first.
        after: The order of the last conversation of the page before; None when the page begins with the piece.
    """

    start: IndexEntry | None = None
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Entries of the index that are sorted together.

    Attributes:
        entries: They, newest first.
        end: The last of them where there are more after it; None at the end of the list.
    """

    entries: tuple[IndexEntry, ...]
    end: IndexEntry | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Reads the list of one owner.

    Attributes:
        table: The table.
        owner: Whose conversations.
        now: Unix seconds: what has expired by then is left out.
    """

    table: Table
    owner: str
    now: int

    async def page(
        self, limit: int, place: Place, words: tuple[str, ...], budget: RetryBudget
    ) -> tuple[list[Found], Place | None]:
        """A page, and where the next one begins; None when there is none.

        Args:
            limit: How many conversations at the most.
            place: Where it begins.
            words: What the titles must hold, in any case and order; empty for all.
            budget: The operation's.
        """
        shown: list[Found] = []
        read, start, after = 0, place.start, place.after
        while True:
            piece = await self._piece(start, DAY_LIMIT if words else limit - len(shown), budget)
            matching = [entry for entry in piece.entries if _matches(entry, words)]
            found = await self._found(matching, budget, is_first=start is None)
            read += len(matching) + len(piece.entries) // _ENTRIES_A_HEAD
            left = sorted((one for one in found if after is None or one.order < after), key=lambda one: one.order)
            while left and len(shown) < limit:
                shown.append(left.pop())
            if left:
                return shown, Place(start, shown[-1].order)
            if piece.end is None:
                return shown, None
            start, after = piece.end, None
            if len(shown) >= limit or read >= READ_LIMIT:
                return shown, Place(start)

    async def pieces(self, budget: Callable[[], RetryBudget]) -> AsyncGenerator[Piece]:
        """All entries of the index, newest days first.

        Args:
            budget: Opens one for each piece.
        """
        start: IndexEntry | None = None
        while True:
            piece = await self._piece(start, DAY_LIMIT // 10, budget())
            yield piece
            if piece.end is None:
                return
            start = piece.end

    async def _piece(self, start: IndexEntry | None, wanted: int, budget: RetryBudget) -> Piece:
        """The next whole days with at least so many entries, or as much of one day as is sorted together."""
        entries: list[IndexEntry] = []
        most = max(_LEAST_ENTRIES, wanted + 1)
        while True:
            asked = min(most, DAY_LIMIT - len(entries))
            page, more = await self.table.read_index(self.owner, start, asked, budget)
            entries += page
            if more is None:
                return Piece(tuple(entries), None)
            whole = _whole_days(entries)
            if len(whole) >= wanted or (whole and len(entries) >= DAY_LIMIT):
                return Piece(tuple(whole), whole[-1])
            if len(entries) >= DAY_LIMIT:
                return Piece(tuple(entries), more)
            start, most = more, DAY_LIMIT

    async def _found(self, entries: list[IndexEntry], budget: RetryBudget, *, is_first: bool) -> list[Found]:
        """The conversations that some entries are of, as their heads are now.

        One that has had a write on a later day since has moved up: beyond the first piece it was passed already.
        """
        days = {entry.session_id: entry.active // _DAY_MILLISECONDS for entry in entries}
        items = await self.table.read_heads(days, budget)
        found = [one for item in items if (one := self._glimpsed(item)) is not None]
        return [one for one in found if is_first or one.at // _DAY_MILLISECONDS <= days[one.session_id]]

    def _glimpsed(self, item: Attributes) -> Found | None:
        """A conversation; None for what the list does not show: another owner's, expired, or empty by now."""
        session_id = item["session_id"]["S"]
        if item.get("owner", {}).get("S") != self.owner:
            return None
        try:
            head, count = glimpse(session_id, item)
        except DamagedRecordError:
            return Found(None, session_id, _second(item) * 1000, 0)
        if not count or head.as_of(self.now) is not head:
            return None
        return Found(head, session_id, head.updated_at * 1000 + head.profile.milliseconds, count)


def _matches(entry: IndexEntry, words: tuple[str, ...]) -> bool:
    title = (entry.title or "").casefold()
    return all(word in title for word in words)


def _whole_days(entries: list[IndexEntry]) -> list[IndexEntry]:
    """Without the last day, of which there may be more."""
    last = entries[-1].active // _DAY_MILLISECONDS if entries else 0
    return [entry for entry in entries if entry.active // _DAY_MILLISECONDS != last]


def last_activity(item: Attributes) -> tuple[int, str]:
    """Where a head's item stands in a list: the larger, the earlier. What cannot be read stands by its second."""
    session_id = item["session_id"]["S"]
    try:
        head, _ = glimpse(session_id, item)
    except DamagedRecordError:
        return _second(item) * 1000, session_id
    return head.updated_at * 1000 + head.profile.milliseconds, session_id


def _second(item: Attributes) -> int:
    text = item.get("updated_at", {}).get("N", "0")
    return int(text) if text.isdecimal() and len(text) < 12 else 0


def searched(text: str) -> tuple[str, ...]:
    """The words of a search."""
    return tuple(text.casefold().split())
