"""``show`` and ``cost``: one session."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...conversations import spans_of
from ...runs import PendingRuns
from ...storage.description import info_of
from .. import conversation, pricing, selection, views
from ..faults import Exit
from ..frame import SessionId, command
from ..output import Output
from ..recognise import size_of
from ..store import Store


@command("show")
async def show(
    store: Store,
    out: Output,
    session_id: SessionId,
    limit: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="The newest so many items; 0 for all.")] = 50,
    full: Annotated[bool, typer.Option("--full", help="Do not fold what is long.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The items as they are stored, one line of JSON each.")] = False,
) -> int:
    """Show a session as a conversation.

    Who said what, which tools ran, how the newest turns ended, what waits for approval.
    """
    found = await selection.resolved(store, out, session_id)
    if found is None:
        return Exit.PROBLEMS
    name, stored = found
    head = store.head(name, stored)
    info = info_of(head, size_of(stored))
    session = store.session(name)
    items: list[Any] = list(await session.get_items(limit or None))
    if raw:
        for item in items:
            out.stored(item)
        return Exit.DONE
    run = await PendingRuns(session).get()
    entries = conversation.entries(items, first=max(1, info.items - len(items) + 1))
    turns = views.Turns(spans_of(head.turns), head.turns.open)
    data = {"session": info, "items": items, "turns": [turn.to_dict() for turn in turns.done], "run": run}
    out.result(views.conversation(info, entries, turns, run, store.now(), full=full), data)
    return Exit.DONE


@command("cost")
async def cost(
    store: Store,
    out: Output,
    session_id: SessionId,
    appends: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Appends a turn: the question, then one an answer.")
    ] = 2,
    read_price: Annotated[
        float, typer.Option(min=0, metavar="DOLLARS", help="Dollars for a million read units.")
    ] = pricing.READ_PRICE,
    write_price: Annotated[
        float, typer.Option(min=0, metavar="DOLLARS", help="Dollars for a million write units.")
    ] = pricing.WRITE_PRICE,
) -> int:
    """Tell what a turn of a session costs now.

    At on-demand prices; the defaults are those of us-east-1.
    """
    found = await selection.resolved(store, out, session_id)
    if found is None:
        return Exit.PROBLEMS
    name, stored = found
    head = store.head(name, stored)
    sealing = pricing.sealing_units(head, appends, store.options)
    turn = pricing.turn_cost(info_of(head, size_of(stored)), sealing, appends, read_price, write_price)
    out.result(views.cost(turn, read_price, write_price), turn)
    return Exit.DONE
