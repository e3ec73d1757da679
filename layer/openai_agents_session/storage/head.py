"""The head: the one item that decides what a session's history is.

::

    session_id         S  the id, the table's partition key
    conversation_data  S  the newest items as a JSON list; all of them, while the session is one item
    updated_at         N  Unix seconds of the last write
    ttl                N  Unix seconds from which the session is expired; absent when it never is
    commit             B  id of the last write: what every write is conditional on
    state              B  epoch, creation time, receipts, checksum of what else makes up the history
    parts              B  manifest of the slots, once the session may have any
    tail               B  the newest items, packed, when segments stand before them;
                          conversation_data then says "sealed", on which a reader that knows nothing of segments fails
                          instead of taking the tail for the whole
    owner              S  whom the session is bound to, if anybody
    lease              S  who runs the present turn and until when, if anybody
    turns              B  the newest turns, where they are asked for by name: with a checksum of its own, since release
                          1.0.0 drops it without harm
    title, active, profile   title, metadata, usage, and where the list has the session: see profile.py

Heads are values. Every operation maps one head to the next; writing the result on the condition that ``commit`` has not
changed is the one commit point of the store. Nothing here awaits, and time is an argument.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from .items import NOTHING, Items, from_json, unpack
from .manifest import NO_PARTS, Manifest
from .profile import NO_PROFILE, Profile
from .profile import from_head as profile_from_head
from .receipts import COMMIT_BYTES, Receipts
from .record import DamagedRecordError, RecordReader, RecordWriter, UnknownFormatError
from .turn_log import NO_TURNS, TurnLog

Attributes = Mapping[str, Mapping[str, Any]]

SEALED = "sealed"
EPOCH_BYTES = 6
_FORMAT = 1
_CHECKSUM_BYTES = 4
_LATEST_SECOND = Decimal(1 << 40)
_LATEST_MILLISECOND = 1000 << 40

# The checksum covers these: a head that lost "parts" would otherwise be read as a short session. Expiry is left out:
# operators may change it.
_BELONGING = ("commit", "conversation_data", "tail", "parts", "owner", "lease")
_OWN = ("commit", "state", "parts", "tail")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a turn.

    Attributes:
        token: Commit id of the write that took it: the fencing token.
        until: Unix time in milliseconds at which it runs out.
    """

    token: bytes
    until: int

    def pack(self) -> str:
        """The stored form."""
        return f"{self.token.hex()}@{self.until}"

    @classmethod
    def unpack(cls, packed: str) -> Lease:
        """The lease that ``pack`` packed. Raises ``DamagedRecordError``."""
        token, _, until = packed.partition("@")
        try:
            lease = cls(bytes.fromhex(token), int(until))
        except ValueError as error:
            raise DamagedRecordError(f"lease: {error}") from error
        if not 0 <= lease.until < _LATEST_MILLISECOND:
            raise DamagedRecordError("lease: its end is out of range")
        return lease


@dataclass(frozen=True, slots=True)
class Head:
    """A session's head, as stored or about to be.

    Attributes:
        session_id: The id.
        tail: The newest items.
        manifest: The sealed items before them.
        commit: Id of the write that stored it; None when absent, or written by the reference library.
        epoch: Changes when a head begins where there was none; parts of an earlier one never count.
        created: Unix second in which the present conversation began.
        receipts: The recent writes.
        updated_at: Unix second of the last write.
        ttl: Unix second of expiry, or None.
        owner: Whom it is bound to, or None.
        lease: Who runs the present turn, or None.
        exists: Whether the table holds it.
        foreign_text: ``conversation_data`` of a head that the reference library wrote, as it stood, else None.
        turns: The newest turns.
        profile: Title, metadata, usage, and where the list has it.
    """

    session_id: str
    tail: Items
    manifest: Manifest
    commit: bytes | None
    epoch: bytes
    created: int
    receipts: Receipts
    updated_at: int
    ttl: int | None
    owner: str | None
    lease: Lease | None
    exists: bool
    foreign_text: str | None = None
    turns: TurnLog = NO_TURNS
    profile: Profile = NO_PROFILE

    @property
    def count(self) -> int:
        """Items in the history."""
        return self.manifest.count + self.tail.count

    def is_same(self, other: Head) -> bool:
        """Whether both are the same stored item: what is to replace one could still replace the other."""
        return (self.exists, self.commit, self.foreign_text) == (other.exists, other.commit, other.foreign_text)

    # --- transitions -----------------------------------------------------------------------------------------------

    def as_of(self, now: int) -> Head:
        """The head, or an empty one in its place if it has expired.

        What an expired one knew of slots and receipts goes on: the slots are garbage, the receipts still true.
        """
        if self.ttl is None or now < self.ttl:
            return self
        return replace(
            self,
            tail=NOTHING,
            manifest=self.manifest.first(0),
            created=now,
            ttl=None,
            owner=None,
            lease=None,
            turns=NO_TURNS,
            profile=NO_PROFILE,
        )

    def first(self, count: int) -> Head:
        """With only the first ``count`` items of the history. A title from a question goes with the last of them."""
        sealed, turns = self.manifest.count, self.turns.within(count)
        profile = self.profile if count else self.profile.without_derived_title()
        kept = replace(self, turns=turns, profile=profile)
        if count >= sealed:
            return replace(kept, tail=self.tail.first(count - sealed))
        return replace(kept, tail=NOTHING, manifest=self.manifest.first(count))

    def plus(self, batch: Items) -> Head:
        """With a batch at the end."""
        return replace(self, tail=self.tail + batch)

    def committed(self, commit: bytes, now: int, ttl: int | None, *, keep: int) -> Head:
        """As it will stand once the write ``commit`` is made, with ``keep`` receipts."""
        return replace(
            self,
            commit=commit,
            receipts=self.receipts.plus(commit, keep=keep),
            updated_at=now,
            ttl=ttl,
            exists=True,
            foreign_text=None,
        )

    # --- stored form -----------------------------------------------------------------------------------------------

    def attributes(self, tail: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The stored item.

        Args:
            tail: The attributes that hold the newest items: how they are stored is for the layout to decide.
        """
        attributes: dict[str, dict[str, Any]] = {
            "session_id": {"S": self.session_id},
            **tail,
            "updated_at": {"N": str(self.updated_at)},
        }
        if self.commit is not None:
            attributes["commit"] = {"B": self.commit}
        if self.ttl is not None:
            attributes["ttl"] = {"N": str(self.ttl)}
        if self.manifest.slot_count:
            attributes["parts"] = {"B": self.manifest.pack()}
        if self.owner is not None:
            attributes["owner"] = {"S": self.owner}
        if self.lease is not None:
            attributes["lease"] = {"S": self.lease.pack()}
        if self.turns is not NO_TURNS and self.turns != NO_TURNS:
            attributes["turns"] = {"B": self.turns.pack()}
        if self.profile is not NO_PROFILE:
            attributes |= self.profile.attributes()
        attributes["state"] = {"B": self._pack_state(_checksum(attributes))}
        return attributes

    def _pack_state(self, checksum: bytes) -> bytes:
        record = RecordWriter()
        record.number(_FORMAT)
        record.raw(self.epoch)
        record.number(self.created)
        record.number(self.tail.count)
        self.receipts.write(record)
        record.raw(checksum)
        return record.seal()


def absent(session_id: str, now: int) -> Head:
    """The head of a session that the table does not hold."""
    return Head(
        session_id=session_id,
        tail=NOTHING,
        manifest=NO_PARTS,
        commit=None,
        epoch=secrets.token_bytes(EPOCH_BYTES),
        created=now,
        receipts=Receipts(),
        updated_at=now,
        ttl=None,
        owner=None,
        lease=None,
        exists=False,
    )


def from_attributes(session_id: str, attributes: Attributes | None, now: int) -> Head:
    """The head that an item holds, whoever wrote it.

    Args:
        session_id: The session.
        attributes: The item, or None when there is none.
        now: Unix seconds.

    Raises:
        DamagedRecordError: When the item is not a head that can be read.
    """
    if not attributes:
        return absent(session_id, now)
    try:
        if any(name in attributes for name in _OWN):
            return _own(session_id, attributes)
        return _foreign(session_id, attributes, now)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"attribute {error} is missing or of the wrong type") from error
    except UnicodeError as error:
        raise DamagedRecordError(f"it has text that is not Unicode: {error}") from error


def _own(session_id: str, attributes: Attributes) -> Head:
    record = RecordReader(_binary(attributes["state"]))
    if record.number() != _FORMAT:
        raise UnknownFormatError("its format is not one this version knows: use the version that wrote it")
    epoch, created, tail_count = record.raw(EPOCH_BYTES), record.number(), record.number()
    commit = _binary(attributes["commit"])
    if len(commit) != COMMIT_BYTES:
        raise DamagedRecordError("commit has the wrong length")
    tail = _tail(attributes, tail_count)
    receipts = Receipts.read(record)
    if record.raw(_CHECKSUM_BYTES) != _checksum(attributes):
        raise DamagedRecordError("its attributes do not belong together")
    return Head(
        session_id=session_id,
        tail=tail,
        manifest=Manifest.unpack(_binary(attributes["parts"])) if "parts" in attributes else NO_PARTS,
        commit=commit,
        epoch=epoch,
        created=created,
        receipts=receipts,
        updated_at=stored_seconds(attributes, "updated_at") or created,
        ttl=stored_seconds(attributes, "ttl"),
        owner=attributes["owner"]["S"] if "owner" in attributes else None,
        lease=Lease.unpack(attributes["lease"]["S"]) if "lease" in attributes else None,
        exists=True,
        turns=TurnLog.unpack(_binary(attributes["turns"])) if "turns" in attributes else NO_TURNS,
        profile=profile_from_head(attributes),
    )


def glimpse(session_id: str, attributes: Attributes) -> tuple[Head, int]:
    """A head without its newest items, and how many items its history has: for a list, which does not read them.

    Args:
        session_id: The session.
        attributes: The item; ``tail`` and ``conversation_data`` may be missing.

    Raises:
        DamagedRecordError: It cannot be read.
    """
    try:
        record = RecordReader(_binary(attributes["state"]))
        if record.number() != _FORMAT:
            raise UnknownFormatError("its format is not one this version knows: use the version that wrote it")
        epoch, created, tail_count = record.raw(EPOCH_BYTES), record.number(), record.number()
        head = replace(
            absent(session_id, created),
            epoch=epoch,
            manifest=Manifest.unpack(_binary(attributes["parts"])) if "parts" in attributes else NO_PARTS,
            updated_at=stored_seconds(attributes, "updated_at") or created,
            ttl=stored_seconds(attributes, "ttl"),
            owner=attributes["owner"]["S"] if "owner" in attributes else None,
            exists=True,
            profile=profile_from_head(attributes),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"attribute {error} is missing or of the wrong type") from error
    return head, head.manifest.count + tail_count


def _tail(attributes: Attributes, count: int) -> Items:
    """The newest items, whole: an append joins texts without looking at them, so they are looked at here."""
    if "tail" not in attributes:
        tail = from_json(attributes["conversation_data"]["S"])
        if tail.count != count:
            raise DamagedRecordError(f"conversation_data holds {tail.count} items where {count} were written")
        return tail
    tail = Items(unpack(_binary(attributes["tail"])), count)
    tail.decode()
    if not (tail.text.startswith(b"[") and tail.text.endswith(b"]")):
        raise DamagedRecordError("tail has white space around its list")
    return tail if count else NOTHING


def epoch_of(attributes: Attributes) -> bytes | None:
    """The epoch of a damaged head, where it can still be read, or None."""
    try:
        record = RecordReader(_binary(attributes["state"]))
        return record.raw(EPOCH_BYTES) if record.number() == _FORMAT else None
    except (DamagedRecordError, KeyError, TypeError):
        return None


def _checksum(attributes: Attributes) -> bytes:
    checksum = 0
    for name in _BELONGING:
        if name in attributes:
            ((_, content),) = attributes[name].items()
            checksum = zlib.crc32(name.encode(), checksum)
            checksum = zlib.crc32(content.encode() if isinstance(content, str) else bytes(content), checksum)
    return checksum.to_bytes(_CHECKSUM_BYTES, "big")


def _foreign(session_id: str, attributes: Attributes, now: int) -> Head:
    text = attributes["conversation_data"]["S"] if "conversation_data" in attributes else None
    updated_at = stored_seconds(attributes, "updated_at") or now
    return replace(
        absent(session_id, now),
        tail=from_json(text) if text is not None else NOTHING,
        created=updated_at,
        updated_at=updated_at,
        ttl=stored_seconds(attributes, "ttl"),
        exists=True,
        foreign_text=text,
    )


def stored_seconds(attributes: Attributes, name: str) -> int | None:
    """A Unix second that an item holds, or None. A fraction is cut off; what is out of range counts as its end.

    Raises:
        DamagedRecordError: It is not a number.
    """
    if name not in attributes:
        return None
    try:
        return int(min(max(Decimal(attributes[name]["N"]), Decimal(0)), _LATEST_SECOND))
    except ArithmeticError as error:
        raise DamagedRecordError(f"{name} is not a number") from error


def _binary(value: Mapping[str, Any]) -> bytes:
    content: bytes = value["B"]
    return bytes(content)
