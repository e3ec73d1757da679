"""A history as a conversation: who said what, which tools were called, what they answered. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["said", "thought", "called", "answered", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a history, for a reader.

    Attributes:
        number: Its position in the history, from 1.
        kind: What kind of thing it is.
        who: The role of who said it, the tool called, the call answered, or the item's type.
        text: What was said, the arguments, or the output.
        reference: The id that ties a call to its output, or "".
    """

    number: int
    kind: Kind
    who: str
    text: str
    reference: str = ""


def entries(items: Iterable[Any], *, first: int = 1) -> list[Entry]:
    """The entries of some items.

    Args:
        items: What ``get_items`` returned.
        first: The number of the first.
    """
    tools: dict[str, str] = {}
    return [_entry(number, item, tools) for number, item in enumerate(items, first)]


def _entry(number: int, item: Any, tools: dict[str, str]) -> Entry:
    kind = str(item.get("type", "message" if "role" in item else "item"))
    reference = str(item.get("call_id") or "")
    if kind == "message" or "role" in item:
        return Entry(number, "said", str(item.get("role", "?")), _text(item.get("content")))
    if kind == "reasoning":
        return Entry(number, "thought", "reasoning", _reasoning(item))
    if kind.endswith("_output"):
        return Entry(number, "answered", tools.get(reference, kind), _text(item.get("output")), reference)
    if kind.endswith("_call"):
        tool = str(item.get("name") or kind.removesuffix("_call"))
        tools[reference] = tool
        return Entry(number, "called", tool, _arguments(item), reference)
    if "__enc__" in item:
        return Entry(
            number, "other", "encrypted", f"{len(str(item.get('payload', '')))} characters, key {item.get('kid')}"
        )
    if kind == "compaction":
        return Entry(number, "other", "compaction", "what came before was summarised by the model, encrypted")
    return Entry(number, "other", kind, _json(item))


def _arguments(item: Mapping[str, Any]) -> str:
    arguments = item.get("arguments")
    if arguments is None:  # a hosted tool: what it was asked is in the item itself
        return _json({name: value for name, value in item.items() if name not in {"id", "call_id", "type", "status"}})
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return str(arguments)
    if isinstance(values, dict):
        return ", ".join(f"{name}={_json(value)}" for name, value in values.items())
    return _json(values)


def _reasoning(item: Mapping[str, Any]) -> str:
    summary = _text(item.get("summary")) or _text(item.get("content"))
    if summary:
        return summary
    return "encrypted" if item.get("encrypted_content") else "without a summary"


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_piece(piece) for piece in content)
    return _json(content)


def _piece(piece: Any) -> str:
    if not isinstance(piece, dict):
        return str(piece)
    for name in ("text", "refusal", "transcript"):
        if isinstance(piece.get(name), str):
            return str(piece[name])
    kind = str(piece.get("type", "part"))
    source = next((piece[name] for name in ("image_url", "file_data", "file_url", "data") if piece.get(name)), "")
    name = piece.get("filename") or piece.get("file_id") or ""
    size = (
        f" {len(str(source)):,} characters"
        if str(source).startswith("data:") or kind == "input_audio"
        else f" {source}"
    )
    return f"[{' '.join(f'{kind} {name}{size}'.split())}]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
