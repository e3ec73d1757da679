"""Looking through a table: what sessions there are, what is wrong with them, and putting it right.

A scan sees each item at some moment, and the table goes on changing. So what a scan found suspicious is examined again:
the head is read after the part was seen, and every deletion is conditional on the part still being the one that was
seen. Lives of a session follow each other and none comes back, hence a part whose life is not the head's is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import CorruptSessionError, WrongOwnerError
from ..storage.aws_errors import ConditionFailed, RequestFailed, unavailable
from ..storage.capacity import item_size
from ..storage.description import RecoveryReport, SessionInfo, info_of
from ..storage.head import Attributes, Head, from_attributes
from ..storage.keys import SEPARATOR, run_key, slot_key
from ..storage.operations import SessionStore
from ..storage.part import Part, part_from_attributes
from ..storage.record import DamagedRecordError, UnknownFormatError
from ..storage.segments import Damage
from .store import Store

Kind = Literal["damaged head", "damaged part", "unknown format", "orphan", "not a part", "leftover"]
"""A leftover is an orphan that DynamoDB will delete by itself, as parts outlive a session that expires."""

_DAMAGED = {"damaged head", "damaged part"}
_STRAYS = {"orphan", "not a part", "leftover"}

OnCount = Callable[[int], None]

_PROBE_SLOTS = 100
_AT_ONCE = 8
_ROUNDS = 3
_FEW = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """An item under a slot's key.

    Attributes:
        part: What it holds, without the data; None when it is not a part.
        size: Of the item, in bytes.
    """

    part: Part | None
    size: int


Slots = dict[str, Seen]
Suspects = dict[str, Slots]


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
        """Whether it is something that no session uses."""
        return self.kind in _STRAYS


@dataclass(slots=True)
class Survey:
    """What a look through the table, or at some sessions, found.

    Attributes:
        items: Items of the table that were looked at.
        sessions: Sessions, expired ones included.
        expired: Of these, expired ones: empty to everybody, waiting for DynamoDB to delete them.
        runs: Runs parked for an approval.
        parts: Items that hold parts of histories.
        bytes: Size of all items looked at.
        problems: What is wrong.
        leftovers: What is left of sessions that expired, until DynamoDB deletes it.
    """

    items: int = 0
    sessions: int = 0
    expired: int = 0
    runs: int = 0
    parts: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[Problem] = field(default_factory=list)

    @property
    def is_doubtful(self) -> bool:
        """Whether so much looks damaged that the fault is more likely ours: another version's table, another tool's."""
        damaged = len({problem.session_id for problem in self.problems if not problem.is_stray})
        return damaged > max(_FEW, self.sessions // 2)

    def add(self, found: Iterable[Problem]) -> None:
        """Sort in what was found."""
        for problem in found:
            (self.leftovers if problem.kind == "leftover" else self.problems).append(problem)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about one session.

    Attributes:
        session_id: The session.
        recovered: What ``recover`` did, where something was damaged.
        discarded_run: Whether a parked run that could not be read was discarded.
        deleted: Keys of what was deleted.
        left: What is still wrong.
        failed: Why repairing it stopped, or None.
    """

    session_id: str
    recovered: RecoveryReport | None
    discarded_run: bool
    deleted: tuple[str, ...]
    left: tuple[Problem, ...]
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted of one session.

    Attributes:
        session_id: The session.
        existed: Whether the table held anything of it.
        orphans: Parts that no head knew of, deleted besides.
    """

    session_id: str
    existed: bool
    orphans: int


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


# --- pure ------------------------------------------------------------------------------------------------------------


def head_key(key: str) -> str | None:
    """The key of the head that a slot belongs to; None when the key is not a slot's."""
    head, separator, slot = key.rpartition(SEPARATOR)
    return head if separator and slot.isdecimal() and slot_key(head, int(slot)) == key else None


def session_of(key: str) -> str:
    """The session that an item belongs to, whatever kind of item it is."""
    return key.partition(SEPARATOR)[0]


def size_of(item: Attributes) -> int:
    """The size of an item in bytes, without attributes that only somebody else can have put there."""
    return item_size({name: value for name, value in item.items() if value.keys() <= {"S", "N", "B"}})


def seen(item: Attributes) -> Seen:
    """What an item under a slot's key is."""
    try:
        return Seen(replace(part_from_attributes(item), data=b""), size_of(item))
    except DamagedRecordError:
        return Seen(None, size_of(item))


def listed(item: Attributes, now: int) -> Listed:
    """A session's line in a listing."""
    key: str = item["session_id"]["S"]
    try:
        head = from_attributes(key, item, now)
    except DamagedRecordError:
        return Listed(key, None, expired=False)
    return Listed(key, info_of(head, size_of(item)), expired=head.ttl is not None and head.ttl <= now)


def strays_of(head: Head, slots: Mapping[str, Seen]) -> list[Problem]:
    """Which of the items under a head's slots no head will ever use or delete."""
    live = {slot_key(head.session_id, slot) for segment in head.manifest.segments for slot in segment.slots}
    found: list[Problem] = []
    for key, item in slots.items():
        part = item.part
        if part is None:
            if key not in live:
                found.append(_stray(key, "not a part", "something else lies under the key of a part", item))
        elif not head.exists or part.epoch != head.epoch:
            detail = "of an earlier life of its session" if head.exists else "its session is gone"
            found.append(_stray(key, "orphan" if part.expires is None else "leftover", detail, item))
        elif int(key.rpartition(SEPARATOR)[2]) >= head.manifest.slot_count:
            found.append(_stray(key, "orphan", "its session does not know of it", item))
    return found


def _stray(key: str, kind: Kind, detail: str, item: Seen) -> Problem:
    expires = item.part.expires if item.part is not None else None
    return Problem(session_of(key), key, kind, detail, bytes=item.size, expires=expires)


# --- looking ---------------------------------------------------------------------------------------------------------


async def scan(
    store: Store, *, heads_only: bool, on_page: OnCount | None = None, after: str | None = None
) -> AsyncIterator[Attributes]:
    """Every item of the table, in no order.

    Args:
        store: The table.
        heads_only: Leave out parts.
        on_page: Told of each page, with the number of items in it.
        after: The key of the item to go on after.
    """
    start: Attributes | None = {"session_id": {"S": after}} if after is not None else None
    while True:
        items, start = await store.table.scan_page(start, store.patience(), heads_only=heads_only)
        if on_page is not None:
            on_page(len(items))
        for item in items:
            yield item
        if start is None:
            return


async def listing(store: Store, *, on_page: OnCount | None = None, after: str | None = None) -> AsyncIterator[Listed]:
    """Every session in the table, expired ones included."""
    now = store.now()
    async for item in scan(store, heads_only=True, on_page=on_page, after=after):
        if SEPARATOR not in item["session_id"]["S"]:
            yield listed(item, now)


async def collect_table(store: Store, on_page: OnCount) -> tuple[Survey, Suspects]:
    """Look through the whole table: what there is, and what must be examined."""
    result = Survey()
    suspects: Suspects = {}
    now = store.now()
    async for item in scan(store, heads_only=False, on_page=on_page):
        key: str = item["session_id"]["S"]
        result.items += 1
        result.bytes += size_of(item)
        head = head_key(key)
        if head is not None:
            result.parts += 1
            suspects.setdefault(head, {})[key] = seen(item)
        else:
            if _counted(result, key, item, now):
                suspects.setdefault(key, {})
    return result, suspects


async def collect_sessions(store: Store, session_ids: Iterable[str]) -> tuple[Survey, Suspects]:
    """Look at some sessions only, with all that lies beside them."""
    result = Survey()
    suspects: Suspects = {}
    now = store.now()
    for session_id in session_ids:
        for key in (session_id, run_key(session_id)):
            slots = await probe(store, key)  # before the head: what is seen then cannot be of a later life
            item = await store.table.read_item(key, store.patience())
            result.parts += len(slots)
            result.items += len(slots) + (item is not None)
            result.bytes += sum(slot.size for slot in slots.values()) + (size_of(item) if item else 0)
            if item:
                _counted(result, key, item, now)
            if item or slots:
                suspects[key] = slots
    return result, suspects


def _counted(result: Survey, key: str, item: Attributes, now: int) -> bool:
    """Count a head; whether it must be examined."""
    if SEPARATOR in key:
        result.runs += 1
    else:
        result.sessions += 1
    entry = listed(item, now)
    result.expired += entry.expired and SEPARATOR not in key
    return entry.info is None or "parts" in item


async def examine_all(store: Store, result: Survey, suspects: Suspects, on_done: OnCount | None = None) -> None:
    """Examine what was collected, and add what is wrong to the result.

    Args:
        store: The table.
        result: What was found so far.
        suspects: By head, what was seen under its slots.
        on_done: Told of each that was examined.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str, slots: Slots) -> list[Problem]:
        async with gate:
            problems = await examine(store.engine(key), slots)
            if on_done is not None:
                on_done(1)
            return problems

    for problems in await asyncio.gather(*(one(key, slots) for key, slots in sorted(suspects.items()))):
        result.add(sorted(problems, key=lambda problem: (problem.kind, problem.key)))


async def probe(store: Store, key: str) -> Slots:
    """What lies under a head's slots, found by asking for them until a hundred in a row are missing."""
    slots: Slots = {}
    start = 0
    while True:
        keys = {slot_key(key, slot): 64 * 1024 for slot in range(start, start + _PROBE_SLOTS)}
        parts = await store.table.read_parts(keys, store.patience(), consistent=True)
        if not parts:
            return slots
        for found, part in parts.items():
            slots[found] = Seen(None, 0) if part is None else Seen(replace(part, data=b""), len(part.data))
        start += _PROBE_SLOTS


async def examine(engine: SessionStore, slots: Mapping[str, Seen]) -> list[Problem]:
    """What is wrong with a session, now.

    Args:
        engine: The session's.
        slots: What was seen under its slots before.
    """
    while True:
        item = await engine.table.read_item(engine.session_id, engine.budget())
        try:
            head = engine.committer.decoded(item)
        except CorruptSessionError as error:
            return [await _damaged_head(engine, item, error.__cause__)]
        damaged = await _damaged(engine, head)
        if not damaged:
            return await _confirmed(engine, strays_of(head, slots), slots)
        again = await engine.table.read_item(engine.session_id, engine.budget())
        if (again or {}).get("commit") == (item or {}).get("commit"):
            return [*damaged, *await _confirmed(engine, strays_of(head, slots), slots)]


async def _confirmed(engine: SessionStore, strays: Iterable[Problem], slots: Mapping[str, Seen]) -> list[Problem]:
    """Those that are still there: a clear deletes the parts that a scan has seen, and then their head."""
    found: list[Problem] = []
    for problem in strays:
        item = await engine.table.read_item(problem.key, engine.budget())
        if item is not None and _identity(seen(item)) == _identity(slots[problem.key]):
            found.append(problem)
    return found


def _identity(slot: Seen) -> tuple[bytes, int] | None:
    return None if slot.part is None else (slot.part.epoch, slot.part.generation)


async def _damaged_head(engine: SessionStore, item: Attributes | None, cause: BaseException | None) -> Problem:
    session_id = session_of(engine.session_id)
    if isinstance(cause, UnknownFormatError):
        return Problem(session_id, engine.session_id, "unknown format", str(cause))
    intact: int | None = None
    try:
        await engine.inspected(item)
    except CorruptSessionError as error:
        intact = error.intact_items
    return Problem(session_id, engine.session_id, "damaged head", str(cause), intact)


async def _damaged(engine: SessionStore, head: Head) -> list[Problem]:
    live = head.as_of(engine.now())
    loaded = await engine.segments.load(live.epoch, live.manifest.segments, engine.budget())
    intact = live.tail.count + sum(len(piece) for piece in loaded if not isinstance(piece, Damage))
    return [
        Problem(session_of(piece.key), piece.key, "damaged part", piece.reason, intact, live.count)
        for piece in loaded
        if isinstance(piece, Damage)
    ]


# --- putting it right ------------------------------------------------------------------------------------------------


async def repair(store: Store, session_id: str, problems: Iterable[Problem]) -> Repair:
    """Recover what can be read of a session, and delete what nobody will use.

    Examines it again after each step: recovering a damaged session frees what then can be deleted.
    """
    recovered: RecoveryReport | None = None
    discarded = False
    deleted: list[str] = []
    left = list(problems)
    for _ in range(_ROUNDS):
        if not left:
            break
        for key in sorted({head_key(p.key) or p.key for p in left if p.is_damage}):
            if key == session_id:
                recovered = await store.engine(key).recover()
            else:  # a run of which a piece is missing cannot be resumed
                await _erase(store, key)
                discarded = True
        strays = [problem.key for problem in left if problem.is_stray]
        deleted += [key for key in strays if await _delete(store, key)]
        now, suspects = await collect_sessions(store, [session_id])
        await examine_all(store, now, suspects)
        left = now.problems + now.leftovers
    return Repair(session_id, recovered, discarded, tuple(deleted), tuple(left))


async def erase(store: Store, session_id: str, owner: str | None = None) -> Erased:
    """Delete a session with everything that lies beside it, known to a head or not.

    Args:
        store: The table.
        session_id: The session.
        owner: Whose it must be, or nothing is deleted; None for anybody's.
    """
    existed, orphans = False, 0
    for key in (session_id, run_key(session_id)):
        try:
            found, strayed = await _erase(store, key, owner)
        except WrongOwnerError:  # it was deleted and begun by somebody else since it was found
            continue
        existed, orphans = existed or found, orphans + strayed
    return Erased(session_id, existed or orphans > 0, orphans)


async def _erase(store: Store, key: str, owner: str | None = None) -> tuple[bool, int]:
    item = await store.table.read_item(key, store.patience())
    if item is not None:
        try:
            await store.engine(key, owner).clear()
        except CorruptSessionError:
            await _settled(lambda: store.table.delete_seen(key, item), store)
    orphans = 0
    for problem in await _remaining(store, key):
        orphans += await _delete(store, problem.key)
    return item is not None, orphans


async def _remaining(store: Store, key: str) -> list[Problem]:
    slots = await probe(store, key)
    engine = store.engine(key)
    return (
        strays_of(engine.committer.decoded(await store.table.read_item(key, store.patience())), slots) if slots else []
    )


async def _delete(store: Store, key: str) -> bool:
    """Delete a stray, if it is one still. Whether it was deleted."""
    item = await store.table.read_item(key, store.patience())
    owner = head_key(key)
    if item is None or owner is None:
        return False
    found = seen(item)
    head = store.engine(owner).committer.decoded(await store.table.read_item(owner, store.patience()))
    if not strays_of(head, {key: found}):
        return False
    part = found.part
    if part is None:
        return await _settled(lambda: store.table.delete_key(key), store)
    return await _settled(lambda: store.table.delete_part(key, part.epoch, part.generation + 1), store)


async def _settled(delete: Callable[[], Awaitable[None]], store: Store) -> bool:
    """Make a conditional deletion until its outcome is known. Whether it was made."""
    patience = store.patience()
    while True:
        try:
            await delete()
            return True
        except ConditionFailed:
            return False
        except RequestFailed as failure:
            if not await patience.pause():
                raise unavailable(store.table.name, patience, failure) from failure.cause
