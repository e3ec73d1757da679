"""``delete``: sessions for good."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import typer

from ...errors import InvalidInputError
from .. import mend, pool, selection, views, words
from ..faults import Exit
from ..frame import AtOnce, Prefix, SessionIds, Yes, command
from ..output import Output
from ..recognise import NotOursError, Slots
from ..store import Store

_MANY = 10
"""Beyond so many sessions their number has to be typed: a y is typed too easily."""


@command("delete")
async def delete(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="Only sessions of this owner.")] = None,
    prefix: Prefix = None,
    expired: Annotated[bool, typer.Option("--expired", help="All that have expired, now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and do nothing.")] = False,
    yes: Yes = False,
    at_once: AtOnce = pool.AT_ONCE,
) -> int:
    """Delete sessions for good.

    Heads, parts, parked runs, and parts that no head knows of.
    """
    is_search = expired or owner is not None or prefix is not None
    if bool(session_ids) == is_search:
        raise InvalidInputError("name sessions, or say which with --owner, --prefix or --expired")
    if owner == "":
        raise InvalidInputError("--owner is empty: to delete sessions without an owner, name them, or use --prefix")
    slots: dict[str, Slots] | None = None
    if session_ids:
        named = selection.checked_ids(store, session_ids)
    else:
        wanted = selection.Wanted(owner, prefix, expired=True if expired else None)
        named, slots = await selection.everything_of(store, out, wanted)
    if dry_run:
        return await _told(store, out, named, by_id=not is_search)
    if not named:
        out.result("nothing has expired" if expired else "there is no such session", [])
        return Exit.DONE if expired else Exit.PROBLEMS
    if not _confirmed(store, out, named, yes=yes):
        out.note("nothing was deleted")
        return Exit.PROBLEMS
    done: list[mend.Erased] = []

    async def erase(session_id: str) -> mend.Erased:
        return await mend.erase(store, session_id, owner, slots, only_expired=expired)

    try:
        with out.advancing("sessions deleted", len(named)) as advance:
            async with aclosing(pool.in_order(named, erase, at_once)) as erased:
                async for one in erased:
                    done.append(one)
                    advance(1)
    finally:  # also when it is interrupted
        out.result(views.erased(done), done)
        out.note(views.spent(store.spent))
    if owner is not None:
        out.note("Parts of sessions deleted earlier carry no owner: verify finds any, repair deletes them.")
    return Exit.DONE if all(one.existed for one in done) or (expired and not _kept(done)) else Exit.PROBLEMS


def _kept(done: Sequence[mend.Erased]) -> bool:
    return any(one.kept is not None for one in done)


def _confirmed(store: Store, out: Output, named: Sequence[str], *, yes: bool) -> bool:
    what = words.printable(repr(named[0])) if len(named) == 1 else words.many(len(named), "session")
    if not yes and len(named) > 1:
        out.aside(views.to_erase(named))
    word = str(len(named)) if len(named) > _MANY else None
    return out.confirmed(f"Delete {what} from table {store.table.name!r} for good?", yes=yes, word=word)


async def _told(store: Store, out: Output, named: Sequence[str], *, by_id: bool) -> int:
    """Say what would be deleted."""
    present = [name for name in named if not by_id or await _is_there(store, out, name)]
    if present:
        out.result(views.to_erase(present), [{"session_id": name} for name in present])
    else:
        out.result("nothing would be deleted", [])
    out.note(f"{words.many(len(present), 'session')} would be deleted, {views.spent(store.spent)}")
    return Exit.DONE if present and len(present) == len(named) else Exit.PROBLEMS


async def _is_there(store: Store, out: Output, session_id: str) -> bool:
    try:
        is_there = await store.item(session_id) is not None
    except NotOursError as error:
        out.error(f"{error}: it would be left alone", "NotOursError")
        return False
    if not is_there:
        selection.missing(store, out, session_id)
    return is_there
