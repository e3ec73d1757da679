"""A windowed history that the model accepts: no tool output without its call, no call without its reasoning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_OUTPUT_SUFFIX = "_output"

OUTPUT_TYPES = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
"""Calls that the agent's own tools answer, and what their outputs are."""


def whole_start(items: Sequence[Any], start: int) -> int:
    """Where a window that should begin at ``start`` has to begin so that the model accepts it.

    A request is refused when it holds a tool output whose call is not in it, or an item that followed a reasoning item
    which is not in it. The start moves on, never back: the window then has fewer items than asked for, not more.

    Args:
        items: The history, or the end of it.
        start: Where the window should begin, from 0.

    Returns:
        The nearest acceptable position at or after ``start``.
    """
    while start < len(items):
        move = _offence(items, start)
        if move is None:
            return start
        start = move
    return start


def is_whole_cut(items: Sequence[Any], end: int) -> bool:
    """Whether a history may end at a position: no call that has its output later, no reasoning before what follows it.

    Args:
        items: The history.
        end: The position, from 0.
    """
    if not 0 < end < len(items):
        return True
    if _kind(items[end - 1]) == "reasoning":
        return False
    kept = {item["call_id"] for item in items[:end] if _is_call(item)}
    later: set[str] = set()
    for item in items[end:]:
        if _is_call(item):
            later.add(item["call_id"])
        elif _call_id(item) in kept - later:
            return False
    return True


def open_calls(items: Iterable[Any]) -> list[dict[str, Any]]:
    """The tool calls among items that have no output among them, in order."""
    calls: dict[str, dict[str, Any]] = {}
    for item in items:
        kind = _kind(item)
        if kind in OUTPUT_TYPES:
            calls[item["call_id"]] = item
        elif kind in OUTPUT_TYPES.values():
            calls.pop(item["call_id"], None)
    return list(calls.values())


def output_of(call: dict[str, Any], text: str) -> dict[str, Any]:
    """The item that gives a call this output."""
    return {"type": OUTPUT_TYPES[call["type"]], "call_id": call["call_id"], "output": text}


def _offence(items: Sequence[Any], start: int) -> int | None:
    """The position after the first item that cannot be kept, or None when all can."""
    if start and _kind(items[start - 1]) == "reasoning":
        return start + 1
    calls: set[Any] = set()
    for position in range(start, len(items)):
        item = items[position]
        call = _call_id(item)
        if call is None:
            continue
        if _is_call(item):
            calls.add(call)
        elif call not in calls:
            return position + 1
    return None


def _call_id(item: Any) -> str | None:
    call = item.get("call_id") if isinstance(item, dict) else None
    return call if isinstance(call, str) else None


def _is_call(item: Any) -> bool:
    return _call_id(item) is not None and not _kind(item).endswith(_OUTPUT_SUFFIX)


def _kind(item: Any) -> str:
    return str(item.get("type", "")) if isinstance(item, dict) else ""
