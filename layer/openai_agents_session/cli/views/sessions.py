"""Sessions in a row: listed, deleted, imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...storage.description import SessionInfo
from ..layout import Column, Sheet, Titled, one_line, text, unbroken
from ..mend import Erased
from ..recognise import Listed
from ..store import Spent
from ..words import ago, many, moment, size

FEW = 20
"""How many sessions are named one by one. More are counted."""

_COLUMNS = (
    Column("SESSION", is_id=True),
    Column("ITEMS", "{} items", right=True),
    Column("SIZE", right=True),
    Column("UPDATED (UTC)", is_spare=True),
    Column("", "written {}"),
    Column("EXPIRES", "expires {}"),
    Column("OWNER", "owner {}"),
)


def listing(sessions: Sequence[Listed], now: int, *, titled: bool = False) -> Sheet:
    """A table of sessions.

    Args:
        sessions: The sessions.
        now: Unix seconds.
        titled: Whether to show what they are called.
    """
    rows = [_row(session, now) for session in sessions]
    if not titled:
        return Sheet(_COLUMNS, rows)
    titles = [one_line(session.info.title or "") if session.info else Text() for session in sessions]
    return Sheet((*_COLUMNS, Column("TITLE")), [[*row, title] for row, title in zip(rows, titles, strict=True)])


def _row(session: Listed, now: int) -> list[Text]:
    info = session.info
    style = "dim" if session.expired else ""
    if info is None:
        damaged = Text("damaged", style="bold red")
        return [unbroken(session.session_id), Text(), damaged, Text(), Text(), Text(), Text()]
    return [
        unbroken(session.session_id, style),
        Text(f"{info.items:,}", style=style),
        Text(size(stored_bytes(info)), style=style),
        Text(moment(info.updated_at)[:16], style=style),
        Text(ago(info.updated_at, now), style="dim"),
        _expiry(info.ttl, now),
        text(info.owner or "", style),
    ]


def _expiry(ttl: int | None, now: int) -> Text:
    if ttl is None:
        return Text("never", style="dim")
    return Text(ago(ttl, now), style="red" if ttl <= now else "")


def stored_bytes(info: SessionInfo) -> int:
    """What a session occupies, with what it will write over."""
    return info.head_bytes + info.part_bytes + info.garbage_bytes


def spent(units: Spent) -> str:
    """What a command has consumed."""
    written = f" and {units.write_units:,.1f} write units" if units.write_units else ""
    return f"{many(units.requests, 'request')}, {units.read_units:,.1f} read units{written}"


# --- deleting --------------------------------------------------------------------------------------------------------


def to_erase(session_ids: Sequence[str]) -> RenderableType:
    """What would be deleted."""
    shown: list[RenderableType] = [unbroken(session_id) for session_id in session_ids[:FEW]]
    if len(session_ids) > FEW:
        shown.append(Text(f"and {len(session_ids) - FEW:,} more", style="dim"))
    return Group(*shown)


def erased(done: Sequence[Erased]) -> RenderableType:
    """What was deleted: each of a few, the number of many, and each that was not."""
    if len(done) <= FEW:
        return Group(*(_erased(one) for one in done))
    gone = [one for one in done if one.existed]
    orphans = sum(one.orphans for one in gone)
    beside = f", with {many(orphans, 'part')} that they did not know of" if orphans else ""
    rest = [one for one in done if not one.existed]
    lines: list[RenderableType] = [
        Text.assemble(("✓ ", "green"), f"{many(len(gone), 'session')} deleted{beside}", overflow="fold")
    ]
    return Group(*lines, *(_erased(one) for one in rest[:FEW]), *_more(len(rest)))


def _erased(one: Erased) -> RenderableType:
    if one.kept is not None:
        return Titled(one.session_id, Text(f": left alone, {one.kept}"), Text("✗ ", style="red"))
    mark = Text("✓ ", style="green") if one.existed else Text("– ", style="dim")
    orphans = f", with {many(one.orphans, 'part')} that it did not know of" if one.orphans else ""
    return Titled(one.session_id, Text(f": {'deleted' if one.existed else 'there was nothing'}{orphans}"), mark)


def _more(count: int) -> Iterator[RenderableType]:
    if count > FEW:
        yield Text(f"and {count - FEW:,} more", style="dim")


# --- importing -------------------------------------------------------------------------------------------------------


def imported(outcomes: Sequence[Mapping[str, Any]], fine: set[str]) -> RenderableType:
    """What became of the sessions of a file: each of a few, the numbers of many, and each that was not stored.

    Args:
        outcomes: Of each session its id, the number of its items, and what became of it.
        fine: The outcomes that are as asked.
    """
    if not outcomes:
        return Text("nothing to import")
    if len(outcomes) <= FEW:
        return Group(*(_imported(entry) for entry in outcomes))
    counts = Counter(entry["outcome"] for entry in outcomes)
    items = Counter[str]()
    for entry in outcomes:
        items[entry["outcome"]] += entry["items"]
    lines = [
        Text(f"{many(count, 'session')} with {many(items[outcome], 'item')} {outcome}", overflow="fold")
        for outcome, count in counts.most_common()
    ]
    rest = [entry for entry in outcomes if entry["outcome"] not in fine]
    left_out = sum(entry.get("left_out", 0) for entry in outcomes)
    if left_out:
        lines.append(text(f"{many(left_out, 'item')} that are not certain were left out: --probable"))
    return Group(*lines, *(_imported(entry) for entry in rest[:FEW]), *_more(len(rest)))


def _imported(entry: Mapping[str, Any]) -> RenderableType:
    left_out = entry.get("left_out", 0)
    without = f", without {many(left_out, 'item')} that are not certain: --probable" if left_out else ""
    return Titled(entry["session_id"], text(f": {many(entry['items'], 'item')} {entry['outcome']}{without}"))
