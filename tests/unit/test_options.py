"""Arguments: what is refused, and that nothing is sent then."""

from __future__ import annotations

from typing import Any

import pytest

from openai_agents_session import DynamoDBSession, InvalidInputError, StorageOptions, create_table_if_not_exists
from openai_agents_session.cache import SHARED_CACHE
from openai_agents_session.storage.capacity import KEY_LIMIT_BYTES
from openai_agents_session.storage.keys import slot_key

CLIENT: Any = object()  # whatever is asked of it raises
LONGEST = 2_032


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        None,
        7,
        b"ada",
        ["ada"],
        "x" * (LONGEST + 1),
        "é" * (LONGEST // 2 + 1),
        "a#~1",
        "#~",
        "a#~run",
        "lone \ud800",
    ],
)
def test_session_ids_refused(session_id: Any) -> None:
    """An id must be text of 1 to 2,032 UTF-8 bytes that cannot be the key of a part."""
    with pytest.raises(InvalidInputError, match="session_id"):
        DynamoDBSession(session_id, CLIENT, "sessions")


@pytest.mark.parametrize("session_id", ["a", "x" * LONGEST, "é" * (LONGEST // 2), "a#", "~#", "a/b c\n😀", "#", "0"])
def test_session_ids_accepted(session_id: str) -> None:
    """Any other text is an id, and leaves room for the keys of a million parts."""
    assert DynamoDBSession(session_id, CLIENT, "sessions").session_id == session_id
    assert len(slot_key(session_id, 999_999).encode()) <= KEY_LIMIT_BYTES


async def test_refused_by_connect() -> None:
    """An id that is refused opens no client."""
    with pytest.raises(InvalidInputError, match="session_id"):
        await DynamoDBSession.connect("a#~1", "sessions")


@pytest.mark.parametrize("ttl_seconds", [0, -1, 1.5, "60", True, False, float("inf")])
def test_ttl_refused(ttl_seconds: Any) -> None:
    """`ttl_seconds` is a positive number of whole seconds, or None."""
    with pytest.raises(InvalidInputError, match="ttl_seconds"):
        DynamoDBSession("ada", CLIENT, "sessions", ttl_seconds=ttl_seconds)


@pytest.mark.parametrize("owner", ["", 7, "x" * 513])
def test_owner_refused(owner: Any) -> None:
    """An owner is a short text, or None."""
    with pytest.raises(InvalidInputError, match="owner"):
        DynamoDBSession("ada", CLIENT, "sessions", owner=owner)


@pytest.mark.parametrize("table_name", ["", None, 7])
async def test_table_name_refused(table_name: Any) -> None:
    """A table has a name."""
    with pytest.raises(InvalidInputError, match="table_name"):
        DynamoDBSession("ada", CLIENT, table_name)
    with pytest.raises(InvalidInputError, match="table_name"):
        await create_table_if_not_exists(CLIENT, table_name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"item_bytes": 127},
        {"item_bytes": 400 * 1024},
        {"head_bytes": 0},
        {"part_bytes": 1_023},
        {"part_bytes": 400 * 1024},
        {"fan_out": 1},
        {"fan_out": 65},
        {"patience_seconds": -1},
        {"patience_seconds": 61},
    ],
)
def test_options_refused(wrong: dict[str, Any]) -> None:
    """A layout that could not work, or a patience that no caller has, is refused by name."""
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        StorageOptions(**wrong)


def test_defaults() -> None:
    """By default a session fits one read unit while it is one item, a sealed head one write unit; parts are shared."""
    options = StorageOptions()
    assert (options.item_bytes, options.head_bytes, options.fan_out, options.compress) == (4_096, 1_024, 8, True)
    assert options.cache is SHARED_CACHE
    assert not options.single_item


@pytest.mark.parametrize("limit", ["3", 1.5, True, [], float("nan")])
async def test_limit_refused(limit: Any) -> None:
    """A limit is an integer or None, in the call or in the settings; nothing is sent otherwise."""
    with pytest.raises(InvalidInputError, match="limit"):
        await DynamoDBSession("ada", CLIENT, "sessions").get_items(limit=limit)
    settings: Any = {"limit": limit}
    with pytest.raises(InvalidInputError, match="limit"):
        await DynamoDBSession("ada", CLIENT, "sessions", session_settings=settings).get_items()


async def test_no_request() -> None:
    """Reading nothing and adding nothing asks for nothing."""
    session = DynamoDBSession("ada", CLIENT, "sessions")
    assert await session.get_items(limit=0) == await session.get_items(limit=-1) == []
    await session.add_items([])
