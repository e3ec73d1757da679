"""Damage is contained: it is reported where it lies, nothing is overwritten, and one call keeps what can be read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import CorruptSessionError, DynamoDBSession, LeaseUnavailableError, WrongOwnerError
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.keys import slot_key
from openai_agents_session.storage.record import RecordWriter
from tests.support.contract import TINY, message, messages
from tests.support.memory import MemoryTable
from tests.support.script import stored_items

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Change = Callable[[dict[str, Any]], Any]
ITEMS = 30


def open_session(client: DynamoDBClient, table: str, **settings: Any) -> DynamoDBSession:
    return DynamoDBSession("ada", client, table, options=replace(TINY, cache=None), **settings)


HISTORY = [*messages(0, 3, 4_000), *messages(3, ITEMS - 3, 130)]


async def fill(client: DynamoDBClient, table: str, **settings: Any) -> list[Any]:
    """A session of several segments, one of them in several parts, with garbage beside them."""
    memory: Any = MemoryTable()
    session = open_session(memory, table, **settings)
    await session.add_items(HISTORY[:3])
    for item in HISTORY[3:]:
        await session.add_items([item])
    await session.add_items([message(99)])
    assert await session.pop_item() == message(99)
    await asyncio.gather(*(client.put_item(TableName=table, Item=item) for item in memory.items.values()))
    return [*HISTORY]


async def contents(client: DynamoDBClient, table: str) -> dict[str, Any]:
    return {item["session_id"]["S"]: item for item in await stored_items(client, table)}


async def damage(client: DynamoDBClient, table: str, key: str, change: Change) -> None:
    item: Any = (await contents(client, table))[key]
    change(item)
    await client.put_item(TableName=table, Item=item)


def works(client: DynamoDBClient, table: str) -> list[Callable[[], Awaitable[Any]]]:
    """Everything that a caller can do, except a clear, each with an object of its own."""
    return [
        lambda: open_session(client, table).get_items(),
        lambda: open_session(client, table).get_items(limit=2),
        lambda: open_session(client, table).add_items(messages(70, 1, 600)),
        lambda: open_session(client, table).pop_item(),
        lambda: open_session(client, table)._atomic_replace_items([message(71)]),
        lambda: open_session(client, table)._get_compaction_snapshot(5),
        lambda: open_session(client, table).describe(),
    ]


def lose(name: str) -> Change:
    return lambda item: item.pop(name)


def put(name: str, value: Any) -> Change:
    return lambda item: item.update({name: value})


def flip(name: str, position: int) -> Change:
    """One bit of a binary attribute turned over."""

    def change(item: dict[str, Any]) -> None:
        content = bytearray(item[name]["B"])
        content[position] ^= 4
        item[name] = {"B": bytes(content)}

    return change


def truncate(name: str) -> Change:
    return lambda item: item.update({name: {"B": item[name]["B"][:-3]}})


def newer_format(item: dict[str, Any]) -> None:
    record = RecordWriter()
    record.number(99)
    item["state"] = {"B": record.seal()}


HEAD_DAMAGE: dict[str, Change] = {
    "no commit": lose("commit"),
    "short commit": truncate("commit"),
    "other commit": flip("commit", 2),
    "commit of a wrong type": put("commit", {"S": "x"}),
    "no state": lose("state"),
    "changed state": flip("state", 6),
    "empty state": put("state", {"B": b"\0"}),
    "truncated state": truncate("state"),
    "no list of parts": lose("parts"),
    "changed list of parts": flip("parts", 4),
    "truncated list of parts": truncate("parts"),
    "list of parts of a wrong type": put("parts", {"N": "3"}),
    "no tail": lose("tail"),
    "changed tail": flip("tail", -2),
    "truncated tail": truncate("tail"),
    "tail of an unknown codec": flip("tail", 0),
    "no owner": lose("owner"),
    "another owner": put("owner", {"S": "eve"}),
    "ttl of a wrong type": put("ttl", {"S": "soon"}),
    "updated_at of a wrong type": put("updated_at", {"B": b"1"}),
    "another history": put("conversation_data", {"S": "[]"}),
}


@pytest.mark.parametrize("change", HEAD_DAMAGE.values(), ids=HEAD_DAMAGE)
async def test_damaged_head(client: DynamoDBClient, table: str, change: Change) -> None:
    """Any attribute of the head that is lost, changed or of a wrong type is an error to every operation.

    The error names the session and the head, and nothing in the table changes: `recover` guesses nothing from parts
    that no readable head names, for they may have been popped, have expired or be another owner's.
    """
    await fill(client, table, owner="ada")
    await damage(client, table, "ada", change)
    before = await contents(client, table)
    for work in [*works(client, table), open_session(client, table).recover]:
        with pytest.raises(CorruptSessionError, match="session 'ada': head is damaged") as refused:
            await work()
        assert (refused.value.session_id, refused.value.part) == ("ada", "head")
        assert "salvage" in str(refused.value)
        assert await contents(client, table) == before


async def test_damaged_head_is_seen_by_a_stale_object(client: DynamoDBClient, table: str) -> None:
    """An object that saw the head whole does not write over its damage."""
    history = await fill(client, table)
    stale: list[Callable[[DynamoDBSession], Awaitable[Any]]] = [
        lambda session: session.add_items([message(1)]),
        lambda session: session.pop_item(),
        lambda session: session._atomic_replace_items([message(1)]),
    ]
    for work in stale:
        session = open_session(client, table)
        assert await session.get_items() == history
        intact = await contents(client, table)
        await damage(client, table, "ada", put("commit", {"B": b"12345678"}))
        before = await contents(client, table)
        with pytest.raises(CorruptSessionError, match="head is damaged"):
            await work(session)
        assert await contents(client, table) == before
        await client.put_item(TableName=table, Item=intact["ada"])


async def test_head_of_a_newer_version(client: DynamoDBClient, table: str) -> None:
    """What a newer version of the library wrote is an error to this one, which recovers nothing of it either."""
    await fill(client, table)
    await damage(client, table, "ada", newer_format)
    before = await contents(client, table)
    for work in [*works(client, table), open_session(client, table).recover]:
        with pytest.raises(CorruptSessionError, match="use the version that wrote it"):
            await work()
        assert await contents(client, table) == before


async def test_recovery_needs_the_lease(client: DynamoDBClient, table: str) -> None:
    """A recovery is a write like any other: not into somebody's turn, and not of somebody else's session."""
    await fill(client, table, owner="ada")
    ((key, _, count), *_) = await live_parts(client, table)
    await damage(client, table, key, lose("data"))
    holder = open_session(client, table, owner="ada")
    async with holder.lease(60):
        with pytest.raises(LeaseUnavailableError):
            await open_session(client, table, owner="ada").recover()
        with pytest.raises(WrongOwnerError):
            await open_session(client, table, owner="eve").recover()
        assert (await holder.recover()).lost_items == count
    assert len(await open_session(client, table, owner="ada").get_items()) == ITEMS - count


async def test_recovery_keeps_what_other_writers_need(client: DynamoDBClient, table: str) -> None:
    """An object that remembers the head from before a recovery neither doubles nor loses anything after it."""
    history = await fill(client, table)
    stale = open_session(client, table)
    await stale.get_items()
    ((key, first, count), *_) = await live_parts(client, table)
    await damage(client, table, key, lose("data"))
    await open_session(client, table).recover()
    history = [*history[:first], *history[first + count :]]
    for number in range(100, 110):
        writer = stale if number % 2 else open_session(client, table)
        await writer.add_items([message(number, 130)])
        history.append(message(number, 130))
    assert await open_session(client, table).get_items() == history


FOREIGN_DAMAGE: dict[str, Any] = {
    "not JSON": {"S": '[{"role": "user"'},
    "not a list": {"S": '{"role": "user"}'},
    "a wrong type": {"N": "7"},
    "nested too deep": {"S": "[" * 100_000 + "]" * 100_000},
}


@pytest.mark.parametrize("data", FOREIGN_DAMAGE.values(), ids=FOREIGN_DAMAGE)
async def test_damaged_item_of_the_reference(client: DynamoDBClient, table: str, data: Any) -> None:
    """An item without our attributes whose history is not a JSON list is an error, and stays as it is."""
    await client.put_item(TableName=table, Item={"session_id": {"S": "ada"}, "conversation_data": data})
    before = await contents(client, table)
    for work in works(client, table):
        with pytest.raises(CorruptSessionError, match="session 'ada': head is damaged"):
            await work()
        assert await contents(client, table) == before


PART_DAMAGE: dict[str, Change] = {
    "no data": lose("data"),
    "changed data": flip("data", 40),
    "changed checksum": flip("data", 2),
    "truncated data": truncate("data"),
    "data of a wrong type": put("data", {"S": "x"}),
    "no generation": lose("generation"),
    "another generation": put("generation", {"N": "999"}),
    "another life": flip("epoch", 0),
    "another chunk": put("chunk", {"S": "7/9"}),
    "no chunk": lose("chunk"),
    "another count": put("count", {"N": "1000"}),
}


async def live_parts(client: DynamoDBClient, table: str) -> list[tuple[str, int, int]]:
    """The key of the first part of each segment, with the items before its segment and those in it."""
    head = from_attributes("ada", (await contents(client, table))["ada"], 0)
    found, first = [], 0
    for segment in head.manifest.segments:
        found.append((slot_key("ada", segment.slots[0]), first, segment.count))
        first += segment.count
    return found


async def check_part_damage(client: DynamoDBClient, table: str, key: str, first: int, count: int, history: Any) -> None:
    """That a damaged part is reported by what needs it, hinders nothing else, and can be given up."""
    left = ITEMS - count
    before = await contents(client, table)
    for work in (
        lambda: open_session(client, table).get_items(),
        lambda: open_session(client, table)._get_compaction_snapshot(1_000),
        lambda: open_session(client, table).get_items(limit=ITEMS - first),
    ):
        with pytest.raises(CorruptSessionError, match=f"'ada': part {re.escape(repr(key))} is damaged") as refused:
            await work()
        assert (refused.value.session_id, refused.value.part) == ("ada", key)
        assert (refused.value.intact_items, refused.value.total_items) == (left, ITEMS)
        assert f"{left} of {ITEMS} items can still be read" in str(refused.value)
        assert await contents(client, table) == before
    if newer := ITEMS - first - count:
        assert await open_session(client, table).get_items(limit=newer) == history[-newer:]
    for number in range(40, 46):  # also while others are sealed and merged
        await open_session(client, table).add_items([message(number, 130)])
        history = [*history, message(number, 130)]
    assert (await contents(client, table))[key] == before[key]
    report = await open_session(client, table).recover()
    assert (report.changed, report.damaged, report.lost_items) == (True, (key,), count)
    assert report.kept_items == left + 6
    history = [*history[:first], *history[first + count :]]
    assert await open_session(client, table).get_items() == history
    assert not (await open_session(client, table).recover()).changed
    for _ in range(left + 6):
        assert await open_session(client, table).pop_item() == history.pop()
    await open_session(client, table).clear_session()


@pytest.mark.parametrize("change", PART_DAMAGE.values(), ids=PART_DAMAGE)
async def test_damaged_part(client: DynamoDBClient, table: str, change: Change) -> None:
    """A damaged part is an error to what needs it, which names it and counts what is intact; the rest goes on."""
    history = await fill(client, table)
    key, first, count = (await live_parts(client, table))[0]
    await damage(client, table, key, change)
    await check_part_damage(client, table, key, first, count, history)


async def test_missing_part(client: DynamoDBClient, table: str) -> None:
    """So is one that is gone, wherever in the history it was."""
    history = await fill(client, table)
    key, first, count = (await live_parts(client, table))[0]
    await client.delete_item(TableName=table, Key={"session_id": {"S": key}})
    before = await contents(client, table)
    for limit in (None, ITEMS):
        with pytest.raises(CorruptSessionError, match="it is missing") as refused:
            await open_session(client, table).get_items(limit=limit)
        assert (refused.value.part, refused.value.intact_items) == (key, ITEMS - count)
    assert await contents(client, table) == before
    assert (await open_session(client, table).recover()).lost_items == count
    assert await open_session(client, table).get_items() == [*history[:first], *history[first + count :]]


async def test_swapped_parts(client: DynamoDBClient, table: str) -> None:
    """Two parts in each other's place are damaged both, and never taken for each other."""
    await fill(client, table)
    (one, *_), *_, (other, *_) = await live_parts(client, table)
    stored = await contents(client, table)
    for key, item in ((one, stored[other]), (other, stored[one])):
        await client.put_item(TableName=table, Item={**item, "session_id": {"S": key}})
    before = await contents(client, table)
    with pytest.raises(CorruptSessionError, match="it holds something else"):
        await open_session(client, table).get_items()
    assert await contents(client, table) == before
    assert set((await open_session(client, table).recover()).damaged) == {one, other}


async def test_pop_of_a_damaged_part(client: DynamoDBClient, table: str) -> None:
    """A pop that needs a damaged part is an error and removes nothing; those before it go on."""
    history = await fill(client, table)
    key, first, count = (await live_parts(client, table))[-1]
    await damage(client, table, key, flip("data", 20))
    session = open_session(client, table)
    for _ in range(ITEMS - first - count):
        assert await session.pop_item() == history.pop()
    before = await contents(client, table)
    for again in (session, open_session(client, table)):
        with pytest.raises(CorruptSessionError) as refused:
            await again.pop_item()
        assert (refused.value.part, refused.value.intact_items) == (key, first)
        assert await contents(client, table) == before


async def test_clear_of_damage(client: DynamoDBClient, table: str) -> None:
    """A clear removes a session with damaged parts, and one that is a single item, damaged or not."""
    await fill(client, table)
    for key, *_ in await live_parts(client, table):
        await damage(client, table, key, lose("data"))
    await open_session(client, table).clear_session()
    await client.put_item(TableName=table, Item={"session_id": {"S": "ada"}, "conversation_data": {"S": "nonsense"}})
    await open_session(client, table).clear_session()
    await open_session(client, table).add_items([message(1)])
    await damage(client, table, "ada", lose("state"))
    await open_session(client, table).clear_session()
    assert {key for key in await contents(client, table) if key == "ada"} == set()


async def test_whole_session_is_not_recovered(client: DynamoDBClient, table: str) -> None:
    """Recovery of a session that is whole, absent or expired changes nothing."""
    assert not (await open_session(client, table).recover()).changed
    await fill(client, table)
    before = await contents(client, table)
    report = await open_session(client, table).recover()
    assert (report.changed, report.kept_items, report.lost_items, report.damaged) == (False, ITEMS, 0, ())
    assert await contents(client, table) == before
