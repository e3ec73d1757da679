"""``ping`` and ``create-table``: the table itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from ...dynamodb import create_table_if_not_exists
from ..faults import Exit
from ..frame import command
from ..output import Output
from ..recognise import NotOursError
from ..store import Store


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
) -> int:
    """Create the table where there is none.

    On demand. For development: deploy it as a template in production.
    """
    name = store.table.name
    before = await store.key_schema()
    if before not in (None, _KEY):
        raise NotOursError(f"table {name!r} exists and is no table of sessions: its key is {_named(before)}")
    await create_table_if_not_exists(store.table.client, name, enable_ttl=ttl)
    data = {"table": name, "created": before is None}
    out.result(f"table {name!r} was created" if before is None else f"table {name!r} exists already", data)
    return Exit.DONE
