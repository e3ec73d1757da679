"""``salvage``: what can still be read of a damaged session, into a file."""

from __future__ import annotations

from ...errors import CorruptSessionError
from ...storage import salvage as salvaging
from ...storage.record import UnknownFormatError
from .. import files, selection, transfer, words
from ..faults import Exit
from ..frame import SessionIds, command
from ..output import Output
from ..store import Store
from .export import OutputFile


@command("salvage")
async def salvage(
    store: Store, out: Output, session_ids: SessionIds = None, output: OutputFile = files.STDIN_OR_STDOUT
) -> int:
    """Write what a damaged session still holds to a file.

    As JSON lines, which say of each item whether it is certain. Nothing is changed.

    Certain is what the head vouches for. What else was written for the session is probable: it may have been popped or
    replaced since. Look at the file, then delete the session and import the file.
    """
    sink = files.Sink(output)
    count, found = transfer.Count(), 0
    try:
        for session_id in selection.checked_ids(store, session_ids or ()):
            left = await _salvaged(store, out, session_id)
            if left is not None:
                sink.write(list(transfer.salvaged(left)))
                count.sessions, count.items = count.sessions + 1, count.items + left.certain + left.probable
                _tell(out, left)
                found += bool(left.pieces)
        sink.write([count.line()])
        sink.done()
    finally:
        sink.close(keep=False)
    return Exit.DONE if found and found == len(set(session_ids or ())) else Exit.PROBLEMS


async def _salvaged(store: Store, out: Output, session_id: str) -> salvaging.Salvage | None:
    item = await store.item(session_id)
    try:
        store.head(session_id, item)
    except CorruptSessionError as error:
        if isinstance(error.__cause__, UnknownFormatError):
            out.error(f"session {session_id!r}: {error.__cause__}", "CorruptSessionError")
            return None
    left = await salvaging.salvage(store.table, session_id, item, store.patience())
    if item is None and not left.pieces:
        selection.missing(store, out, session_id)
        return None
    return left


def _tell(out: Output, left: salvaging.Salvage) -> None:
    others = f", {words.many(left.others, 'part')} of an earlier conversation left out" if left.others else ""
    out.note(
        f"{words.identity(left.session_id)}: {left.certain:,} certain and {left.probable:,} probable items{others}",
        "",
    )
    for lost in left.lost:
        items = "" if lost.items is None else f", {words.many(lost.items, 'item')}"
        out.note(f"  lost: {words.identity(lost.source)}: {words.printable(lost.reason)}{items}", "yellow")
    if not left.owner_is_certain:
        told = "nobody" if left.owner is None else repr(left.owner)
        out.note(f"  it is not certain whose it is; the head says {words.printable(told)}: import --owner", "yellow")
