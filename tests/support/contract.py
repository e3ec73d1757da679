"""What every session must do, whatever its configuration and on whatever engine: one suite, run on each.

A test module subclasses `Contract` and gives it a fixture `open_session`, which makes session objects as other
invocations would: nothing shared but the table.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from openai_agents_session import DynamoDBSession, InvalidInputError, InvalidItemError, SessionClosedError
from openai_agents_session.conversations import Conversation
from openai_agents_session.options import StorageOptions
from tests.support.script import stored_items

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Open = Callable[..., DynamoDBSession]

TINY = StorageOptions(item_bytes=400, head_bytes=400, part_bytes=4_096, fan_out=3)
"""A layout in which every few bytes are sealed, sealed segments merge soon, and a few KB are cut in two."""

CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "default": {"options": StorageOptions()},
    "tiny": {"options": TINY},
    "uncompressed": {"options": replace(TINY, compress=False)},
    "uncached": {"options": replace(TINY, cache=None)},
    "ttl": {"options": TINY, "ttl_seconds": 3_600},
    "single_item": {"options": StorageOptions(single_item=True)},
}
"""Keyword arguments of `DynamoDBSession`, by name."""

GONE = {"role": "user", "content": "gone"}
"""A message that was redacted."""

AWKWARD: list[Any] = [
    {},
    {"": ""},
    {"content": 'é 中 😀 \u0000 \u2028 " \\ / \x7f'},
    {"content": "lone \ud800 surrogates \udfff"},
    {"numbers": [0, -1, 2**63, 10**40, 0.1, -1.5e-300, 1e300], "none": None, "flags": [True, False]},
    {"nested": [[[{"a": [{"b": {}}]}]]]},
    {"conversation_data": "sealed", "session_id": "x", "ttl": 1},
    {"content": "sealed"},
    {"content": "]},[{"},
]
"""Items that a careless store would change."""


def message(number: int, size: int = 20) -> Any:
    """A conversation item of about ``size`` bytes that tells which it is; compression halves it at most."""
    return {"role": "user", "content": f"{number}:{random.Random(number).randbytes(size // 2).hex()}"[: size + 4]}


def messages(first: int, count: int, size: int = 20) -> list[Any]:
    """Messages with the numbers from ``first`` on."""
    return [message(number, size) for number in range(first, first + count)]


class Contract:
    """The rules. Each docstring is the rule that its test proves."""

    async def test_unknown(self, open_session: Open, client: DynamoDBClient, table: str) -> None:
        """A session that nobody has written is empty to every operation, and none of them leaves anything behind."""
        session = open_session()
        assert await session.get_items() == []
        assert await session.get_items(limit=3) == []
        assert await session.pop_item() is None
        await session.add_items([])
        await session.clear_session()
        assert await session.ping()
        assert not (await session.describe()).exists
        assert await stored_items(client, table) == []

    async def test_order(self, open_session: Open) -> None:
        """Batches of any sizes come back complete and in order, to the object that wrote them and to a fresh one."""
        session = open_session()
        history: list[Any] = []
        for count, size in ((1, 20), (2, 300), (1, 1_500), (40, 10), (1, 25_000), (3, 700), (1, 20), (7, 200)):
            batch = messages(len(history), count, size)
            history += batch
            await session.add_items(batch)
            assert await session.get_items() == history
        assert await open_session().get_items() == history
        assert (await open_session().describe()).items == len(history)

    async def test_limit(self, open_session: Open) -> None:
        """A limit gives the latest so many items, oldest first; 0 and below none; more than there are, all."""
        history = messages(0, 30, 150)
        for item in history:
            await open_session().add_items([item])
        session = open_session()
        for limit in range(1, 33):
            assert await session.get_items(limit=limit) == history[-limit:]
        assert await session.get_items(limit=2_147_483_647) == history
        assert await session.get_items(limit=0) == await session.get_items(limit=-5) == []

    async def test_settings(self, open_session: Open) -> None:
        """The limit of `session_settings` holds where a call gives none."""
        session = open_session(session_settings=SimpleNamespace(limit=2))
        await session.add_items(messages(0, 5))
        assert await session.get_items() == messages(3, 2)
        assert await session.get_items(limit=4) == messages(1, 4)
        session.session_settings = None
        assert await session.get_items() == messages(0, 5)

    async def test_pop(self, open_session: Open) -> None:
        """Pops take the newest item each, back over everything that was sealed, and then nothing."""
        history = messages(0, 24, 200)
        for start in range(0, 24, 2):
            await open_session().add_items(history[start : start + 2])
        session = open_session()
        for left in range(23, -1, -1):
            assert await session.pop_item() == history[left]
            assert await open_session().get_items() == history[:left]
        assert await session.pop_item() is None

    async def test_append_after_pops(self, open_session: Open) -> None:
        """What is appended after pops follows what they left."""
        session = open_session()
        history: list[Any] = []
        for number in range(0, 60, 6):
            batch = messages(number, 6, 120)
            await session.add_items(batch)
            history += batch
            for _ in range(4):
                assert await session.pop_item() == history.pop()
            assert await open_session().get_items() == history

    async def test_clear(self, open_session: Open, client: DynamoDBClient, table: str) -> None:
        """A clear leaves nothing of the session in the table, and a new one begins under its id."""
        for _ in range(2):
            for number in range(12):
                await open_session().add_items([message(number, 400)])
            await open_session().clear_session()
            assert await open_session().get_items() == []
            assert await stored_items(client, table) == []

    async def test_neighbours(self, open_session: Open) -> None:
        """Sessions whose ids resemble each other know nothing of each other."""
        ids = ["a", "a#", "a~", "a#1", "a~#0", "A", "a ", "ä", "😀", "x" * 2_000]
        for number, session_id in enumerate(ids):
            for _ in range(3):
                await open_session(session_id).add_items([message(number, 300)])
        await open_session("a").clear_session()
        assert await open_session("a").get_items() == []
        for number, session_id in enumerate(ids[1:], 1):
            assert await open_session(session_id).get_items() == [message(number, 300)] * 3

    async def test_stale_objects(self, open_session: Open) -> None:
        """Objects that last saw the session long ago go on from what it is now."""
        first, second, third = open_session(), open_session(), open_session()
        await first.add_items(messages(0, 2, 100))
        assert await third.get_items() == await second.get_items() == messages(0, 2, 100)
        for number in range(2, 14):
            await first.add_items([message(number, 100)])
        await second.add_items([message(14, 100)])
        assert await third.pop_item() == message(14, 100)
        await third.clear_session()
        await first.add_items([message(99)])
        assert await second.pop_item() == message(99)
        assert await first.pop_item() is None

    async def test_concurrent(self, open_session: Open) -> None:
        """Batches that are appended at once are all there, whole; pops at once each take another item."""
        batches = [messages(start, 3, 60) for start in range(0, 24, 3)]
        await asyncio.gather(*(open_session().add_items(batch) for batch in batches))
        history = await open_session().get_items()
        found = [history[start : start + 3] for start in range(0, 24, 3)]
        assert sorted(found, key=str) == sorted(batches, key=str)
        popped: list[Any] = await asyncio.gather(*(open_session().pop_item() for _ in range(8)))
        assert sorted(popped, key=str) == sorted(history[16:], key=str)
        assert await open_session().get_items() == history[:16]

    async def test_values(self, open_session: Open) -> None:
        """Whatever is JSON comes back as it was."""
        for item in AWKWARD:
            await open_session().add_items([item])
        await open_session().add_items([*AWKWARD, message(1, 2_000)])
        history = [*AWKWARD, *AWKWARD, message(1, 2_000)]
        assert await open_session().get_items() == history
        assert await open_session().pop_item() == history.pop()
        for _ in AWKWARD:
            assert await open_session().pop_item() == history.pop()
            assert await open_session().get_items() == history

    async def test_copies(self, open_session: Open) -> None:
        """What a caller does to items that it gave or got changes nothing in the session."""
        session = open_session()
        batch = messages(0, 6, 200)
        await session.add_items(batch)
        await session.add_items(messages(6, 2))
        batch[0]["content"] = "changed"
        got: list[Any] = list(await session.get_items())
        for item in got:
            item["content"] = "changed"
        assert await session.get_items() == [*messages(0, 6, 200), *messages(6, 2)]

    async def test_models(self, open_session: Open) -> None:
        """Pydantic models are stored as the JSON that they dump."""

        class Said(BaseModel):
            role: str = "user"
            content: str

        batch: Any = [Said(content="hello"), message(1)]
        await open_session().add_items(batch)
        assert await open_session().get_items() == [{"role": "user", "content": "hello"}, message(1)]

    async def test_bad_item(self, open_session: Open, client: DynamoDBClient, table: str) -> None:
        """A batch with an item that is not a JSON object is refused whole, and the error names the item."""
        session = open_session()
        bad: Any
        for bad in (b"bytes", "text", 7, None, [], {"a": b"bytes"}, {"a": {1}}, {"a": float("nan")}, {(1, 2): "key"}):
            with pytest.raises(InvalidItemError, match="item 1 ") as refused:
                await session.add_items([message(0), bad])
            assert refused.value.index == 1
            assert session.session_id in str(refused.value)
        assert await stored_items(client, table) == []

    async def test_bad_batch(self, open_session: Open, client: DynamoDBClient, table: str) -> None:
        """A batch that is not a list and a limit that is not an integer are refused."""
        session = open_session()
        batch: Any
        for batch in (message(0), "text", None, 3, iter([])):
            with pytest.raises(InvalidInputError):
                await session.add_items(batch)
        limit: Any
        for limit in ("3", 1.5, True):
            with pytest.raises(InvalidInputError):
                await session.get_items(limit=limit)
        assert await stored_items(client, table) == []

    async def test_replace(self, open_session: Open) -> None:
        """The hook of the SDK's compaction puts one history in place of another, and it goes on from there."""
        session = open_session()
        for size, replacement in ((200, 2), (50, 30), (1_000, 0), (20, 1)):
            for number in range(8):
                await open_session().add_items([message(number, size)])
            assert await session._atomic_replace_items(messages(50, replacement, size))
            assert await open_session().get_items() == messages(50, replacement, size)
        await session.add_items([message(7)])
        assert await open_session().get_items() == [message(50), message(7)]

    async def test_replace_end(self, open_session: Open) -> None:
        """The hook that replaces the end of a history does so unless it has changed since it was looked at."""
        session = open_session()
        for number in range(16):
            await session.add_items([message(number, 150)])
        snapshot = await session._get_compaction_snapshot(6)
        assert (snapshot.items, snapshot.complete) == (messages(10, 6, 150), False)
        assert await snapshot.replace_suffix(2, messages(70, 3, 150))
        history = [*messages(0, 12, 150), *messages(70, 3, 150)]
        assert await open_session().get_items() == history
        assert not await snapshot.replace_suffix(0, [])
        stale = await session._get_compaction_snapshot(100)
        assert stale.complete
        await open_session().add_items([message(1)])
        assert not await stale.replace_suffix(0, [])
        assert await open_session().get_items() == [*history, message(1)]

    async def test_rewind(self, open_session: Open) -> None:
        """A rewind leaves the first so many items, wherever they lie, to every object, and the history goes on."""
        stale = open_session()
        await stale.add_items(messages(0, 1, 150))
        for number in range(1, 20):
            await open_session().add_items([message(number, 150)])
        for keep in (25, 20, 13, 5, 1, 0):
            removed = max(0, len(await open_session().get_items()) - keep)
            assert await Conversation(open_session()).rewind(keep) == removed
            assert await open_session().get_items() == messages(0, min(keep, 20), 150)
        await stale.add_items([message(7)])
        assert await open_session().get_items() == [message(7)]

    async def test_fork(self, open_session: Open, client: DynamoDBClient, table: str) -> None:
        """A fork has the first so many items; it and the original know nothing of each other."""
        history = [*messages(0, 4, 20), *messages(4, 3, 3_000), *messages(7, 5, 200)]
        for start in range(0, 12, 3):
            await open_session("original").add_items(history[start : start + 3])
        for keep in (1, 5, 12, None):
            copy = await Conversation(open_session("original")).fork(keep=keep)
            assert await open_session(copy.session_id).get_items() == history[:keep]
            await open_session(copy.session_id).add_items([message(99)])
            assert await open_session(copy.session_id).pop_item() == message(99)
            await open_session(copy.session_id).clear_session()
        assert await open_session("original").get_items() == history
        await open_session("original").clear_session()
        assert await stored_items(client, table) == []

    async def test_redact(self, open_session: Open) -> None:
        """One item says the notice from then on, wherever it lies, and all others what they said."""
        history = messages(0, 15, 250)
        for number in range(0, 15, 3):
            await open_session().add_items(history[number : number + 3])
        for number in (14, 0, 7, 7):
            assert await Conversation(open_session()).redact(number, notice="gone") == (history[number] != GONE)
            history[number] = GONE
            assert await open_session().get_items() == history
        await open_session().add_items([message(99)])
        assert await open_session().get_items() == [*history, message(99)]

    async def test_name(self, open_session: Open) -> None:
        """A title and metadata come back as they were given, through everything that is done to the history."""
        session = open_session()
        await session.add_items(messages(0, 3, 100))
        await Conversation(open_session()).update(title="Named 😀", metadata={"a": [1, "é"]})
        for number in range(3, 12):
            await session.add_items([message(number, 300)])
        await session.pop_item()
        await Conversation(open_session()).rewind(5)
        info = await Conversation(open_session()).info()
        assert (info.title, info.metadata, info.items) == ("Named 😀", {"a": [1, "é"]}, 5)
        assert await open_session().get_items() == [*messages(0, 3, 100), *messages(3, 2, 300)]

    async def test_pages(self, open_session: Open) -> None:
        """A history read backwards by pages is the history."""
        history = messages(0, 40, 200)
        for start in range(0, 40, 5):
            await open_session().add_items(history[start : start + 5])
        found: list[Any] = []
        before = None
        while not found or before:
            page = await Conversation(open_session()).history(before=before, limit=7, max_bytes=1_000)
            found, before = [*page.items, *found], page.before
        assert found == history

    async def test_closed(self, open_session: Open) -> None:
        """A session object refuses all work after `close()`, and leaves the caller's client open."""
        session = open_session()
        await session.add_items([message(0)])
        await session.close()
        await session.close()
        works: list[Callable[[], Awaitable[Any]]] = [
            session.get_items,
            lambda: session.add_items([message(1)]),
            session.pop_item,
            session.clear_session,
            session.ping,
            session.describe,
            session.recover,
        ]
        for work in works:
            with pytest.raises(SessionClosedError):
                await work()
        assert await open_session().get_items() == [message(0)]
