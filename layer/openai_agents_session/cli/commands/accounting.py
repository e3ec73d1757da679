"""``usage``: what model calls have used, by owner and day."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import typer

from ...errors import IndexNotFoundError, InvalidInputError
from ...storage.usage import EARLIER, NO_USAGE, Usage
from .. import output, selection, views, words
from ..faults import Exit
from ..frame import Owner, Prefix, command
from ..output import Output
from ..recognise import Listed
from ..store import Store

Sums = dict[tuple[str | None, str], Usage]


@command("usage")
async def usage(
    store: Store,
    out: Output,
    owner: Owner = None,
    prefix: Prefix = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only days from then on: 2026-11-25, or 7d for the last seven days."),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--scan", help="With --owner: read the whole table, also where its index knows the sessions."),
    ] = False,
) -> int:
    """Sum what model calls have used, by owner and day.

    Of the sessions that the table holds: what was deleted is not in the sums.
    """
    first = _first_day(since, store.now())
    wanted = selection.Wanted(owner, prefix)
    sums: Sums | None = None
    if owner and not whole:  # sessions without an owner are in no index
        with contextlib.suppress(IndexNotFoundError):
            async with aclosing(selection.of_owner(store, owner, wanted)) as entries:
                sums = await _summed(entries, first)
    if sums is None:
        async with aclosing(selection.found(store, out, wanted)) as entries:
            sums = await _summed(entries, first)
    if out.as_json:
        for (name, day), used in _in_order(sums):
            out.line(output.json_line({"owner": name, "day": day, **used.to_dict()}))
    else:
        out.results(views.usage(_in_order(sums)).lines(out.width))
    out.note(views.spent(store.spent))
    return Exit.DONE


def _first_day(since: str | None, now: int) -> str:
    """The first date that counts; empty for all, and then what is older than single days too."""
    second = selection.moment_of(since, now)
    if second is None:
        return ""
    day = words.moment(second)[:10]
    if len(day) != len("2026-11-26") or not day[:4].isdecimal():
        raise InvalidInputError(f"--since: {since!r} is no date that can be")
    return day


async def _summed(entries: AsyncIterator[Listed], first: str) -> Sums:
    sums: Sums = {}
    async for entry in entries:
        for day, used in (entry.info.usage if entry.info else {}).items():
            if entry.info and (not first or (day != EARLIER and day >= first)):
                key = entry.info.owner, day
                sums[key] = sums.get(key, NO_USAGE) + used
    return sums


def _in_order(sums: Sums) -> list[tuple[tuple[str | None, str], Usage]]:
    """By owner, newest day first; those without one first of all."""
    newest_first = sorted(sums.items(), key=lambda one: "" if one[0][1] == EARLIER else one[0][1], reverse=True)
    return sorted(newest_first, key=lambda one: (one[0][0] is not None, one[0][0] or ""))
