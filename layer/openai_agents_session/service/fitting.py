"""Answers that Lambda can carry: at most 6 MB, counted as they go over the wire.

Over HTTP an answer is JSON inside JSON, and a runtime may write all but ASCII as escapes: a quotation mark has four
bytes there, an emoji fourteen. So sizes are those of the escaped form, never of the text.
"""

from __future__ import annotations

import json
from typing import Any

MAX_ANSWER_BYTES = 6_000_000
"""Lambda refuses an answer of more than 6 MB (6,291,556 bytes), and its caller gets an error that says nothing."""

MAX_ITEMS_BYTES = 5_500_000
"""What of that a page of a history may have."""

LARGE_ITEM_BYTES = 1_000_000
"""An item of more is cut where there are others: it must not hide them, and nobody reads it in a list."""

_KEPT_CHARACTERS = 10_000
_KEPT_URL_CHARACTERS = 1_000


def wire_size(value: Any) -> int:
    """Bytes of a JSON value in an answer over HTTP, at the most."""
    return len(json.dumps(json.dumps(value, ensure_ascii=False)))


def cut(value: Any) -> Any:
    """A JSON value whose long texts are cut, each with a note of what is left out."""
    match value:
        case dict():
            return {name: cut(member) for name, member in value.items()}
        case list():
            return [cut(member) for member in value]
        case str() if value.startswith("data:") and len(value) > _KEPT_URL_CHARACTERS:
            return f"(left out: {len(value)} characters of {value.partition(';')[0][:100]})"
        case str() if len(value) > _KEPT_CHARACTERS:
            return f"{value[:_KEPT_CHARACTERS]}… (left out: {len(value) - _KEPT_CHARACTERS} characters)"
    return value


def shortened(value: dict[str, Any], most: int) -> dict[str, Any]:
    """A JSON object in at most so many bytes: its long texts cut, or else its large members left out, with a note."""
    short: dict[str, Any] = cut(value)
    if wire_size(short) <= most:
        return short
    sizes = {name: wire_size(member) for name, member in short.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        short[name] = f"(left out: {sizes[name]} bytes)"
        if wire_size(short) <= most:
            break
    return short


def fitted(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that Lambda can carry: the same, or with its long texts cut and ``"cut": true``."""
    if wire_size(answer) <= MAX_ANSWER_BYTES:
        return answer
    return {**shortened(answer, MAX_ANSWER_BYTES - 100), "cut": True}
