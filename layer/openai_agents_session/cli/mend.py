"""Putting a table right, and deleting sessions: what changes something.

Every deletion is conditional on the item still being the one that was seen. What this library did not write is never
deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import CorruptSessionError, WrongOwnerError
from ..storage.description import RecoveryReport
from ..storage.head import Attributes
from ..storage.keys import keys_beside
from .recognise import Problem, Slots, head_key, is_head, listed, seen, strays_of
from .store import Store
from .survey import collect_sessions, examine_all, probe

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done about one session.

    Attributes:
        session_id: The session.
        recovered: What ``recover`` did, where a part was damaged.
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
        kept: Why it was left alone, or None.
    """

    session_id: str
    existed: bool
    orphans: int
    kept: str | None = None


async def repair(store: Store, session_id: str, problems: Iterable[Problem]) -> Repair:
    """Recover what can be read of a session with a readable head, and delete what nobody will use.

    Examines it again after each step: recovering a damaged session frees what then can be deleted.
    """
    recovered: RecoveryReport | None = None
    discarded = False
    deleted: list[str] = []
    left = list(problems)
    for _ in range(_ROUNDS):
        mendable = [problem for problem in left if not problem.needs_a_person]
        if not mendable:
            break
        for key in sorted({head_key(p.key) or p.key for p in mendable if p.is_damage}):
            if key == session_id:
                recovered = await store.session(session_id).recover()
            else:  # a run of which a piece is missing cannot be resumed
                await _erase(store, key, await store.table.read_item(key, store.patience()))
                discarded = True
        strays = [problem.key for problem in mendable if problem.is_stray]
        deleted += [key for key in strays if await _delete(store, key)]
        now, suspects, _ = await collect_sessions(store, [session_id])
        await examine_all(store, now, suspects)
        left = now.problems + now.leftovers
    return Repair(session_id, recovered, discarded, tuple(deleted), tuple(left))


async def erase(
    store: Store,
    session_id: str,
    owner: str | None = None,
    slots: Mapping[str, Slots] | None = None,
    *,
    only_expired: bool = False,
) -> Erased:
    """Delete a session with everything that lies beside it, known to a head or not.

    Args:
        store: The table.
        session_id: The session.
        owner: Whose it must be, or nothing is deleted; None for anybody's.
        slots: By head, what a scan saw under its slots; None to ask for them.
        only_expired: Leave it alone if it has been written since, so that it has not expired any more.
    """
    existed, orphans = False, 0
    for key in keys_beside(session_id):
        item = await store.table.read_item(key, store.patience())
        kept = _spared(store, item, only_expired=only_expired)
        try:
            if kept is None:
                found = None if slots is None else slots.get(key, {})
                orphans += await _erase(store, key, item, owner, found, only_seen=only_expired)
                existed = existed or item is not None
        except WrongOwnerError:
            kept = "it was begun again by somebody else"
        if kept is not None and key == session_id:
            return Erased(session_id, False, 0, kept)
    return Erased(session_id, existed or orphans > 0, orphans)


def _spared(store: Store, item: Attributes | None, *, only_expired: bool) -> str | None:
    """Why an item is not to be deleted, or None."""
    if item is None:
        return None
    if not is_head(item):
        return "the item under this id is not a session"
    if only_expired and not listed(item, store.now()).expired:
        return "it has been written since"
    return None


async def _erase(
    store: Store,
    key: str,
    item: Attributes | None,
    owner: str | None = None,
    slots: Slots | None = None,
    *,
    only_seen: bool = False,
) -> int:
    """Delete a head with its parts, and those it does not know of. Returns how many these were."""
    known = 0
    if item is not None:
        try:
            head = store.head(key, item)
        except CorruptSessionError:
            only_seen, head = True, store.head(key, None)
        if only_seen:  # its parts are strays as soon as it is gone
            known = (
                head.manifest.slot_count
                if await store.settled(lambda budget: store.table.delete_seen(key, item, budget))
                else 0
            )
        else:
            await store.engine(key, owner).clear()
            slots = None if slots is None else {stray.key: slots[stray.key] for stray in strays_of(head, slots)}
    slots = await probe(store, key) if slots is None else slots
    strays = await _remaining(store, key, slots) if slots else []
    return max(0, sum([await _delete(store, stray.key) for stray in strays]) - known)


async def _remaining(store: Store, key: str, slots: Slots) -> list[Problem]:
    head = store.head(key, await store.table.read_item(key, store.patience()))
    return [problem for problem in strays_of(head, slots) if problem.is_stray]


async def _delete(store: Store, key: str) -> bool:
    """Delete a stray, if it is one still. Whether it was deleted."""
    item = await store.table.read_item(key, store.patience())
    owner = head_key(key)
    if item is None or owner is None:
        return False
    found = seen(item)
    head = store.head(owner, await store.table.read_item(owner, store.patience()))
    if not any(problem.is_stray for problem in strays_of(head, {key: found})):
        return False
    part = found.part
    if part is None:
        return await store.settled(lambda budget: store.table.delete_key(key, budget))
    return await store.settled(lambda budget: store.table.delete_part(key, part.epoch, part.generation + 1, budget))
