"""What a head says about its conversation beside the history: title, metadata, usage, and where the list has it.

::

    title    S  what the conversation is called; projected into the index
    active   N  Unix millisecond of the first write on the day of the last one: the sort key of the index
    profile  B  the rest: whether the title was derived, the fraction of updated_at, metadata, usage

``active`` changes once a day at the most: a change of an index key is paid for with a delete and a put. Only a session
that has an owner and items has it, so no other is in the index. A session without any of this has none of the
attributes. Release 1.0.0 does not know them and drops them, without harm to the history.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .record import DamagedRecordError, RecordReader, RecordWriter, UnknownFormatError
from .titles import copy_title, derived_title, stem
from .usage import DAY_SECONDS, NO_LEDGER, Ledger

METADATA_LIMIT_BYTES = 512
"""Longest metadata as JSON, in UTF-8 bytes. It is paid for with every write."""

NO_METADATA = "{}"
_FORMAT = 1
_DAY_MILLISECONDS = 1000 * DAY_SECONDS
_LATEST_MILLISECOND = 1000 << 40


@dataclass(frozen=True, slots=True)
class Profile:
    """What a head says about its conversation.

    Attributes:
        title: What it is called, or None.
        is_derived: Whether the title was taken from the first question.
        metadata: A JSON object, as text.
        ledger: What its model calls have used.
        active: Unix millisecond of the first write on the day of the last one; None where the list does not have it.
        milliseconds: What ``updated_at`` lacks, 0 to 999; 0 where the list does not have it.
    """

    title: str | None = None
    is_derived: bool = False
    metadata: str = NO_METADATA
    ledger: Ledger = NO_LEDGER
    active: int | None = None
    milliseconds: int = 0

    def named(self, title: str | None, *, is_derived: bool = False) -> Profile:
        """With another title."""
        return replace(self, title=title, is_derived=is_derived and title is not None)

    def copied(self) -> Profile:
        """With the title of a copy."""
        return self if self.title is None else replace(self, title=copy_title(self.title))

    def without_derived_title(self) -> Profile:
        """Without a title that was taken from a question, which is gone."""
        return self.named(None) if self.is_derived else self

    def without_title_of(self, items: Iterable[Any]) -> Profile:
        """Without a title that was taken from these items, which go; also where it is a copy's."""
        derived = derived_title(items)
        if self.title is None or derived is None or stem(self.title) != stem(derived):
            return self
        return self.without_derived_title()

    def listed(self, second: int, milliseconds: int) -> Profile:
        """As the list has it, after a write at this time."""
        at = second * 1000 + milliseconds
        is_same_day = self.active is not None and self.active // _DAY_MILLISECONDS == at // _DAY_MILLISECONDS
        return replace(self, active=self.active if is_same_day else at, milliseconds=milliseconds)

    def unlisted(self) -> Profile:
        """As it is where the list does not have it."""
        return replace(self, active=None, milliseconds=0)

    def described(self) -> dict[str, Any]:
        """The metadata as a fresh value."""
        values: dict[str, Any] = json.loads(self.metadata)
        return values

    # --- stored form -----------------------------------------------------------------------------------------------

    def attributes(self) -> dict[str, dict[str, Any]]:
        """The attributes of the head that hold it: none where there is nothing to say."""
        attributes: dict[str, dict[str, Any]] = {}
        if self.title is not None:
            attributes["title"] = {"S": self.title}
        if self.active is not None:
            attributes["active"] = {"N": str(self.active)}
        if replace(self, title=None, active=None) != NO_PROFILE:
            attributes["profile"] = {"B": self._pack()}
        return attributes

    def _pack(self) -> bytes:
        record = RecordWriter()
        text = b"" if self.metadata == NO_METADATA else self.metadata.encode()
        for number in (_FORMAT, int(self.is_derived), self.milliseconds, len(text)):
            record.number(number)
        record.raw(text)
        if self.ledger != NO_LEDGER:
            self.ledger.write(record)
        return record.seal()


NO_PROFILE = Profile()


def from_head(attributes: Mapping[str, Mapping[str, Any]]) -> Profile:
    """The profile that a head's item holds.

    Raises:
        DamagedRecordError: It cannot be read. So do ``KeyError`` and ``TypeError``.
    """
    title = attributes["title"]["S"] if "title" in attributes else None
    active = _millisecond(attributes["active"]["N"]) if "active" in attributes else None
    profile = _unpacked(bytes(attributes["profile"]["B"])) if "profile" in attributes else NO_PROFILE
    return replace(profile, title=title, active=active)


def _millisecond(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < _LATEST_MILLISECOND):
        raise DamagedRecordError("active is no millisecond")
    return int(text)


def _unpacked(packed: bytes) -> Profile:
    record = RecordReader(packed)
    if record.number() != _FORMAT:
        raise UnknownFormatError("the profile is of a format that this version does not know")
    is_derived, milliseconds = bool(record.number()), record.number()
    text = record.raw(record.number())
    ledger = NO_LEDGER if record.is_at_end else Ledger.read(record)
    if milliseconds > 999:
        raise DamagedRecordError("a fraction of a second is out of range")
    return Profile(None, is_derived, _metadata(text), ledger, None, milliseconds)


def _metadata(text: bytes) -> str:
    if not text:
        return NO_METADATA
    try:
        is_object = len(text) <= METADATA_LIMIT_BYTES and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"the metadata is not JSON: {error}") from error
    if not is_object:
        raise DamagedRecordError("the metadata is no JSON object of this size")
    return text.decode()
