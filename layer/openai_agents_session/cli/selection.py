"""Which sessions a command line means: by id, by how it begins, by owner, by time, by expiry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ..errors import InvalidInputError
from ..storage.head import Attributes
from . import words
from .output import Output
from .recognise import Listed, Slots, head_key, is_head, listed, seen, session_of
from .store import Store
from .survey import listing, scan


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        owner: Whom they are bound to; empty: to nobody.
        prefix: How their ids begin.
        since: The Unix second since when they were written.
        expired: Whether they have expired; None for either.
    """

    owner: str | None = None
    prefix: str | None = None
    since: int | None = None
    expired: bool | None = None

    def __contains__(self, entry: Listed) -> bool:
        """Whether a session is asked for. Of a damaged one only the id is known."""
        info = entry.info
        return (
            (self.expired is None or entry.expired == self.expired)
            and (self.prefix is None or entry.session_id.startswith(self.prefix))
            and (self.owner is None or (info is not None and (info.owner or "") == self.owner))
            and (self.since is None or (info is not None and info.updated_at >= self.since))
        )

    @property
    def is_narrow(self) -> bool:
        """Whether damaged sessions may be among those meant, without anybody knowing."""
        return self.owner is not None or self.since is not None


def moment_of(since: str | None, now: int) -> int | None:
    """The Unix second that ``--since`` means. Raises ``InvalidInputError``."""
    try:
        return None if since is None else words.since(since, now)
    except ValueError as error:
        raise InvalidInputError(f"--since: {error}") from error


def checked_ids(store: Store, session_ids: Sequence[str]) -> list[str]:
    """The ids, each once. Raises ``InvalidInputError`` for one that no session can have."""
    for session_id in session_ids:
        store.session(session_id)
    return list(dict.fromkeys(session_ids))


async def found(store: Store, out: Output, wanted: Wanted, *, after: str | None = None) -> AsyncGenerator[Listed]:
    """The sessions of the table that are wanted, in the table's order."""
    with out.counting("sessions read:") as on_page:
        async with aclosing(listing(store, on_page=on_page, after=after)) as entries:
            async for entry in entries:
                if entry in wanted:
                    yield entry


async def of_owner(store: Store, owner: str, wanted: Wanted) -> AsyncGenerator[Listed]:
    """The sessions of an owner that are wanted, newest activity first. Raises ``IndexNotFoundError``."""
    now = store.now()
    async with aclosing(store.owned(owner)) as items:
        async for _, item in items:
            if (entry := listed(item, now)) in wanted:
                yield entry


async def resolved(store: Store, out: Output, name: str) -> tuple[str, Attributes] | None:
    """The one session that somebody means, and its item: by its id, or where there is none of it by how it begins.

    Says so when there is none, or lists them when there are several.
    """
    item = await store.item(name)
    if item is not None:
        return name, item
    out.note(f"there is no session {name!r}: looking for those whose ids begin so")
    named = [entry.session_id async for entry in found(store, out, Wanted(prefix=name))]
    if len(named) == 1 and (item := await store.item(named[0])) is not None:
        return named[0], item
    if len(named) > 1:
        out.error(f"{words.many(len(named), 'session')} begin with {name!r}:", "AmbiguousSession")
        for session_id in sorted(named)[:_MOST_NAMED]:
            out.note(f"  {words.identity(session_id)}", "")
        if len(named) > _MOST_NAMED:
            out.note(
                f"  and {len(named) - _MOST_NAMED:,} more: list --prefix {words.shell_word(name, out.encoding)}", ""
            )
    else:
        missing(store, out, name)
    return None


_MOST_NAMED = 20


def missing(store: Store, out: Output, session_id: str) -> None:
    """Say that there is no such session."""
    out.error(f"there is no session {words.printable(repr(session_id))} in table {store.table.name!r}", "NoSuchSession")


async def everything_of(store: Store, out: Output, wanted: Wanted) -> tuple[list[str], dict[str, Slots]]:
    """The sessions that are wanted, and what lies under the slots of any: one reading of the table, parts and all.

    A session with a damaged head is not among them, unless its id alone decides; nobody can tell whose it was.
    """
    named: list[str] = []
    slots: dict[str, Slots] = {}
    damaged = 0
    now = store.now()
    with out.counting("items read:") as on_page:
        async with aclosing(scan(store, heads_only=False, on_page=on_page)) as items:
            async for key, item in items:
                if (head := head_key(key)) is not None:
                    slots.setdefault(head, {})[key] = seen(item)
                elif session_of(key) == key and is_head(item):
                    entry = listed(item, now)
                    damaged += entry.info is None and wanted.is_narrow
                    if entry in wanted:
                        named.append(key)
    if damaged:
        out.note(f"{words.many(damaged, 'session')} with a damaged head: whose, nobody knows. See verify.", "yellow")
    return named, slots
