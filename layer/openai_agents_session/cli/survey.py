"""Looking through a table: what sessions there are, and what is wrong with them. Changes nothing.

A scan sees each item at some moment, and the table goes on changing. So what a scan found suspicious is examined again:
the head is read after the part was seen. Lives of a session follow each other and none comes back, hence a part whose
life is not the head's is dead.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from ..errors import CorruptSessionError
from ..storage.head import Attributes, Head
from ..storage.keys import SEPARATOR, keys_beside, slot_key
from ..storage.record import UnknownFormatError
from ..storage.salvage import salvage
from ..storage.segments import Damage
from .pool import AT_ONCE, in_order
from .recognise import (
    Listed,
    Problem,
    Seen,
    Slots,
    Survey,
    described,
    head_key,
    is_head,
    key_of,
    listed,
    seen,
    session_of,
    size_of,
    strays_of,
)
from .store import Store

OnCount = Callable[[int], None]
Suspects = dict[str, Slots]

_PROBE_SLOTS = 100
_PROBED_BYTES = 64 * 1024


async def scan(
    store: Store, *, heads_only: bool, on_page: OnCount | None = None, after: str | None = None
) -> AsyncGenerator[tuple[str, Attributes]]:
    """Every item of the table with its key, in no order but always in the same.

    Args:
        store: The table.
        heads_only: Leave out parts.
        on_page: Told of each page, with the number of items in it.
        after: The key of the item to go on after.

    Raises:
        NotOursError: The table has another key than a table of sessions.
    """
    start: Attributes | None = {"session_id": {"S": after}} if after is not None else None
    while True:
        items, start = await store.table.scan_page(start, store.patience(), heads_only=heads_only)
        if on_page is not None:
            on_page(len(items))
        for item in items:
            yield key_of(item, store.table.name), item
        if start is None:
            return


async def listing(store: Store, *, on_page: OnCount | None = None, after: str | None = None) -> AsyncGenerator[Listed]:
    """Every session in the table, expired ones included. What is not a session is passed over."""
    now = store.now()
    async with aclosing(scan(store, heads_only=True, on_page=on_page, after=after)) as items:
        async for key, item in items:
            if SEPARATOR not in key and is_head(item):
                yield listed(item, now)


async def unlisted(store: Store) -> AsyncGenerator[str]:
    """The sessions that belong into the list of their owner and are not there: an older version wrote them last."""
    now = store.now()
    async with aclosing(scan(store, heads_only=True)) as items:
        async for key, item in items:
            if SEPARATOR in key or "owner" not in item or "active" in item or not is_head(item):
                continue
            with contextlib.suppress(CorruptSessionError):
                if store.head(key, item).as_of(now).count:
                    yield key


# --- collecting ------------------------------------------------------------------------------------------------------


async def collect_table(store: Store, on_page: OnCount) -> tuple[Survey, Suspects]:
    """Look through the whole table: what there is, and what must be examined."""
    result = Survey()
    suspects: Suspects = {}
    now = store.now()
    async with aclosing(scan(store, heads_only=False, on_page=on_page)) as items:
        async for key, item in items:
            result.items += 1
            result.bytes += size_of(item)
            head = head_key(key)
            if head is not None:
                found = seen(item)
                result.parts += found.is_ours
                suspects.setdefault(head, {})[key] = found
            elif _counted(store, result, key, item, now):
                suspects.setdefault(key, {})
    return result, suspects


async def collect_sessions(store: Store, session_ids: Iterable[str]) -> tuple[Survey, Suspects, list[str]]:
    """Look at some sessions only, with all that lies beside them.

    Returns:
        What there is, what must be examined, and the ids under which there is nothing.
    """
    result = Survey()
    suspects: Suspects = {}
    missing: list[str] = []
    now = store.now()
    for session_id in session_ids:
        before = result.items
        for key in keys_beside(session_id):
            slots = await probe(store, key)  # before the head: what is seen then cannot be of a later life
            item = await store.table.read_item(key, store.patience())
            result.parts += sum(slot.is_ours for slot in slots.values())
            result.items += len(slots) + (item is not None)
            result.bytes += sum(slot.size for slot in slots.values()) + (size_of(item) if item else 0)
            is_suspicious = item is not None and _counted(store, result, key, item, now)
            if slots or is_suspicious:
                suspects[key] = slots
        if result.items == before:
            missing.append(session_id)
    return result, suspects, missing


def _counted(store: Store, result: Survey, key: str, item: Attributes, now: int) -> bool:
    """Count an item that is no part. Whether it must be examined: its head is damaged, or it has parts."""
    if not is_head(item):
        result.note_foreign(key)
        return False
    is_companion = SEPARATOR in key
    result.runs += is_companion
    result.sessions += not is_companion
    try:
        head = store.head(key, item)
    except CorruptSessionError:
        return True
    result.expired += described(head, item, now).expired and not is_companion
    return bool(head.manifest.segments)


async def probe(store: Store, key: str) -> Slots:
    """What lies under a head's slots, found by asking for them until a hundred in a row are missing."""
    slots: Slots = {}
    start = 0
    while True:
        keys = {slot_key(key, slot): _PROBED_BYTES for slot in range(start, start + _PROBE_SLOTS)}
        parts = await store.table.read_parts(keys, store.patience(), consistent=True)
        if not parts:
            return slots
        for found, part in parts.items():
            if part is not None:
                slots[found] = Seen(replace(part, data=b""), len(part.data))
            elif (item := await store.table.read_item(found, store.patience())) is not None:
                slots[found] = seen(item)
        start += _PROBE_SLOTS


# --- examining -------------------------------------------------------------------------------------------------------


async def examine_all(
    store: Store, result: Survey, suspects: Suspects, on_done: OnCount | None = None, at_once: int = AT_ONCE
) -> None:
    """Examine what was collected, and add what is wrong to the result.

    Args:
        store: The table.
        result: What was found so far.
        suspects: By head, what was seen under its slots.
        on_done: Told of each that was examined.
        at_once: How many to examine at a time.
    """

    async def one(suspect: tuple[str, Slots]) -> list[Problem]:
        return await examine(store, *suspect)

    async with aclosing(in_order(sorted(suspects.items(), key=lambda one: one[0]), one, at_once)) as examined:
        async for problems in examined:
            result.add(sorted(problems, key=lambda problem: (problem.kind, problem.key)))
            if on_done is not None:
                on_done(1)


async def examine(store: Store, key: str, slots: Mapping[str, Seen]) -> list[Problem]:
    """What is wrong with a session, or with what is stored beside one, now.

    Args:
        store: The table.
        key: Of its head.
        slots: What was seen under its slots before.
    """
    while True:
        item = await store.table.read_item(key, store.patience())
        if item is not None and not is_head(item):
            item = None  # somebody else's: whatever lies under its slots belongs to no session
        try:
            head = store.head(key, item)
        except CorruptSessionError as error:
            return [await _damaged_head(store, key, item, error.__cause__)]
        damaged = await _damaged(store, head)
        if not damaged:
            return await _confirmed(store, strays_of(head, slots), slots)
        again = await store.table.read_item(key, store.patience())
        if (again or {}).get("commit") == (item or {}).get("commit"):
            return [*damaged, *await _confirmed(store, strays_of(head, slots), slots)]


async def _confirmed(store: Store, strays: Iterable[Problem], slots: Mapping[str, Seen]) -> list[Problem]:
    """Those that are still there: a clear deletes the parts that a scan has seen, and then their head."""
    found: list[Problem] = []
    for problem in strays:
        item = await store.table.read_item(problem.key, store.patience())
        if item is not None and _identity(seen(item)) == _identity(slots[problem.key]):
            found.append(problem)
    return found


def _identity(slot: Seen) -> tuple[bytes, int] | None:
    return None if slot.part is None else (slot.part.epoch, slot.part.generation)


async def _damaged_head(store: Store, key: str, item: Attributes | None, cause: BaseException | None) -> Problem:
    session_id = session_of(key)
    if isinstance(cause, UnknownFormatError):
        return Problem(session_id, key, "unknown format", str(cause))
    left = await salvage(store.table, key, item, store.patience())
    detail = f"{cause}; {left.certain:,} certain and {left.probable:,} probable items can be read"
    return Problem(session_id, key, "damaged head", detail, left.certain + left.probable)


async def _damaged(store: Store, head: Head) -> list[Problem]:
    live = head.as_of(store.now())
    loaded = await store.loaded(live)
    intact = sum(len(piece) for piece in loaded if not isinstance(piece, Damage))
    return [
        Problem(session_of(piece.key), piece.key, "damaged part", piece.reason, intact, live.count)
        for piece in loaded
        if isinstance(piece, Damage)
    ]
