"""A session as a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...conversations import TurnSpan
from ...runs import PendingRun
from ...storage.description import SessionInfo
from ...storage.turn_log import OpenTurn, Outcome
from ...storage.usage import NO_USAGE, Usage
from ..conversation import Entry
from ..layout import Trailed, text, unbroken
from ..words import ago, many, moment, printable, size
from .sessions import stored_bytes

FOLD_LINES = 6
"""How many lines of a tool's output are shown."""

FOLD_CHARACTERS = 480
"""How many characters of a tool's output are shown."""

MESSAGE_LINES, MESSAGE_CHARACTERS = 60, 4_800
"""The same of what somebody said."""

_STYLES = {"said": "bold", "thought": "dim italic", "called": "cyan", "answered": "green", "other": "magenta"}
_MARKS = {"said": "", "thought": "", "called": "→ ", "answered": "← ", "other": ""}
_ROLES = {"user": "bold yellow", "assistant": "bold blue"}
_INDENT = 6
_OUTCOMES = {
    Outcome.ANSWERED: ("answered", "dim"),
    Outcome.WAITING: ("waiting: stopped until somebody decides", "yellow"),
    Outcome.ABANDONED: ("abandoned: stopped or broken off, then another message came", "yellow"),
    Outcome.REFUSED: ("refused: by the model", "yellow"),
    Outcome.INPUT_BLOCKED: ("input_blocked: a guardrail refused the message", "yellow"),
    Outcome.OUTPUT_BLOCKED: ("output_blocked: a guardrail refused the answer", "yellow"),
    Outcome.MAX_TURNS: ("max_turns: the agent came to no end", "red"),
    Outcome.CONTEXT_FULL: ("context_full: the model cannot read so much", "red"),
    Outcome.FAILED: ("failed: the function's log says why", "red"),
    Outcome.CLEARED: ("cleared", "dim"),
}


@dataclass(frozen=True, slots=True)
class Turns:
    """What a head remembers of turns.

    Attributes:
        done: The newest that are done, oldest first.
        open: The one that is not, or None.
    """

    done: Sequence[TurnSpan]
    open: OpenTurn | None


def conversation(
    info: SessionInfo, entries: Sequence[Entry], turns: Turns, run: PendingRun | None, now: int, *, full: bool
) -> RenderableType:
    """A session as a conversation.

    Args:
        info: The session.
        entries: The newest items.
        turns: Of these, those with an item among the entries are shown.
        run: What waits for an approval.
        now: Unix seconds.
        full: Whether to unfold everything.
    """
    shown: list[RenderableType] = [*_session(info, now), ""]
    if info.ttl is not None and info.ttl <= now:
        return Group(*shown, text("it has expired: empty to everybody, until DynamoDB deletes it", "red"))
    earlier = info.items - len(entries)
    if earlier > 0:
        shown += [text(f"… {many(earlier, 'earlier item')}: --limit 0 shows all", "dim"), ""]
    for entry in entries:
        if entry.who == "user" and entry is not entries[0]:
            shown.append("")  # a turn begins
        shown.append(_entry(entry, full=full))
    if not entries:
        shown.append(Text("nothing was said yet", style="dim"))
    if lines := list(_turns(info, turns, earlier, now)):
        shown += ["", *lines]
    if run is not None:
        shown += ["", _run(run, now)]
    return Group(*shown)


def _turns(info: SessionInfo, turns: Turns, earlier: int, now: int) -> Iterator[Text]:
    """How the turns ended whose items are shown, and what is known of one that has not."""
    for turn in turns.done:
        if turn.last > earlier:
            yield _turn(turn.first, turn.last, *_OUTCOMES[turn.outcome], _used(turn.usage))
    if turns.open is not None and not _is_held(info, now):
        told = "unfinished: stopped or failed, or its environment died"
        yield _turn(turns.open.first, info.items, told, "red")


def _turn(first: int, last: int, told: str, style: str, used: str = "") -> Text:
    which = f"item {last:,}" if last <= first + 1 else f"items {first + 1:,} to {last:,}"
    return Text.assemble((f"turn     {which}: ", "dim"), (told, style), (used, "dim"), overflow="fold")


def _used(usage: Usage) -> str:
    if usage == NO_USAGE:
        return ""
    tokens = f"{many(usage.input_tokens, 'input token')}, {many(usage.output_tokens, 'output token')}"
    return f" ({many(usage.requests, 'model call')}, {tokens})"


def _is_held(info: SessionInfo, now: int) -> bool:
    return info.leased_until is not None and info.leased_until > now


def _session(info: SessionInfo, now: int) -> list[RenderableType]:
    """What the table holds of a session."""
    parts = f" in a head and {many(info.parts, 'part')}" if info.parts else " in one item"
    lines: list[RenderableType] = [
        Text.assemble(("session  ", "dim"), unbroken(info.session_id, "bold"), no_wrap=True, overflow="ignore"),
        _fact("owner", text(info.owner) if info.owner else Text("(none)", style="dim")),
        _fact("history", f"{many(info.items, 'item')}, {size(stored_bytes(info))}{parts}"),
        _fact("begun", f"{moment(info.created)}, {ago(info.created, now)}"),
        _fact("updated", f"{moment(info.updated_at)}, {ago(info.updated_at, now)}"),
    ]
    if info.ttl is not None:
        style = "red" if info.ttl <= now else ""
        lines.append(_fact("expires", Text(f"{moment(info.ttl)}, {ago(info.ttl, now)}", style=style)))
    if info.leased_until is not None and _is_held(info, now):
        ends = ago(int(info.leased_until), now)
        lines.append(_fact("turn", Text(f"running, its lease ends {ends}", style="yellow")))
    return lines


def _fact(name: str, value: Text | str) -> Text:
    return Text.assemble((f"{name:<9}", "dim"), value, overflow="fold")


def _entry(entry: Entry, *, full: bool) -> RenderableType:
    title = Text(f"{entry.number:>4}  ", style="dim")
    title.append(_MARKS[entry.kind])
    title.append(printable(entry.who), style=_ROLES.get(entry.who, _STYLES[entry.kind]))
    body = entry.text
    if not full:
        is_message = entry.kind == "said"
        body = folded(body, *((MESSAGE_LINES, MESSAGE_CHARACTERS) if is_message else (FOLD_LINES, FOLD_CHARACTERS)))
    body = printable(body)
    if entry.kind == "called":
        title.append(f"({body})")
        body = ""
    title.overflow = "fold"
    shown: list[RenderableType] = [Trailed(title, entry.reference, _INDENT) if entry.reference else title]
    if body:
        style = "dim" if entry.kind in {"thought", "other"} else ""
        shown.append(Padding(Text(body, style=style, overflow="fold"), (0, 0, 0, _INDENT), expand=False))
    return Group(*shown)


def folded(text: str, most_lines: int = FOLD_LINES, most_characters: int = FOLD_CHARACTERS) -> str:
    """The beginning of a long text, with what is left out said."""
    lines = text.splitlines() or [""]
    shown = "\n".join(lines[:most_lines])
    if len(shown) > most_characters:
        return f"{shown[:most_characters]} … {len(text) - most_characters:,} more characters (--full)"
    if len(lines) > most_lines:
        return f"{shown}\n… {many(len(lines) - most_lines, 'more line')} (--full)"
    return text


def _run(run: PendingRun, now: int) -> RenderableType:
    waits = "waits for approval" if run.status == "pending" else "is being resumed"
    title = text(f"run {run.run_id} {waits}, parked {ago(run.created, now)}", "bold yellow")
    calls = [
        Trailed(text(f"      {call.tool}({folded(printable(call.arguments))})"), call.call_id, _INDENT)
        for call in run.approvals
    ]
    return Group(title, *calls)
