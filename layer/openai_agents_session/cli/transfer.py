"""Sessions as JSON lines: a line that describes the session, then a line for each item. Pure.

::

    {"session_id": "ada", "session": {"items": 2, "owner": null, "ttl": 1796000000, "created": ..., "updated_at": ...}}
    {"session_id": "ada", "item": {"role": "user", "content": "Hello"}}
    {"session_id": "ada", "item": {"role": "assistant", ...}}

Every line says whose it is, and the first how many follow: a file that was cut off is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..storage.description import SessionInfo


class TransferError(Exception):
    """A file of sessions is not one, or is not whole."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A session in a file.

    Attributes:
        session_id: The session.
        items: Its history.
        owner: Whom it is bound to, or None.
        ttl: Unix second of expiry, or None.
    """

    session_id: str
    items: list[Any]
    owner: str | None
    ttl: int | None


def dump(value: Any) -> str:
    """One line of JSON, in UTF-8 where that can be."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(value)
    return text


def lines(info: SessionInfo, items: Iterable[Any]) -> Iterator[str]:
    """The lines of a session, without line ends."""
    stored = list(items)
    described = {
        "items": len(stored),
        "owner": info.owner,
        "ttl": info.ttl,
        "created": info.created,
        "updated_at": info.updated_at,
    }
    yield dump({"session_id": info.session_id, "session": described})
    for item in stored:
        yield dump({"session_id": info.session_id, "item": item})


def sessions(source: Iterable[str]) -> Iterator[Exported]:
    """The sessions in a file, each once it has been read whole.

    Args:
        source: Its lines.

    Raises:
        TransferError: A line is not what it should be, or items are missing. The message tells the line.
    """
    current: Exported | None = None
    missing = 0
    for number, text in enumerate(source, 1):
        if not text.strip():
            continue
        line = _parsed(number, text)
        if "session" in line:
            _check_whole(current, missing, number)
            if current is not None:
                yield current
            current, missing = _begun(number, line)
        elif current is None or line["session_id"] != current.session_id or not missing:
            raise TransferError(f"line {number}: an item of session {line['session_id']!r}, which was not announced")
        else:
            current.items.append(line["item"])
            missing -= 1
    _check_whole(current, missing, None)
    if current is not None:
        yield current


def _parsed(number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise TransferError(f"line {number} is not JSON: {error}") from error
    if (
        not isinstance(line, dict)
        or not isinstance(line.get("session_id"), str)
        or not ("session" in line) ^ ("item" in line)
    ):
        raise TransferError(f"line {number} is neither a session nor an item of one")
    return line


def _begun(number: int, line: dict[str, Any]) -> tuple[Exported, int]:
    try:
        described = line["session"]
        owner, ttl = described.get("owner"), described.get("ttl")
        exported = Exported(
            line["session_id"], [], None if owner is None else str(owner), None if ttl is None else int(ttl)
        )
        return exported, int(described["items"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TransferError(f"line {number} does not describe a session: {error!r}") from error


def _check_whole(current: Exported | None, missing: int, number: int | None) -> None:
    if current is not None and missing:
        where = "the end of the file" if number is None else f"line {number}"
        raise TransferError(
            f"session {current.session_id!r} lacks {missing} of its items at {where}: was the file cut off?"
        )
