"""``list``: which sessions there are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from ...errors import IndexNotFoundError, InvalidInputError
from .. import output, selection, views, words
from ..faults import Exit
from ..frame import After, Owner, Prefix, Since, command
from ..output import Output
from ..recognise import Listed
from ..store import Store

_PAGE = 100


class Sort(StrEnum):
    """By what to sort a listing."""

    UPDATED = "updated"
    BEGUN = "begun"
    ITEMS = "items"
    SIZE = "size"
    EXPIRES = "expires"
    OWNER = "owner"
    ID = "id"
    NONE = "none"


_NEVER = 1 << 62
_KEYS: dict[Sort, Callable[[Listed], Any]] = {
    Sort.UPDATED: lambda entry: -(entry.info.updated_at if entry.info else _NEVER),
    Sort.BEGUN: lambda entry: -(entry.info.created if entry.info else _NEVER),
    Sort.ITEMS: lambda entry: -(entry.info.items if entry.info else _NEVER),
    Sort.SIZE: lambda entry: -(views.stored_bytes(entry.info) if entry.info else _NEVER),
    Sort.EXPIRES: lambda entry: _NEVER if entry.info is None or entry.info.ttl is None else entry.info.ttl,
    Sort.OWNER: lambda entry: ((entry.info.owner or "") if entry.info else "", entry.session_id),
    Sort.ID: lambda entry: entry.session_id,
}


@command("list")
async def list_sessions(
    store: Store,
    out: Output,
    owner: Owner = None,
    prefix: Prefix = None,
    since: Since = None,
    expired: Annotated[bool, typer.Option("--expired", help="Only expired ones.")] = False,
    sort: Annotated[
        Sort | None,
        typer.Option(
            help="Newest, largest or soonest first; reads the whole table. Default: updated. none: in the table's "
            "order, reading no further than the list goes; the default with --json and with --after.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, metavar="NUMBER", help="At most so many; 0 for all. Default: 100, with --json all."),
    ] = None,
    after: After = None,
    whole: Annotated[
        bool,
        typer.Option("--scan", help="With --owner: read the whole table, also where its index knows the sessions."),
    ] = False,
) -> int:
    """List sessions.

    With items, size, last write, expiry and owner.
    """
    if sort is None:
        sort = Sort.NONE if out.as_json or after is not None else Sort.UPDATED
    if after is not None and sort is not Sort.NONE:
        raise InvalidInputError("--after goes on in the table's order, which --sort changes: use one of them")
    wanted = selection.Wanted(owner, prefix, selection.moment_of(since, store.now()), expired=True if expired else None)
    most = limit if limit is not None else (0 if out.as_json else _PAGE)
    if owner and after is None and not whole:  # sessions without an owner are in no index
        with contextlib.suppress(IndexNotFoundError):
            return await _from_index(store, out, owner, wanted, most, sort)
    async with aclosing(selection.found(store, out, wanted, after=after)) as entries:
        if sort is Sort.NONE:
            return await _in_order(store, out, entries, most)
        return await _sorted(store, out, entries, most, _KEYS[sort])


async def _from_index(store: Store, out: Output, owner: str, wanted: selection.Wanted, most: int, sort: Sort) -> int:
    """The list of an owner, which is in the order of activity: in that order no more is read than is shown."""
    async with aclosing(selection.of_owner(store, owner, wanted)) as entries:
        if sort in (Sort.NONE, Sort.UPDATED):
            code = await _in_order(store, out, entries, most, is_indexed=True)
        else:
            code = await _sorted(store, out, entries, most, _KEYS[sort])
    out.note("from the table's index: --scan also finds what an older version wrote last, and what is empty")
    return code


async def _in_order(
    store: Store, out: Output, entries: AsyncIterator[Listed], most: int, *, is_indexed: bool = False
) -> int:
    shown: list[Listed] = []
    count = 0
    is_cut_off = False
    async for entry in entries:
        if most and count == most:
            is_cut_off = True
            break
        count += 1
        if out.as_json:
            out.line(output.json_line(_described(entry)))
        else:
            shown.append(entry)
    _show(store, out, shown, titled=is_indexed)
    if is_cut_off and shown:
        on = "" if is_indexed else f"--after={words.shell_word(shown[-1].session_id, out.encoding)}, or "
        out.note(f"there are more: {on}--limit 0", "yellow")
    return Exit.DONE


async def _sorted(
    store: Store, out: Output, entries: AsyncIterator[Listed], most: int, key: Callable[[Listed], Any]
) -> int:
    shown: list[Listed] = []
    count = 0
    async for entry in entries:
        count += 1
        shown.append(entry)
        if most and len(shown) >= 2 * most + _PAGE:
            shown = sorted(shown, key=key)[:most]
    shown = sorted(shown, key=key)[: most or None]
    if out.as_json:
        for entry in shown:
            out.line(output.json_line(_described(entry)))
        return Exit.DONE
    _show(store, out, shown)
    if len(shown) < count:
        out.note(f"these are {len(shown):,} of {words.many(count, 'session')}: --limit 0 shows all", "yellow")
    return Exit.DONE


def _show(store: Store, out: Output, shown: list[Listed], *, titled: bool = False) -> None:
    if out.as_json:
        return
    out.results(views.listing(shown, store.now(), titled=titled).lines(out.width))
    out.note(f"{words.many(len(shown), 'session')}, {views.spent(store.spent)}")


def _described(entry: Listed) -> dict[str, Any]:
    described = asdict(entry.info) if entry.info else {"session_id": entry.session_id}
    return {**described, "expired": entry.expired, "damaged": entry.info is None}
