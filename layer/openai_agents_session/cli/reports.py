"""What an operator sees: values in, rich renderables out. Nothing here does I/O or asks what time it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..runs import PendingRun
from ..storage.description import SessionInfo
from .conversation import Entry
from .pricing import TurnCost
from .survey import Erased, Listed, Problem, Repair, Survey

FOLD_LINES = 6
"""How many lines of a tool's output are shown."""

_FOLD_CHARACTERS = 480
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_STYLES = {"said": "bold", "thought": "dim italic", "called": "cyan", "answered": "green", "other": "magenta"}
_MARKS = {"said": "", "thought": "", "called": "→ ", "answered": "← ", "other": ""}
_ROLES = {"user": "bold yellow", "assistant": "bold blue"}


# --- words for values ------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Text without what would move the cursor, change colours or reorder lines: strangers wrote the history."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    # Joiners make emoji and several scripts; the other formatting characters can reorder what is shown.
    allowed = character in "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    return not allowed and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"}


def size(count: int) -> str:
    """Bytes, for people."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KB"
    return f"{count / 1024 / 1024:.1f} MB"


def moment(second: int) -> str:
    """A Unix second, in UTC."""
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"second {second}"


def span(seconds: int) -> str:
    """A length of time, roughly."""
    seconds = abs(seconds)
    for unit, length in _UNITS:
        if seconds >= length * 0.99:
            return f"{round(seconds / length)} {unit}"
    return "0 s"


def ago(second: int, now: int) -> str:
    """How long ago it was."""
    return f"{span(now - second)} ago" if second <= now else f"in {span(second - now)}"


def many(count: int, word: str) -> str:
    """A number with its noun."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _text(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style, overflow="fold")


def _expiry(ttl: int | None, now: int) -> Text:
    if ttl is None:
        return Text("never", style="dim")
    return Text(ago(ttl, now), style="red" if ttl <= now else "")


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


# --- list ------------------------------------------------------------------------------------------------------------


def listing(sessions: Sequence[Listed], now: int) -> RenderableType:
    """A table of sessions."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("SESSION", overflow="fold", min_width=12)
    for name in ("ITEMS", "SIZE"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("UPDATED (UTC)", "", "EXPIRES"):
        table.add_column(name, no_wrap=True)
    table.add_column("OWNER", overflow="fold", min_width=5)
    for session in sessions:
        table.add_row(*_row(session, now), style="dim" if session.expired else "")
    return table


def _row(session: Listed, now: int) -> list[RenderableType]:
    info = session.info
    if info is None:
        return [_text(session.session_id), Text("damaged", style="bold red"), "", "", "", "", ""]
    return [
        _text(session.session_id),
        f"{info.items:,}",
        size(_stored(info)),
        moment(info.updated_at)[:16],
        Text(ago(info.updated_at, now), style="dim"),
        _expiry(info.ttl, now),
        _text(info.owner or "", "" if info.owner else "dim"),
    ]


def _stored(info: SessionInfo) -> int:
    return info.head_bytes + info.part_bytes + info.garbage_bytes


# --- show ------------------------------------------------------------------------------------------------------------


def conversation(
    info: SessionInfo, entries: Sequence[Entry], run: PendingRun | None, now: int, *, full: bool
) -> RenderableType:
    """A session as a conversation.

    Args:
        info: The session.
        entries: The newest items.
        run: What waits for an approval.
        now: Unix seconds.
        full: Whether to unfold everything.
    """
    shown: list[RenderableType] = [session(info, now), ""]
    if info.ttl is not None and info.ttl <= now:
        return Group(*shown, Text("it has expired: empty to everybody, until DynamoDB deletes it", style="red"))
    earlier = info.items - len(entries)
    if earlier > 0:
        shown += [Text(f"… {many(earlier, 'earlier item')}: --limit 0 shows all", style="dim"), ""]
    for entry in entries:
        if entry.who == "user" and entry is not entries[0]:
            shown.append("")  # a turn begins
        shown.append(_entry(entry, full=full))
    if not entries:
        shown.append(Text("nothing was said yet", style="dim"))
    if run is not None:
        shown += ["", _run(run, now)]
    return Group(*shown)


def session(info: SessionInfo, now: int) -> RenderableType:
    """What the table holds of a session."""
    grid = _grid()
    grid.add_row("session", _text(info.session_id, "bold"))
    grid.add_row("owner", _text(info.owner) if info.owner else Text("nobody", style="dim"))
    parts = f" in a head and {many(info.parts, 'part')}" if info.parts else " in one item"
    grid.add_row("history", f"{many(info.items, 'item')}, {size(_stored(info))}{parts}")
    grid.add_row("begun", f"{moment(info.created)}, {ago(info.created, now)}")
    grid.add_row("updated", f"{moment(info.updated_at)}, {ago(info.updated_at, now)}")
    if info.ttl is not None:
        grid.add_row(
            "expires", Text(f"{moment(info.ttl)}, {ago(info.ttl, now)}", style="red" if info.ttl <= now else "")
        )
    if info.leased_until is not None and info.leased_until > now:
        grid.add_row("turn", Text(f"running, its lease ends {ago(int(info.leased_until), now)}", style="yellow"))
    return grid


def _entry(entry: Entry, *, full: bool) -> RenderableType:
    title = Text(f"{entry.number:>4}  ", style="dim")
    title.append(_MARKS[entry.kind])
    title.append(printable(entry.who), style=_ROLES.get(entry.who, _STYLES[entry.kind]))
    body = printable(entry.text)
    if not full and entry.kind != "said":
        body = folded(body)
    if entry.kind == "called":
        title.append(f"({body})")
        body = ""
    if entry.reference:
        title.append(f"  {printable(entry.reference)}", style="dim")
    title.overflow = "fold"
    if not body:
        return title
    style = "dim" if entry.kind in {"thought", "other"} else ""
    return Group(title, Padding(Text(body, style=style, overflow="fold"), (0, 0, 0, 6), expand=False))


def folded(text: str) -> str:
    """The beginning of a long text, with what is left out said."""
    lines = text.splitlines() or [""]
    shown = "\n".join(lines[:FOLD_LINES])
    if len(shown) > _FOLD_CHARACTERS:
        return f"{shown[:_FOLD_CHARACTERS]} … {len(text) - _FOLD_CHARACTERS:,} more characters (--full)"
    if len(lines) > FOLD_LINES:
        return f"{shown}\n… {many(len(lines) - FOLD_LINES, 'more line')} (--full)"
    return shown


def _run(run: PendingRun, now: int) -> RenderableType:
    waits = "waits for approval" if run.status == "pending" else "is being resumed"
    title = Text(f"run {run.run_id} {waits}, parked {ago(run.created, now)}", style="bold yellow")
    calls = [
        Text(f"      {printable(call.tool)}({folded(printable(call.arguments))})  {printable(call.call_id)}")
        for call in run.approvals
    ]
    return Group(title, *calls)


# --- verify and repair -----------------------------------------------------------------------------------------------


def survey(result: Survey, now: int) -> RenderableType:
    """What a look through the table found."""
    shown: list[RenderableType] = [_looked_at(result)]
    if result.leftovers:
        last = max(problem.expires or 0 for problem in result.leftovers)
        text = (
            f"{many(len(result.leftovers), 'leftover')} of expired sessions, {size(_bytes(result.leftovers))}: "
            f"DynamoDB deletes them after {moment(last)[:10]}, repair does so now"
        )
        shown.append(Text(text, style="dim"))
    if result.problems:
        shown += ["", problems(result.problems), "", Text(_verdict(result.problems), style="bold red")]
    else:
        shown.append(Text("everything is in order", style="bold green"))
    return Group(*shown)


def _looked_at(result: Survey) -> str:
    expired = f" ({result.expired:,} expired)" if result.expired else ""
    runs = f", {many(result.runs, 'parked run')}" if result.runs else ""
    return (
        f"{many(result.sessions, 'session')}{expired}{runs}, {many(result.parts, 'part')}: "
        f"{many(result.items, 'item')} of the table, {size(result.bytes)}"
    )


def problems(found: Iterable[Problem]) -> RenderableType:
    """A table of what is wrong."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("SESSION", overflow="fold", min_width=12)
    table.add_column("PROBLEM", no_wrap=True)
    table.add_column("ITEM", overflow="fold", min_width=10)
    table.add_column("WHAT", overflow="fold", min_width=24)
    for problem in found:
        style = "yellow" if problem.is_stray else "red"
        table.add_row(
            _text(problem.session_id), Text(problem.kind, style=style), _text(problem.key), _text(_detail(problem))
        )
    return table


def _detail(problem: Problem) -> str:
    if problem.total_items is not None:
        return f"{problem.detail}; {problem.intact_items:,} of {many(problem.total_items, 'item')} intact"
    if problem.intact_items is not None:
        return f"{problem.detail}; {many(problem.intact_items, 'item')} can be read"
    return f"{problem.detail}, {size(problem.bytes)}" if problem.bytes else problem.detail


def _verdict(found: Sequence[Problem]) -> str:
    damaged = len({problem.session_id for problem in found if problem.is_damage})
    unknown = len({problem.session_id for problem in found if problem.kind == "unknown format"})
    strays = [problem for problem in found if problem.is_stray]
    said = [many(damaged, "damaged session")] if damaged else []
    if unknown:
        said.append(f"{many(unknown, 'session')} of a newer version of the library")
    if strays:
        said.append(f"{many(len(strays), 'item')} that no session uses, {size(_bytes(strays))}")
    return f"{' and '.join(said)}: see repair --dry-run"


def _bytes(found: Iterable[Problem]) -> int:
    return sum(problem.bytes for problem in found)


def plan(found: Sequence[Problem]) -> RenderableType:
    """What repairing would do."""
    lines: list[RenderableType] = []
    for session_id in dict.fromkeys(problem.session_id for problem in found):
        mine = [problem for problem in found if problem.session_id == session_id]
        lines.append(Text.assemble(printable(session_id), ": ", "; ".join(_steps(mine)), overflow="fold"))
    return Group(*lines)


def _steps(mine: Sequence[Problem]) -> list[str]:
    steps: list[str] = []
    run_damaged = any(p.is_damage and p.key.startswith(f"{p.session_id}#~run") for p in mine)
    beheaded = next((p for p in mine if p.kind == "damaged head" and p.key == p.session_id), None)
    if beheaded is not None:
        intact = "what" if beheaded.intact_items is None else f"the {many(beheaded.intact_items, 'item')} that"
        steps.append(f"make a new head from {intact} can be read")
    lost = [p for p in mine if p.kind == "damaged part" and not run_damaged and p.total_items is not None]
    if lost:
        steps.append(f"keep {lost[0].intact_items:,} of {many(lost[0].total_items or 0, 'item')}, give up the others")
    if run_damaged:
        steps.append("discard the parked run")
    if any(p.kind == "unknown format" for p in mine):
        steps.append("nothing: a newer version of the library wrote it")
    strays = [p for p in mine if p.is_stray]
    if strays:
        steps.append(f"delete {many(len(strays), 'item')} that no session uses, {size(_bytes(strays))}")
    return steps


def repairs(done: Sequence[Repair]) -> RenderableType:
    """What repairing did."""
    return Group(*(_repaired(repair) for repair in done))


def _repaired(repair: Repair) -> Text:
    said: list[str] = []
    recovered = repair.recovered
    if recovered is not None and recovered.changed:
        lost = "an unknown number" if recovered.lost_items is None else f"{recovered.lost_items:,}"
        said.append(f"{many(recovered.kept_items, 'item')} kept, {lost} lost")
    if repair.discarded_run:
        said.append("parked run discarded")
    if repair.deleted:
        said.append(f"{many(len(repair.deleted), 'item')} deleted")
    if repair.failed:
        said.append(repair.failed)
    if repair.left:
        said.append(f"{many(len(repair.left), 'problem')} left")
    mark = Text("✗ ", style="red") if repair.left or repair.failed else Text("✓ ", style="green")
    return Text.assemble(
        mark, printable(repair.session_id), ": ", printable("; ".join(said) or "in order by now"), overflow="fold"
    )


# --- the others ------------------------------------------------------------------------------------------------------


def erased(done: Sequence[Erased]) -> RenderableType:
    """What was deleted."""
    lines: list[RenderableType] = []
    for one in done:
        mark = Text("✓ ", style="green") if one.existed else Text("– ", style="dim")
        what = "deleted" if one.existed else "there was nothing"
        orphans = f", with {many(one.orphans, 'part')} that it did not know of" if one.orphans else ""
        lines.append(Text.assemble(mark, printable(one.session_id), f": {what}{orphans}", overflow="fold"))
    return Group(*lines)


def cost(turn: TurnCost, read_price: float, write_price: float) -> RenderableType:
    """What a turn costs."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("A TURN NOW")
    for name in ("WARM", "COLD"):
        table.add_column(name, justify="right")
    table.add_row("read units", f"{turn.read_units_warm:,.1f}", f"{turn.read_units_cold:,.1f}")
    appended = f"{turn.appends * turn.append_write_units:,.1f}"
    table.add_row(f"write units, {many(turn.appends, 'append')}", appended, appended)
    sealing = f"{turn.sealing_write_units:,.1f}"
    table.add_row("write units, sealing and merging (estimate)", sealing, sealing)
    table.add_row(
        Text("dollars for 1,000 turns", style="bold"),
        Text(f"${turn.dollars_warm:,.4f}", style="bold"),
        Text(f"${turn.dollars_cold:,.4f}", style="bold"),
    )
    notes = (
        f"storage {size(turn.storage_bytes)}; ${read_price:g} a million read units, ${write_price:g} a million write "
        "units. Warm: the process has the parts cached."
    )
    return Group(
        Text.assemble("session ", (printable(turn.session_id), "bold")), "", table, "", Text(notes, style="dim")
    )
