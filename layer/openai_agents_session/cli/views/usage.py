"""What a conversation is called, what became of it, and what was used."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from ...conversations import ConversationInfo
from ...storage.usage import NO_USAGE, Usage
from ..layout import Column, Sheet, Titled, one_line, text
from ..words import many

_COLUMNS = (
    Column("OWNER", is_id=True),
    Column("DAY (UTC)"),
    Column("CALLS", "{} calls", right=True),
    Column("INPUT", "{} input", right=True),
    Column("CACHED", "{} cached", right=True),
    Column("OUTPUT", "{} output", right=True),
    Column("REASONING", "{} reasoning", right=True),
    Column("TOKENS", "{} tokens", right=True),
)


def described(info: ConversationInfo) -> RenderableType:
    """What a conversation is called now."""
    title = text(": no title") if info.title is None else Text.assemble(": ", one_line(info.title, "bold"))
    return Titled(info.session_id, title)


def forked(source: str, copy: ConversationInfo) -> RenderableType:
    """A copy that was made."""
    rest = Text.assemble(f": {many(copy.items, 'item')} of ", one_line(source), overflow="fold")
    return Titled(copy.session_id, rest, Text("✓ ", style="green"))


def redacted(session_id: str, number: int, *, changed: bool) -> RenderableType:
    """An item that was redacted."""
    what = "is redacted" if changed else "was redacted before; older copies of it are deleted"
    return Titled(session_id, text(f": item {number:,} {what}"), Text("✓ ", style="green"))


def usage(sums: Sequence[tuple[tuple[str | None, str], Usage]]) -> Sheet:
    """A table of what was used, with the sum of all below."""
    rows = [_row("(none)" if owner is None else owner, day, used) for (owner, day), used in sums]
    total = NO_USAGE
    for _, used in sums:
        total += used
    return Sheet(_COLUMNS, [*rows, _row("total", "", total)])


def _row(owner: str, day: str, used: Usage) -> list[Text]:
    numbers = (
        used.requests,
        used.input_tokens,
        used.cached_tokens,
        used.output_tokens,
        used.reasoning_tokens,
        used.total_tokens,
    )
    return [one_line(owner), Text(day), *(Text(f"{number:,}") for number in numbers)]
