"""What the simulation knows of the library's inside: how time and chance reach it, how what it stored is decoded."""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from openai_agents_session.storage.head import Head, from_attributes
from openai_agents_session.storage.items import unpack, values_in
from openai_agents_session.storage.keys import head_key_of, slot_key, slot_of
from openai_agents_session.storage.manifest import Segment
from openai_agents_session.storage.part import Part, part_from_attributes
from openai_agents_session.storage.record import DamagedRecordError
from openai_agents_session.storage.retry import GRACE_SECONDS

from .clock import EPOCH, VirtualLoop
from .expressions import Item

PACKAGE = "openai_agents_session"

SLACK_SECONDS = GRACE_SECONDS + 0.05
"""What an operation may take beyond its patience: what is under way then still ends."""


@contextmanager
def virtual(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Give the library the loop's time, and chance that depends on the seed alone."""
    clock = SimpleNamespace(monotonic=loop.time, perf_counter=loop.time, time=lambda: EPOCH + loop.time())
    noise = random.Random(f"library {seed}")
    with ExitStack() as patched:
        patched.enter_context(patch.object(secrets, "token_bytes", noise.randbytes))
        patched.enter_context(patch.object(secrets, "token_hex", lambda count: noise.randbytes(count).hex()))
        for name, module in sorted(sys.modules.items()):
            if name.partition(".")[0] != PACKAGE:
                continue
            for attribute, value in list(vars(module).items()):
                if value is time:
                    patched.enter_context(patch.object(module, attribute, clock))
                elif isinstance(value, random.Random):
                    patched.enter_context(patch.object(module, attribute, noise))
        yield


class DamagedHead(Exception):
    """The head cannot be read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the table holds of a session.

    Attributes:
        exists: Whether there is a head.
        names: The names of all items that the head counts, oldest first.
        holes: Those that cannot be read.
        problems: What is wrong with live parts, by key.
        live: The keys of the live parts.
        ttl: Unix second of expiry, or None.
        owner: Whom it is bound to, or None.
        token: The lease's token, or nothing.
        until: Unix milliseconds at which the lease runs out.
        epoch: The life of the session.
        slot_count: How many slots the head knows.
        commit: The id of the write that put the head there; nothing if another library did.
    """

    exists: bool = False
    names: tuple[str, ...] = ()
    holes: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)
    live: frozenset[str] = frozenset()
    ttl: int | None = None
    owner: str | None = None
    token: bytes = b""
    until: int = 0
    epoch: bytes = b""
    slot_count: int = 0
    commit: bytes = b""


def name_of(item: Any) -> str:
    """What the simulation calls an item: each has a name of its own."""
    if "run_id" in item:
        return f"{item['run_id']}:{item['status']}"
    if "state" in item:
        return str(item["state"]).partition("~")[0]
    return str(item["id"] if "id" in item else f"out:{item['call_id']}")


def is_part(key: str) -> bool:
    """Whether a key is a part's."""
    return slot_of(key) is not None


def head_key(key: str) -> str:
    """The key of the head that a part belongs to; of a head, its own."""
    return head_key_of(key) or key


def belongs(key: str, item: Item, stored: Stored) -> bool:
    """Whether a head knows of a part: it is of its life, in a slot that it has announced."""
    slot, epoch = slot_of(key), item.get("epoch", {}).get("B")
    return bool(stored.commit) and epoch == stored.epoch and slot is not None and slot < stored.slot_count


class Decoder:
    """Reads whole histories out of a table, remembering what it has read: a part never changes.

    Args:
        items: The table's.
    """

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = items
        self._parts: dict[int, tuple[Item, Part | None]] = {}
        self._segments: dict[tuple[object, ...], tuple[str, ...]] = {}

    def decode(self, key: str) -> Stored:
        """What the table holds under a head's key.

        Raises:
            DamagedHead: The head cannot be read.
        """
        item = self._items.get(key)
        if item is None:
            return Stored()
        try:
            head = from_attributes(key, item, EPOCH)
            tail = tuple(name_of(each) for each in head.tail.decode())
        except (DamagedRecordError, ValueError) as error:
            raise DamagedHead(str(error)) from error
        names: list[str] = []
        holes: list[str] = []
        problems: dict[str, str] = {}
        for segment in head.manifest.segments:
            found, wrong = self._segment(head, segment)
            names += found
            problems |= wrong
            holes += found if wrong else ()
        return Stored(
            exists=True,
            names=(*names, *tail),
            holes=frozenset(holes),
            problems=problems,
            live=frozenset(slot_key(key, slot) for segment in head.manifest.segments for slot in segment.slots),
            ttl=head.ttl,
            owner=head.owner,
            token=head.lease.token if head.lease else b"",
            until=head.lease.until if head.lease else 0,
            epoch=head.epoch,
            slot_count=head.manifest.slot_count,
            commit=head.commit or b"",
        )

    def _segment(self, head: Head, segment: Segment) -> tuple[tuple[str, ...], dict[str, str]]:
        """The names of a segment's items, and what is wrong with its parts."""
        wrong: dict[str, str] = {}
        chunks: list[bytes] = []
        for index, slot in enumerate(segment.slots):
            key = slot_key(head.session_id, slot)
            part = self._part(key)
            if problem := _problem(part, head, segment, index):
                wrong[key] = problem
            elif part is not None:
                chunks.append(part.data)
        identity = (head.session_id, head.epoch, segment.generation, segment.mark, segment.slots)
        if identity not in self._segments and not wrong:
            items = values_in(unpack(b"".join(chunks)))
            self._segments[identity] = tuple(name_of(item) for item in items)
        names = self._segments.get(identity, tuple(f"?{index}" for index in range(segment.count)))
        return names[: segment.count], wrong

    def _part(self, key: str) -> Part | None:
        item = self._items.get(key)
        if item is None:
            return None
        known = self._parts.get(id(item))
        if known is None or known[0] is not item:
            try:
                known = item, part_from_attributes(item)
            except DamagedRecordError:
                known = item, None
            self._parts[id(item)] = known
        return known[1]


def _problem(part: Part | None, head: Head, segment: Segment, index: int) -> str:
    """What is wrong with a live part; nothing if it is what the head says."""
    if part is None:
        return "is missing or unreadable"
    wanted = (head.epoch, segment.generation, segment.mark, index, len(segment.slots))
    if (part.epoch, part.generation, part.mark, part.index, part.chunks) != wanted:
        return "holds something else"
    if not part.is_intact:
        return "fails its checksum"
    if part.expires is not None and (head.ttl is None or part.expires < head.ttl):
        return "ends before its session"
    return ""
