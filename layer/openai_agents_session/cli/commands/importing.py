"""``import``: sessions from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import CorruptSessionError, InvalidInputError, LeaseUnavailableError, WrongOwnerError
from .. import faults, files, pool, transfer, views
from ..faults import Exit
from ..frame import AtOnce, command
from ..output import Output
from ..recognise import NotOursError
from ..store import Store
from ..transfer import Exported

_SKIPPED = "skipped, as it exists"
_FINE = {"imported", "appended", "replaced", _SKIPPED}


@dataclass(frozen=True, slots=True)
class _How:
    """How to import.

    Attributes:
        append: Add to sessions that exist.
        replace: Put the imported history in place of an old one.
        skip: Pass over sessions that exist.
        rename: Under which id, or None for the file's.
        owner: Whom to bind sessions to, or None for whom the file says; empty for nobody.
        probable: Take what is only probable of a salvaged session too.
        ttl_seconds: Seconds from now to expiry, or None for when they would have expired.
    """

    append: bool
    replace: bool
    skip: bool
    rename: str | None
    owner: str | None
    probable: bool
    ttl_seconds: int | None


@command("import")
async def import_sessions(
    store: Store,
    out: Output,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What export or salvage wrote; - for stdin.")],
    append: Annotated[bool, typer.Option("--append", help="Add to sessions that exist.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the imported history in place of an old one.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over sessions that exist: to go on after an interruption.")
    ] = False,
    rename: Annotated[
        str | None, typer.Option("--as", metavar="SESSION", help="Import under this id; the file holds one session.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="OWNER", help="Bind them to this owner instead of the file's; '' for nobody.")
    ] = None,
    probable: Annotated[
        bool, typer.Option("--probable", help="Of salvaged sessions, also the items that are not certain.")
    ] = False,
    ttl_seconds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Let them expire so many seconds from now. Default: when they would have."
        ),
    ] = None,
    at_once: AtOnce = pool.AT_ONCE,
) -> int:
    """Read sessions from a file of JSON lines.

    Each is stored whole or not at all; one that exists is left alone.
    """
    if append + replace + skip_existing > 1:
        raise InvalidInputError("--append, --replace and --skip-existing exclude each other")
    store.session("x" if rename is None else rename, owner=owner or None)  # checked before anything is written
    how = _How(append, replace, skip_existing, rename, owner, probable, ttl_seconds)
    outcomes: list[dict[str, Any]] = []
    try:
        with files.reading(source) as file:
            await _import(store, out, file, how, outcomes, 1 if append or replace else at_once)
    finally:  # also when it is interrupted, or the file turns out to be cut off
        out.result(views.imported(outcomes, _FINE), outcomes)
        out.note(views.spent(store.spent))
    return Exit.DONE if all(entry["outcome"] in _FINE for entry in outcomes) else Exit.PROBLEMS


async def _import(
    store: Store, out: Output, file: files.Source, how: _How, outcomes: list[dict[str, Any]], at_once: int
) -> None:
    async def put(exported: Exported) -> dict[str, Any]:
        session_id = exported.session_id if how.rename is None else how.rename
        outcome = await _stored(store, exported, session_id, how)
        items = len(_items(exported, how))
        entry = {"session_id": session_id, "items": items, "outcome": outcome}
        left_out = len(exported.probable or exported.items) - items
        return {**entry, "left_out": left_out} if left_out else entry

    with out.reading("read", file.size) as at:
        sessions: Iterable[Exported] = transfer.sessions(_watched(file, at))
        if how.rename is not None:
            sessions = _only_one(sessions, how.rename)
        async with aclosing(pool.in_order(sessions, put, at_once)) as done:
            async for outcome in done:
                outcomes.append(outcome)  # noqa: PERF401 - an interruption must not lose them


def _watched(file: files.Source, at: Any) -> Iterator[str]:
    for line in file.lines:
        at(file.position())
        yield line


def _only_one(sessions: Iterable[Exported], rename: str) -> list[Exported]:
    found = list(islice(sessions, 2))
    if len(found) > 1:
        raise InvalidInputError(f"--as {rename!r}: the file holds more than one session")
    return found


def _items(exported: Exported, how: _How) -> list[Any]:
    return exported.probable if how.probable and exported.probable is not None else exported.items


async def _stored(store: Store, exported: Exported, session_id: str, how: _How) -> str:
    """Store a session, and say what became of it."""
    if how.owner is None and not exported.owner_is_certain:
        told = "nobody's" if exported.owner is None else repr(exported.owner)
        return f"not imported, it is not certain whose it is (perhaps {told}): say with --owner"
    ttl_seconds = how.ttl_seconds
    if ttl_seconds is None and exported.ttl is not None:
        ttl_seconds = exported.ttl - store.now()
        if ttl_seconds <= 0:
            return "not imported, it has expired: --ttl-seconds imports it all the same"
    owner = exported.owner if how.owner is None else how.owner or None
    try:
        return await _put(store, exported, session_id, how, ttl_seconds, owner)
    except (WrongOwnerError, CorruptSessionError, NotOursError, LeaseUnavailableError, InvalidInputError) as error:
        return f"not imported, {faults.fault(error).text}"


async def _put(
    store: Store, exported: Exported, session_id: str, how: _How, ttl_seconds: int | None, owner: str | None
) -> str:
    items = _items(exported, how)
    if how.skip and await store.holds(session_id):
        return _SKIPPED
    is_new = await store.create(
        session_id,
        items,
        owner=owner,
        ttl_seconds=ttl_seconds,
        begun=exported.begun,
        title=exported.title,
        metadata=exported.metadata,
    )
    if is_new:
        return "imported"
    session = store.session(session_id, ttl_seconds=ttl_seconds, owner=owner)
    if how.append:
        await session.add_items(items)
        return "appended"
    if how.replace:
        await session._atomic_replace_items(items)
        return "replaced"
    return _SKIPPED if how.skip else "not imported, as it exists: --append, --replace or --skip-existing"
