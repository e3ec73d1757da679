"""How a conversation and what it left in the table are shown on a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tools.emulation import meter

console = Console(highlight=False)

USER, AGENT, TOOL = "bold cyan", "bold green", "magenta"


def announce(step: str) -> None:
    """Say what is being set up, in the manner of the other tools."""
    console.print(f"==> {step}", markup=False)


def announce_store(store: Path, wanted: Path) -> None:
    """Say where conversations are kept, if it is not where they were meant to be, and where others are."""
    if store != wanted:
        announce(f"another chat or page is open: the conversations of this one are kept in {os.path.relpath(store)}")
    others = [path.name for path in sorted(wanted.parent.glob(f"{wanted.stem}-*{wanted.suffix}")) if path != store]
    if others:
        announce(f"what was said while two were open is in {', '.join(others)}: a chat finds its own by its id")


def heading(text: str) -> None:
    """Begin a part of the output."""
    console.print(Rule(Text(text, "dim"), align="left", style="dim"))


def say(who: str, style: str, text: str) -> None:
    """Show what one side said, its lines set off from the speaker."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8, justify="right", style=style)
    grid.add_column()
    grid.add_row(who, Text(text))
    console.print(grid)


def show_answer(answer: Mapping[str, Any], deciding: str = "") -> None:
    """Show what the agent answered, or why it did not.

    Args:
        answer: The function's.
        deciding: How the person decides on what waits for approval, if anything does.
    """
    for tool in answer.get("tools", []):
        say("tool", TOOL, tool)
    if "error" in answer:
        say("refused", "bold red", f"{answer['error']} (status {answer['status']})")
    elif "pending" in answer:
        show_pending(answer["pending"], deciding)
    else:
        say("agent", AGENT, answer["answer"])


def show_pending(run: Mapping[str, Any], deciding: str) -> None:
    """Show what a run waits for."""
    for call in run["approvals"]:
        needs = f"needs approval: {deciding}" if deciding else "needs approval"
        say("waits", "bold yellow", f"{call['tool']} {call['arguments']} {needs}")


def show_history(items: list[dict[str, Any]]) -> None:
    """Show a history's items as a conversation."""
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            say("calls", TOOL, f"{item['name']} {item['arguments']}")
        elif kind == "function_call_output":
            say("returns", TOOL, str(item["output"]))
        elif kind == "message":
            user = item.get("role") == "user"
            say("you" if user else "agent", USER if user else AGENT, text_of(item))


def text_of(item: Mapping[str, Any]) -> str:
    """The text of a message item."""
    content = item.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "…") for part in content)


def show_stored(items: list[Mapping[str, Mapping[str, Any]]]) -> None:
    """Show what a table holds: its items, and what is in each attribute."""
    for item in sorted(items, key=lambda item: item["session_id"]["S"]):
        console.print(Text.assemble("  item ", (item["session_id"]["S"], "bold"), f"  {_size(item):,} bytes"))
        grid = Table.grid(padding=(0, 2))
        for name, value in item.items():
            if name != "session_id":
                grid.add_row(Text(name, "yellow"), Text(_attribute(name, value), no_wrap=True, overflow="ellipsis"))
        console.print(Padding(grid, (0, 4)))


def show_bill(bill: meter.Bill, turns: int) -> None:
    """Show what the requests of some turns cost."""
    operations = ", ".join(f"{count} {name}" for name, count in bill.by_operation.items())
    console.print(f"  {bill.requests} requests: {escape(operations)}")
    console.print(f"  {bill.write_units:g} write units, {bill.read_units:g} read units")
    console.print(f"  ${bill.dollars() / turns * 1e6:.2f} per million turns such as these, at on-demand prices")


def _size(item: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    return len(content) if kind == "B" else meter.value_size({kind: content})


def _attribute(name: str, value: Mapping[str, Any]) -> str:
    ((kind, content),) = value.items()
    if name in ("updated_at", "ttl"):
        return f"{content}  ({datetime.fromtimestamp(float(content), UTC):%Y-%m-%d %H:%M:%S} UTC)"
    if name == "conversation_data" and kind == "S":
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in json.loads(content))
    if kind == "B":
        return f"{len(content):,} bytes"
    return str(content)
