"""``rename``, ``fork`` and ``redact``: one session changed by an operator. Its place in lists and its end stay."""

from __future__ import annotations

import re
import uuid
from typing import Annotated

import typer

from ...conversations import NOTICE, Conversation
from .. import selection, views, words
from ..faults import Exit
from ..frame import SessionId, Yes, command
from ..output import Output
from ..store import Store

_OF_A_CALLER = re.compile(r"@[0-9a-f]{32}\Z")
"""What the service puts behind the id of a session that belongs to one of its callers."""


@command("rename")
async def rename(
    store: Store,
    out: Output,
    session_id: SessionId,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What it is called from now on; '' for nothing.")],
) -> int:
    """Give a session another title.

    It is no activity: its place in lists and its expiry stay.
    """
    found = await selection.resolved(store, out, session_id)
    if found is None:
        return Exit.PROBLEMS
    info = await Conversation(store.session(found[0])).rename(title or None)
    out.result(views.described(info), info)
    return Exit.DONE


@command("fork")
async def fork(
    store: Store,
    out: Output,
    session_id: SessionId,
    copy_id: Annotated[
        str | None, typer.Option("--as", metavar="SESSION", help="The id of the copy. Default: a random one.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="Only the first so many items.")] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TITLE", help="What the copy is called. Default: the same and (copy)."),
    ] = None,
) -> int:
    """Copy a session, or its first items, under another id.

    Whole or not at all; with the same owner, metadata and end. The copy of a caller's session at the service has
    the caller's mark behind its id, too: without it, the service would list the copy and not find it.
    """
    found = await selection.resolved(store, out, session_id)
    if found is None:
        return Exit.PROBLEMS
    name, item = found
    ttl = store.head(name, item).ttl
    session = store.session(name, ttl_seconds=None if ttl is None else max(1, ttl - store.now()))
    conversation = Conversation(session)
    copy_id = _beside(name, copy_id)
    copy = await (
        conversation.fork(copy_id, keep=keep) if title is None else conversation.fork(copy_id, keep=keep, title=title)
    )
    out.result(views.forked(name, copy), copy)
    return Exit.DONE


def _beside(source: str, copy_id: str | None) -> str | None:
    """The id of a copy; None for a random one."""
    mark = _OF_A_CALLER.search(source)
    if mark is None or (copy_id is not None and _OF_A_CALLER.search(copy_id)):
        return copy_id
    return f"{copy_id or uuid.uuid4()}{mark[0]}"


@command("redact")
async def redact(
    store: Store,
    out: Output,
    session_id: SessionId,
    number: Annotated[int, typer.Argument(min=1, metavar="NUMBER", help="Of the item, as show numbers them.")],
    notice: Annotated[str, typer.Option(metavar="TEXT", help="What stands in its place.")] = NOTICE,
    yes: Yes = False,
) -> int:
    """Put a notice in place of what one item of a session says, for good.

    The table then holds it nowhere; backups, streams, logs and earlier copies do.
    """
    found = await selection.resolved(store, out, session_id)
    if found is None:
        return Exit.PROBLEMS
    conversation = Conversation(store.session(found[0]))
    name = words.printable(repr(found[0]))
    if not out.confirmed(f"Redact item {number} of {name} in table {store.table.name!r} for good?", yes=yes):
        return Exit.PROBLEMS
    changed = await conversation.redact(number - 1, notice=notice)
    data = {"session_id": found[0], "number": number, "changed": changed}
    out.result(views.redacted(found[0], number, changed=changed), data)
    return Exit.DONE
