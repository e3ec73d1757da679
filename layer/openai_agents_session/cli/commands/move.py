"""``export`` and ``import``: sessions to a file, and from one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import CorruptSessionError, InvalidInputError, LeaseUnavailableError, WrongOwnerError
from .. import faults, files, pool, selection, transfer, views, words
from ..faults import Exit
from ..frame import After, AtOnce, Owner, Prefix, SessionIds, Since, command
from ..output import Output
from ..recognise import NotOursError
from ..store import Store, Stored
from ..transfer import Exported

OutputFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file; - for stdout.")]


@command("export")
async def export(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session that has not expired.")] = False,
    owner: Owner = None,
    prefix: Prefix = None,
    since: Since = None,
    after: After = None,
    output: OutputFile = files.STDIN_OR_STDOUT,
    at_once: AtOnce = pool.AT_ONCE,
) -> int:
    """Write sessions to a file of JSON lines.

    A line for each session, one for each item, and in the end their number, to be imported again.
    """
    is_search = everything or owner is not None or prefix is not None or since is not None
    if bool(session_ids) == is_search:
        raise InvalidInputError("name sessions, or say which with --all, --owner, --prefix or --since")
    if session_ids:
        if after is not None:
            raise InvalidInputError("--after goes on in the table's order: use it with --all, --owner and the like")
        named = selection.checked_ids(store, session_ids)
    else:
        wanted = selection.Wanted(owner, prefix, selection.moment_of(since, store.now()), False if everything else None)
        named = await _names(store, out, wanted, after)
    writing = _Writing(out, files.Sink(output), is_search)
    try:
        await _export(store, out, named, writing, at_once)
    except OSError:
        writing.sink.close(keep=False)  # the disk is full: what is there is of no use
        raise
    except BaseException:
        writing.sink.close(keep=writing.count.sessions > 0)
        writing.tell_where_to_go_on()
        raise
    out.note(
        f"{words.many(writing.count.sessions, 'session')} with {words.many(writing.count.items, 'item')}, "
        f"{views.spent(store.spent)}"
    )
    return Exit.PROBLEMS if writing.failed else Exit.DONE


async def _names(store: Store, out: Output, wanted: selection.Wanted, after: str | None) -> list[str]:
    async with aclosing(selection.found(store, out, wanted, after=after)) as entries:
        return [entry.session_id async for entry in entries]


@dataclass(slots=True)
class _Writing:
    """How far an export has come.

    Attributes:
        out: For notes.
        sink: The file.
        is_search: Whether it goes through the table, so that ``--after`` can go on.
        count: What was written.
        failed: How many sessions could not be.
        last: The last session that was dealt with.
    """

    out: Output
    sink: files.Sink
    is_search: bool
    count: transfer.Count
    failed: int
    last: str | None

    def __init__(self, out: Output, sink: files.Sink, is_search: bool) -> None:
        self.out, self.sink, self.is_search = out, sink, is_search
        self.count, self.failed, self.last = transfer.Count(), 0, None

    def tell_where_to_go_on(self) -> None:
        """Say what there is of an export that has stopped."""
        if self.last is None:
            return
        where = f" are in {self.sink.part}" if self.sink.part is not None else " were written"
        rest = f"; the rest: --after={words.shell_word(self.last, self.out.encoding)}" if self.is_search else ""
        self.out.note(f"{words.many(self.count.sessions, 'session')}{where}{rest}", "yellow")


async def _export(store: Store, out: Output, named: Sequence[str], writing: _Writing, at_once: int) -> None:
    async def read(session_id: str) -> tuple[str, Stored | str]:
        return session_id, await _read(store, session_id)

    with out.advancing("sessions exported", len(named)) as advance:
        async with aclosing(pool.in_order(named, read, at_once)) as sessions:
            async for session_id, stored in sessions:
                if isinstance(stored, str):
                    out.error(stored, "NotExported")
                    writing.failed += 1
                else:
                    _write(writing, stored)
                writing.last = session_id
                advance(1)
    writing.sink.write([writing.count.line()])
    writing.sink.done()


async def _read(store: Store, session_id: str) -> Stored | str:
    """A session, or why it cannot be exported."""
    try:
        stored = await store.read(session_id)
    except CorruptSessionError as error:
        way = "salvage" if error.part == "head" else "repair, or salvage"
        return f"{faults.corrupt(error)}: not exported. See {way}"
    except NotOursError as error:
        return f"{error}: not exported"
    if stored is None or stored.listed.expired:
        return f"there is no session {words.printable(repr(session_id))} in table {store.table.name!r}"
    return stored


def _write(writing: _Writing, stored: Stored) -> None:
    assert stored.listed.info is not None  # noqa: S101 - it was read whole
    writing.sink.write(list(transfer.lines(stored.listed.info, stored.items)))
    writing.count.sessions += 1
    writing.count.items += len(stored.items)


# --- import ----------------------------------------------------------------------------------------------------------

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
    if await store.create(session_id, items, owner=owner, ttl_seconds=ttl_seconds, begun=exported.begun):
        return "imported"
    session = store.session(session_id, ttl_seconds=ttl_seconds, owner=owner)
    if how.append:
        await session.add_items(items)
        return "appended"
    if how.replace:
        await session._atomic_replace_items(items)
        return "replaced"
    return _SKIPPED if how.skip else "not imported, as it exists: --append, --replace or --skip-existing"
