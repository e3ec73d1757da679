"""``ping``, ``create-table`` and ``add-index``: the table itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from ...conversations import OWNER_INDEX, Conversation
from ...dynamodb import create_table_if_not_exists
from ...errors import SessionError, SessionNotFoundError
from ...storage.retry import RetryBudget
from .. import views
from ..faults import Exit, fault
from ..frame import command
from ..output import Output
from ..recognise import NotOursError
from ..store import Store
from ..survey import unlisted
from ..words import many, printable


@command("ping")
async def ping(store: Store, out: Output) -> int:
    """Check that the table can be read.

    With these credentials, and how long that takes.
    """
    times: list[float] = []
    for _ in range(4):
        began = time.perf_counter()
        await store.table.read_item("ping", store.patience())
        times.append((time.perf_counter() - began) * 1000)
    first, best = times[0], min(times[1:])
    endpoint, _ = store.table.identity
    data = {"table": store.table.name, "endpoint": endpoint, "first_ms": round(first, 1), "ms": round(best, 1)}
    out.result(f"{store.table.name} at {endpoint}: {best:.1f} ms a read ({first:.1f} ms with the connection)", data)
    return Exit.DONE


def _named(key: Iterable[tuple[str, str, str]] | None) -> str:
    return " and ".join(f"{name!r} ({kind}, {of_type})" for name, kind, of_type in key or ())


_KEY = [("session_id", "HASH", "S")]


@command("create-table")
async def create_table(
    store: Store,
    out: Output,
    ttl: Annotated[bool, typer.Option("--ttl/--no-ttl", help="Let DynamoDB delete expired sessions.")] = True,
    index: Annotated[
        bool, typer.Option("--index", help="With the index that lists the conversations of an owner.")
    ] = False,
) -> int:
    """Create the table where there is none.

    On demand. For development: deploy it as a template in production.
    """
    name = store.table.name
    before = await store.key_schema()
    if before not in (None, _KEY):
        raise NotOursError(f"table {name!r} exists and is no table of sessions: its key is {_named(before)}")
    await create_table_if_not_exists(store.table.client, name, enable_ttl=ttl, with_index=index)
    data = {"table": name, "created": before is None}
    out.result(f"table {name!r} was created" if before is None else f"table {name!r} exists already", data)
    return Exit.DONE


@command("add-index")
async def add_index(
    store: Store,
    out: Output,
    wait: Annotated[
        int, typer.Option(min=1, max=86_400, metavar="SECONDS", help="How long to wait until it is built.")
    ] = 600,
) -> int:
    """Add the index that lists the conversations of an owner.

    DynamoDB builds it while the table is in use. Sessions that an older version wrote last are then put into it.
    """
    name = store.table.name
    before = await store.key_schema()
    if before != _KEY:
        raise NotOursError(f"table {name!r} is no table of sessions: its key is {_named(before) or 'unknown'}")
    was_missing = await store.table.add_index(RetryBudget(wait))
    added = 0
    with out.counting("sessions put into the index:") as on_added:
        async for session_id in unlisted(store):
            added += await _put_into_list(store, out, session_id)
            on_added(1)
    said = "was added" if was_missing else "is there already"
    data = {"table": name, "index": OWNER_INDEX, "created": was_missing, "sessions_added": added}
    out.result(f"index {OWNER_INDEX!r} of table {name!r} {said}; {many(added, 'session')} put into it", data)
    out.note(views.spent(store.spent))
    return Exit.DONE


async def _put_into_list(store: Store, out: Output, session_id: str) -> bool:
    try:
        await Conversation(store.session(session_id)).update()
    except SessionNotFoundError:
        return False  # cleared or expired meanwhile
    except SessionError as error:
        out.note(f"session {printable(repr(session_id))} is not in the index yet: {fault(error).text}", "yellow")
        return False
    return True
