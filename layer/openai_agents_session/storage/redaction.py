"""An item without its content: a notice stands in its place, in a form that a model accepts. Pure."""

from __future__ import annotations

from typing import Any

NOTICE = "[redacted]"
"""What stands in place of a content, where nothing else is asked for."""

NOTICE_LIMIT_CHARACTERS = 1_000
"""Longest notice."""

_KEPT = ("type", "role", "id", "call_id", "status", "name", "namespace", "phase")


def redacted(item: Any, notice: str) -> dict[str, Any]:
    """An item that says the notice and nothing else; what ties it to others, such as a call's id, stays.

    Args:
        item: An item of a history, of any kind.
        notice: What it is to say.
    """
    values = item if isinstance(item, dict) else {}
    kept = {name: values[name] for name in _KEPT if isinstance(values.get(name), str)}
    kind = str(values.get("type", "message" if "role" in values else ""))
    if kind.endswith("_output"):
        return {**kept, "output": notice}
    if kind.endswith("_call"):
        return {**kept, **_asked(values)}
    if kind == "reasoning":
        return {**kept, "summary": [{"type": "summary_text", "text": notice}]}
    if kind == "message":
        return {**kept, "content": _said(values, notice)}
    return {**kept, "redacted": notice}


def _asked(values: dict[str, Any]) -> dict[str, Any]:
    """What a call asks for: nothing. A hosted tool's call has no arguments to begin with."""
    return {name: empty for name, empty in (("arguments", "{}"), ("input", "")) if name in values}


def _said(values: dict[str, Any], notice: str) -> Any:
    if not isinstance(values.get("content"), list):
        return notice
    if values.get("role") == "assistant":
        return [{"type": "output_text", "text": notice, "annotations": []}]
    return [{"type": "input_text", "text": notice}]
