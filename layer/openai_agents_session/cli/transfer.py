"""Sessions as JSON lines: a line that describes the session, then a line for each item, and in the end the sum. Pure.

::

    {"session_id": "ada", "session": {"items": 2, "owner": null, "ttl": 1796000000, "created": ..., "updated_at": ...}}
    {"session_id": "ada", "item": {"role": "user", "content": "Hello"}}
    {"session_id": "ada", "item": {"role": "assistant", ...}}
    {"exported": {"sessions": 1, "items": 2}}

Every line says whose it is, the first how many follow, and the last how many there are in all: a file that was cut off
is noticed, wherever that was. Files may be put one behind the other. In a salvaged session each item says whether it is
certain: ``"certain": true``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..storage.description import SessionInfo
from ..storage.salvage import Salvage

_AROUND_A_LINE = " \t\r\n\ufeff\x1a"
"""What a file may have around its lines once it went through Windows: byte order marks where files were joined, and the
mark of a file's end."""


class TransferError(Exception):
    """A file of sessions is not one, or is not whole."""


class IncompleteError(TransferError):
    """The file ends before its sum: sessions may be missing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A session in a file.

    Attributes:
        session_id: The session.
        items: Its history; of a salvaged one, what is certain.
        probable: Of a salvaged one, the history with what is only probable.
        owner: Whom it is bound to, or None.
        ttl: Unix second of expiry, or None.
        owner_is_certain: Whether that is so: not in a salvaged session whose head does not vouch for it.
        begun: Unix second in which the conversation began, or None.
        title: What it is called, or None.
        metadata: What was said of it.
    """

    session_id: str
    items: list[Any]
    probable: list[Any] | None
    owner_is_certain: bool
    owner: str | None
    ttl: int | None
    begun: int | None
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Count:
    """What was written to a file.

    Attributes:
        sessions: Sessions.
        items: Items of these.
    """

    sessions: int = 0
    items: int = 0

    def line(self) -> str:
        """The last line of a file."""
        return dump({"exported": {"sessions": self.sessions, "items": self.items}})


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
    described: dict[str, Any] = {
        "items": len(stored),
        "owner": info.owner,
        "ttl": info.ttl,
        "created": info.created,
        "updated_at": info.updated_at,
    }
    named = {"title": info.title, "metadata": info.metadata}
    described |= {name: value for name, value in named.items() if value}
    yield dump({"session_id": info.session_id, "session": described})
    for item in stored:
        yield dump({"session_id": info.session_id, "item": item})


def salvaged(left: Salvage) -> Iterator[str]:
    """The lines of a session of which only a part could be read, without line ends. Each says whether it is certain."""
    described = {
        "items": left.certain + left.probable,
        "owner": left.owner,
        "owner_is_certain": left.owner_is_certain,
        "ttl": left.ttl,
        "created": left.created,
        "certain_items": left.certain,
        "probable_items": left.probable,
        "lost": [{"key": lost.source, "reason": lost.reason, "items": lost.items} for lost in left.lost],
        "parts_left_out": left.others,
    }
    yield dump({"session_id": left.session_id, "session": described})
    for piece in left.pieces:
        for item in piece.items:
            told = {"session_id": left.session_id, "certain": piece.is_certain, "key": piece.source}
            yield dump({**told, "written": piece.written, "item": item})


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """Where the reading of a file stands.

    Attributes:
        begun: The description of the session that is being read, or None.
        items: What was read of it, each with whether it is certain.
        missing: How many of its items are still to come.
        count: What was read since the last sum.
    """

    begun: dict[str, Any] | None = None
    items: list[tuple[Any, bool]] = field(default_factory=list)
    missing: int = 0
    count: Count = field(default_factory=Count)
    is_summed: bool = False

    def taken(self, line: dict[str, Any], number: int) -> Exported | None:
        """Take a line. Returns the session that it completes, if any."""
        if "exported" in line:
            self._check_sum(line["exported"], number)
            return None
        self.is_summed = False
        if "session" in line:
            return self._announced(line, number)
        if self.begun is None or line["session_id"] != self.begun["session_id"] or not self.missing:
            raise TransferError(f"line {number}: an item of session {line['session_id']!r}, which was not announced")
        self.items.append((line["item"], line.get("certain", True) is True))
        self.missing -= 1
        return self._whole(number) if not self.missing else None

    def _announced(self, line: dict[str, Any], number: int) -> Exported | None:
        self.check_whole(f"line {number}")
        self.begun, self.items, self.missing = _description(line, number), [], line["session"]["items"]
        return self._whole(number) if not self.missing else None

    def _whole(self, number: int) -> Exported:
        assert self.begun is not None  # noqa: S101
        self.count = Count(self.count.sessions + 1, self.count.items + len(self.items))
        certain = [item for item, is_certain in self.items if is_certain]
        everything = [item for item, _ in self.items]
        exported = Exported(
            items=certain, probable=everything if len(certain) < len(everything) else None, **self.begun
        )
        self.begun = None
        return exported

    def _check_sum(self, told: Any, number: int) -> None:
        self.check_whole(f"line {number}")
        if not isinstance(told, dict) or not {"sessions", "items"} <= told.keys():
            raise TransferError(f"line {number} does not say how many sessions there are")
        if (told["sessions"], told["items"]) != (self.count.sessions, self.count.items):
            raise IncompleteError(
                f"incomplete: line {number} tells of {told['sessions']} sessions with {told['items']} items, and the "
                f"file holds {self.count.sessions} with {self.count.items}"
            )
        self.count, self.is_summed = Count(), True

    def check_whole(self, where: str) -> None:
        """That no item of a session is missing."""
        if self.begun is not None and self.missing:
            raise IncompleteError(
                f"incomplete: session {self.begun['session_id']!r} lacks {self.missing} of its items at {where}: was "
                "the file cut off?"
            )


def sessions(source: Iterable[str]) -> Iterator[Exported]:
    """The sessions in a file, each once it has been read whole.

    Args:
        source: Its lines.

    Raises:
        TransferError: A line is not what it should be. The message tells the line.
        IncompleteError: Items or sessions are missing. What was whole has been yielded before.
    """
    reader = _Reader()
    for number, text in enumerate(source, 1):
        line = text.strip(_AROUND_A_LINE)
        if line:
            exported = reader.taken(_parsed(number, line), number)
            if exported is not None:
                yield exported
    reader.check_whole("the end of the file")
    if reader.count.sessions and not reader.is_summed:
        raise IncompleteError(
            "incomplete: the file does not end with the line that says how many sessions there are, so some may be "
            "missing. Was the export interrupted?"
        )


def _parsed(number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TransferError(f"line {number} is not JSON: {error}") from error
    if not isinstance(line, dict) or not _is_known(line):
        raise TransferError(f"line {number} is neither a session nor an item of one")
    return line


def _is_known(line: dict[str, Any]) -> bool:
    if "exported" in line:
        return True
    return isinstance(line.get("session_id"), str) and ("session" in line) ^ ("item" in line)


def _description(line: dict[str, Any], number: int) -> dict[str, Any]:
    """The attributes of ``Exported`` that the first line of a session tells."""
    told = line["session"]
    if not isinstance(told, dict) or not _is_count(told.get("items")):
        raise TransferError(f"line {number} does not describe a session: it has no number of items")
    owner, ttl, begun = told.get("owner"), told.get("ttl"), told.get("created")
    title, metadata = told.get("title"), told.get("metadata", {})
    if not (owner is None or isinstance(owner, str)) or not (ttl is None or _is_count(ttl)):
        raise TransferError(f"line {number} does not describe a session: its owner or its ttl is of a wrong type")
    if not (title is None or isinstance(title, str)) or not isinstance(metadata, dict):
        raise TransferError(f"line {number} does not describe a session: its title or metadata is of a wrong type")
    return {
        "session_id": line["session_id"],
        "owner": owner,
        "owner_is_certain": told.get("owner_is_certain", True) is True,
        "ttl": ttl,
        "begun": begun if _is_count(begun) else None,
        "title": title,
        "metadata": metadata,
    }


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
