"""What a conversation is called: derived from the first question, or given. Pure.

A title is one line of text that can be shown anywhere: it stands in lists, in an index, and in terminals.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

TITLE_LIMIT_CHARACTERS = 100
"""Longest title that may be given."""

TITLE_LIMIT_BYTES = 256
"""The same in UTF-8 bytes. A title is paid for with every write of its session."""

DERIVED_CHARACTERS = 60
"""Longest title that is taken from a question."""

_DERIVED_BYTES = 120
_READ_CHARACTERS = 4_000
_ELLIPSIS = "…"
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
_COPY = re.compile(r" \(copy(?: (\d{1,6}))?\)$")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def one_line(text: str) -> str:
    """Text on one line: white space of any kind is a space, what controls the display or is no character is gone."""
    spaced = " ".join(text.split())  # every line and paragraph separator is white space
    kept = "".join(mark for mark in spaced if mark in _JOINERS or unicodedata.category(mark) not in _HIDDEN)
    return " ".join(kept.strip(_JOINERS).split())


def derived_title(items: Iterable[Any]) -> str | None:
    """A title from the first question among items, or None where there is none to take it from."""
    for item in items:
        if isinstance(item, dict) and item.get("role") == "user" and (text := one_line(_text(item.get("content")))):
            return _shortened(text)
    return None


def copy_title(title: str) -> str:
    """What a copy is called, so that a list tells it from its original: "Lisbon (copy)", then "Lisbon (copy 2)"."""
    marked = _COPY.search(title)
    mark = f" (copy {int(marked[1] or 1) + 1})" if marked else " (copy)"
    base = stem(title)
    cut = _cut(base, TITLE_LIMIT_CHARACTERS - len(mark), TITLE_LIMIT_BYTES - len(mark))
    return (base if cut == base else cut.rstrip() + _ELLIPSIS) + mark


def stem(title: str) -> str:
    """A title without what tells a copy from its original."""
    return _COPY.sub("", title)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content[:_READ_CHARACTERS]
    pieces = content if isinstance(content, list) else []
    texts = (piece.get("text") for piece in pieces if isinstance(piece, dict))
    return " ".join(text[:_READ_CHARACTERS] for text in texts if isinstance(text, str))


def _shortened(text: str) -> str:
    cut = _cut(text, DERIVED_CHARACTERS, _DERIVED_BYTES)
    if cut == text:
        return text
    words, _, _ = cut.rpartition(" ")
    return (words if len(words) > len(cut) // 2 else cut).rstrip() + _ELLIPSIS


def _cut(text: str, characters: int, size: int) -> str:
    """The beginning of a text, cut before a character that does not go on with the one before."""
    if len(text) <= characters and len(text.encode()) <= size:
        return text
    end = min(len(text), characters - 1)
    while len(text[:end].encode()) > size - len(_ELLIPSIS.encode()):
        end -= 1
    while end > 1 and (_goes_on(text[end]) or text[end - 1] in _JOINERS):
        end -= 1
    return text[:end]


def _goes_on(mark: str) -> bool:
    return mark in _JOINERS or unicodedata.combining(mark) > 0 or unicodedata.category(mark) in {"Mn", "Me", "Mc", "Sk"}
