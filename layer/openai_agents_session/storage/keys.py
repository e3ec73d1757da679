"""The table's keys: of a session's head, of its parts, and of what is stored beside it.

::

    user-42          the head
    user-42#~0       a part, in slot 0
    user-42#~run     the head of the run that waits for approval (its parts: user-42#~run#~0 ...)
    user-42#~large   the head of results that are too large for the checkpoints of a durable run
    user-42#~done    the head of what the turns were of a session that was cleared
"""

from __future__ import annotations

from .capacity import KEY_LIMIT_BYTES

SEPARATOR = "#~"
"""Stands between a session's id and what is derived from it; no session id may contain it."""

SLOT_LIMIT = 10**6
"""Slots have smaller numbers: a session of that many parts has outgrown its head long before."""

SESSION_ID_LIMIT_BYTES = KEY_LIMIT_BYTES - 16
"""Longest session id, in UTF-8 bytes: DynamoDB's limit for a key, less what a part's key adds."""

_RUN = "run"
_DONE = "done"
_LARGE = "large"


def slot_key(head_key: str, slot: int) -> str:
    """The table key of a slot."""
    return f"{head_key}{SEPARATOR}{slot}"


def slot_of(key: str) -> int | None:
    """The number of the slot that a key names, or None when it is no slot's key."""
    head, separator, number = key.rpartition(SEPARATOR)
    if (
        not separator
        or not head
        or not number.isdecimal()
        or not number.isascii()
        or len(number) > len(str(SLOT_LIMIT))
    ):
        return None
    slot = int(number)
    return slot if slot_key(head, slot) == key else None


def head_key_of(key: str) -> str | None:
    """The key of the head that a slot belongs to, or None when the key is no slot's."""
    return None if slot_of(key) is None else key.rpartition(SEPARATOR)[0]


def session_of(key: str) -> str:
    """The session that an item belongs to, whatever kind of item it is."""
    return key.partition(SEPARATOR)[0]


def run_key(session_id: str) -> str:
    """The table key of a session's parked run."""
    return f"{session_id}{SEPARATOR}{_RUN}"


def done_key(session_id: str) -> str:
    """The table key of what is remembered of a cleared session's turns."""
    return f"{session_id}{SEPARATOR}{_DONE}"


def large_key(session_id: str) -> str:
    """The table key of what is too large for the checkpoints of a session's durable run."""
    return f"{session_id}{SEPARATOR}{_LARGE}"


def keys_beside(session_id: str) -> tuple[str, ...]:
    """The table keys of every head that belongs to a session, its own first."""
    return session_id, run_key(session_id), done_key(session_id), large_key(session_id)
