"""``export``: sessions to a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...errors import CorruptSessionError, InvalidInputError
from .. import faults, files, pool, selection, transfer, views, words
from ..faults import Exit
from ..frame import After, AtOnce, Owner, Prefix, SessionIds, Since, command
from ..output import Output
from ..recognise import NotOursError
from ..store import Store, Stored

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
        return f"not exported: {faults.fault(error).text}"
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
