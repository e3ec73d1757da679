"""What an item of the table is: a session's head, a part, something beside a session, or somebody else's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..storage.capacity import item_size
from ..storage.description import SessionInfo, info_of
from ..storage.head import Attributes, Head, from_attributes
from ..storage.keys import SEPARATOR, slot_key
from ..storage.part import Part, part_from_attributes
from ..storage.record import DamagedRecordError

Kind = Literal["damaged head", "damaged part", "unknown format", "orphan", "not ours", "leftover"]
"""A leftover is an orphan that DynamoDB will delete by itself, as parts outlive a session that expires."""

_DAMAGED = {"damaged head", "damaged part"}
_STRAYS = {"orphan", "leftover"}

# What tells our items from others' even when some of it is lost, changed or of a wrong type. The reference library's
# have the first of these and none of the others.
_HISTORY = ("conversation_data", "S")
_OF_A_HEAD = {"commit": "B", "state": "B", "parts": "B", "tail": "B"}
_OF_A_PART = {"epoch": "B", "generation": "N", "put_id": "B", "chunk": "S", "first": "N", "count": "N", "data": "B"}
_ENOUGH_OF_A_HEAD = 2
_ENOUGH_OF_A_PART = 4
_FEW = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """An item under a slot's key.

    Attributes:
        part: What it holds, without the data; None when it cannot be read as a part.
        size: Of the item, in bytes.
        is_ours: Whether this library wrote it, readable or not.
    """

    part: Part | None
    size: int
    is_ours: bool = True


Slots = dict[str, Seen]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the table that should not be so.

    Attributes:
        session_id: Whose it is.
        key: The item at fault.
        kind: What kind of fault.
        detail: In words.
        intact_items: Of what is damaged: items of the history that can still be read.
        total_items: Of a damaged part: items of the history.
        bytes: Of what is not damaged: its size.
        expires: Of a leftover: the Unix second from which DynamoDB may delete it.
    """

    session_id: str
    key: str
    kind: Kind
    detail: str
    intact_items: int | None = None
    total_items: int | None = None
    bytes: int = 0
    expires: int | None = None

    @property
    def is_damage(self) -> bool:
        """Whether something of a history cannot be read."""
        return self.kind in _DAMAGED

    @property
    def is_stray(self) -> bool:
        """Whether it is something that no session uses, and this library wrote."""
        return self.kind in _STRAYS

    @property
    def needs_a_person(self) -> bool:
        """Whether no command puts it right by itself: a head that cannot be read, a newer format, others' items."""
        beheaded = self.kind == "damaged head" and self.key == self.session_id
        return beheaded or self.kind in {"not ours", "unknown format"}


@dataclass(slots=True)
class Survey:
    """What a look through the table, or at some sessions, found.

    Attributes:
        items: Items of the table that were looked at.
        sessions: Sessions, expired ones included.
        expired: Of these, expired ones: empty to everybody, waiting for DynamoDB to delete them.
        runs: Runs parked for an approval.
        parts: Items that hold parts of histories.
        foreign: Items that this library did not write.
        foreign_keys: The keys of a few of these.
        bytes: Size of all items looked at.
        problems: What is wrong.
        leftovers: What is left of sessions that expired, until DynamoDB deletes it.
    """

    items: int = 0
    sessions: int = 0
    expired: int = 0
    runs: int = 0
    parts: int = 0
    foreign: int = 0
    foreign_keys: list[str] = field(default_factory=list)
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[Problem] = field(default_factory=list)

    @property
    def is_somebody_elses(self) -> bool:
        """Whether the table holds items, and none of them is of a session."""
        return self.foreign > 0 and not (self.sessions or self.parts or self.runs)

    @property
    def is_doubtful(self) -> bool:
        """Whether so much looks damaged that the fault is more likely ours: another version's table, another tool's."""
        damaged = len({problem.session_id for problem in self.problems if not problem.is_stray})
        return damaged > max(_FEW, self.sessions // 2)

    def note_foreign(self, key: str) -> None:
        """Count an item that this library did not write."""
        self.foreign += 1
        if len(self.foreign_keys) < _FEW:
            self.foreign_keys.append(key)

    def add(self, found: Iterable[Problem]) -> None:
        """Sort in what was found."""
        for problem in found:
            (self.leftovers if problem.kind == "leftover" else self.problems).append(problem)


@dataclass(frozen=True, slots=True)
class Listed:
    """A session in a listing.

    Attributes:
        info: What it holds; of an expired one, what it held. None when its head is damaged.
        session_id: The session.
        expired: Whether it has expired.
    """

    session_id: str
    info: SessionInfo | None
    expired: bool


class NotOursError(Exception):
    """The table, or an item in it, is not one that this library writes."""


# --- keys ------------------------------------------------------------------------------------------------------------


def key_of(item: Attributes, table_name: str) -> str:
    """The key of an item.

    Raises:
        NotOursError: The table has another key than a table of sessions.
    """
    key = item.get("session_id", {}).get("S")
    if not isinstance(key, str):
        raise NotOursError(
            f"table {table_name!r} is no table of sessions: its partition key is not 'session_id' (String)"
        )
    return key


def head_key(key: str) -> str | None:
    """The key of the head that a slot belongs to; None when the key is not a slot's."""
    head, separator, slot = key.rpartition(SEPARATOR)
    if not separator or not slot.isdecimal() or len(slot) > _LONGEST_SLOT:
        return None
    return head if slot_key(head, int(slot)) == key else None


_LONGEST_SLOT = 18


def session_of(key: str) -> str:
    """The session that an item belongs to, whatever kind of item it is."""
    return key.partition(SEPARATOR)[0]


# --- items -----------------------------------------------------------------------------------------------------------


def is_head(item: Attributes) -> bool:
    """Whether this library or the reference one wrote an item as a head, readable or not."""
    name, kind = _HISTORY
    return isinstance(item.get(name, {}).get(kind), str) or _alike(item, _OF_A_HEAD) >= _ENOUGH_OF_A_HEAD


def is_part(item: Attributes) -> bool:
    """Whether this library wrote an item as a part, readable or not."""
    return _alike(item, _OF_A_PART) >= _ENOUGH_OF_A_PART


def _alike(item: Attributes, kinds: Mapping[str, str]) -> int:
    return sum(kind in item.get(name, {}) for name, kind in kinds.items())


def size_of(item: Attributes) -> int:
    """The size of an item in bytes, without attributes that only somebody else can have put there."""
    return item_size({name: value for name, value in item.items() if value.keys() <= {"S", "N", "B"}})


def seen(item: Attributes) -> Seen:
    """What an item under a slot's key is."""
    try:
        return Seen(replace(part_from_attributes(item), data=b""), size_of(item))
    except DamagedRecordError:
        return Seen(None, size_of(item), is_part(item))


def listed(item: Attributes, now: int) -> Listed:
    """A session's line in a listing."""
    key: str = item["session_id"]["S"]
    try:
        head = from_attributes(key, item, now)
    except DamagedRecordError:
        return Listed(key, None, expired=False)
    return described(head, item, now)


def described(head: Head, item: Attributes, now: int) -> Listed:
    """The same of a head that was read already."""
    return Listed(head.session_id, info_of(head, size_of(item)), expired=head.ttl is not None and head.ttl <= now)


def strays_of(head: Head, slots: Mapping[str, Seen]) -> list[Problem]:
    """Which of the items under a head's slots no head will ever use or delete, and which are somebody else's."""
    live = {slot_key(head.session_id, slot) for segment in head.manifest.segments for slot in segment.slots}
    found: list[Problem] = []
    for key, item in slots.items():
        part = item.part
        if not item.is_ours:
            if key not in live:
                found.append(_stray(key, "not ours", "this library did not write what lies under the key", item))
        elif part is None:
            if key not in live:
                found.append(_stray(key, "orphan", "a part that cannot be read and no session uses", item))
        elif not head.exists or part.epoch != head.epoch:
            detail = "of an earlier life of its session" if head.exists else "its session is gone"
            found.append(_stray(key, "orphan" if part.expires is None else "leftover", detail, item))
        elif int(key.rpartition(SEPARATOR)[2]) >= head.manifest.slot_count:
            found.append(_stray(key, "orphan", "its session does not know of it", item))
    return found


def _stray(key: str, kind: Kind, detail: str, item: Seen) -> Problem:
    expires = item.part.expires if item.part is not None else None
    return Problem(session_of(key), key, kind, detail, bytes=item.size, expires=expires)
