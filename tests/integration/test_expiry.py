"""Expiry: an expired session is empty from the second on, a live one loses nothing, and staying alive costs little."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cache import SegmentCache
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.keys import slot_key
from tests.support.contract import TINY, message, messages
from tests.support.script import stored_items
from tools.bench.workloads import ciphertext
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

DAY = 86_400
START = 1_800_000_000


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now + 0.9  # whatever the fraction, it is still that second


@dataclass
class Bench:
    """One session id, a clock, and a look into the table."""

    client: DynamoDBClient
    table: str
    clock: Clock
    options: StorageOptions = TINY

    def session(self, ttl_seconds: int | None = None, options: StorageOptions | None = None) -> DynamoDBSession:
        options = replace(options or self.options, clock=self.clock, cache=None)
        return DynamoDBSession("ada", self.client, self.table, ttl_seconds=ttl_seconds, options=options)

    async def fill(self, ttl_seconds: int | None, count: int = 20) -> list[Any]:
        for number in range(count):
            await self.session(ttl_seconds).add_items([message(number, 150)])
        return messages(0, count, 150)

    async def stored(self) -> dict[str, Any]:
        return {item["session_id"]["S"]: item for item in await stored_items(self.client, self.table)}

    async def check(self) -> tuple[int | None, int | None]:
        """The expiry of the head and the first of its parts'; no live part may expire before the head."""
        stored = await self.stored()
        head = from_attributes("ada", stored.get("ada"), self.clock.now)
        live = [slot_key("ada", slot) for segment in head.manifest.segments for slot in segment.slots]
        ends = [int(stored[key]["ttl"]["N"]) for key in live if "ttl" in stored[key]]
        if ends:
            assert head.ttl is not None, "a part of a session that lives for good expires"
            assert min(ends) >= head.ttl, "a part expires before its session"
            assert 0 < head.manifest.expires <= min(ends), "the head relies on more than the parts have"
        return head.ttl, min(ends, default=None)


@pytest.fixture
def bench(client: DynamoDBClient, table: str) -> Bench:
    return Bench(client, table, Clock())


@pytest.mark.parametrize("count", [1, 20], ids=["one item", "with parts"])
async def test_empty_from_the_second_on(bench: Bench, count: int) -> None:
    """One second before its expiry a session is whole; from that second on it is empty to every operation."""
    history = await bench.fill(100, count)
    bench.clock.now = START + 99
    assert await bench.session().get_items() == history
    before = await bench.stored()
    bench.clock.now = START + 100
    for session in (bench.session(), bench.session(100), bench.session(5)):
        assert await session.get_items() == []
        assert await session.get_items(limit=1) == []
        assert await session.pop_item() is None
        snapshot = await session._get_compaction_snapshot(10)
        assert (snapshot.items, snapshot.complete) == ([], True)
        assert not await snapshot.replace_suffix(0, [message(1)])
        info = await session.describe()
        assert (info.exists, info.items) == (False, 0)
        assert not (await session.recover()).changed
    assert await bench.stored() == before


async def test_every_write_extends(bench: Bench) -> None:
    """Each append, pop and replacement lets the session live its whole `ttl_seconds` from then on; a read does not."""
    await bench.fill(100, 3)
    bench.clock.now += 60
    await bench.session(100).get_items()
    assert (await bench.check())[0] == START + 100
    for number in range(4):
        session = bench.session(100)
        await (session.pop_item() if number % 2 else session.add_items([message(1)]))
        assert (await bench.check())[0] == bench.clock.now + 100
        bench.clock.now += 99
    await bench.session(7)._atomic_replace_items([message(2)])
    assert (await bench.check())[0] == bench.clock.now + 7
    await bench.session(None).add_items([message(3)])
    assert (await bench.check())[0] is None
    bench.clock.now += 100_000
    assert await bench.session().get_items() == [message(2), message(3)]


@pytest.mark.parametrize("first", [True, False], ids=["a fresh object", "an object that saw it alive"])
async def test_nothing_of_the_old(bench: Bench, first: bool) -> None:
    """What begins under the id of an expired session holds nothing of the old, for the objects that knew it, too."""
    await bench.fill(100)
    known = bench.session(100)
    await known.get_items()
    snapshot = await known._get_compaction_snapshot(5)
    bench.clock.now += 100
    assert not await snapshot.replace_suffix(2, [message(50)])
    session = bench.session(100) if first else known
    await session.add_items(messages(70, 2, 150))
    assert await bench.session().get_items() == messages(70, 2, 150)
    await bench.check()
    assert await session.pop_item() == message(71, 150)
    assert await session.pop_item() == message(70, 150)
    assert await session.pop_item() is None
    for number in range(20):
        await bench.session(100).add_items([message(number, 150)])
    assert await known.get_items() == messages(0, 20, 150)
    await bench.session().clear_session()
    assert await bench.stored() == {}


async def test_owner_ends_with_the_session(bench: Bench) -> None:
    """An expired session belongs to nobody."""
    options = replace(TINY, clock=bench.clock)
    hers = DynamoDBSession("ada", bench.client, bench.table, ttl_seconds=10, owner="ada", options=options)
    his = DynamoDBSession("ada", bench.client, bench.table, ttl_seconds=10, owner="bob", options=options)
    await hers.add_items([message(1)])
    bench.clock.now += 10
    assert await his.get_items() == []
    await his.add_items([message(2)])
    assert await his.get_items() == [message(2)]


async def test_deletion_by_dynamodb(bench: Bench) -> None:
    """Whether DynamoDB has deleted an expired session, some of it or nothing, makes no difference."""
    chance = random.Random(1)
    for life in range(4):
        await bench.fill(100)
        bench.clock.now += 100 + 10_000 * life
        for key, item in (await bench.stored()).items():
            if "ttl" in item and int(item["ttl"]["N"]) <= bench.clock.now and (life == 3 or chance.random() < 0.5):
                await bench.client.delete_item(TableName=bench.table, Key={"session_id": {"S": key}})
        assert await bench.session().get_items() == []
        history = []
        for number in range(30, 60):
            history.append(message(number, 200))
            await bench.session(100).add_items([history[-1]])
        assert await bench.session().get_items() == history
        await bench.check()
        bench.clock.now += 1_000


MIXES: dict[str, Sequence[int | None]] = {
    "growing": [60, 1_000, 50_000],
    "shrinking": [50_000, 1_000, 60],
    "with none": [None, 60, None, 1_000],
    "none once": [60, 60, 60, None, 60, 60, 60, 60],
    "all": [60, None, 7, 50_000, 7, None, 1_000],
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
async def test_parts_outlive_their_session(bench: Bench, mix: Sequence[int | None]) -> None:
    """Whatever mix of `ttl_seconds` the writers use, after every write each live part outlives the session."""
    chance = random.Random(3)
    history: list[Any] = []
    for number, ttl in zip(range(60), itertools.cycle(mix), strict=False):
        batch = messages(number, 1 + number % 3, 150)
        await bench.session(ttl).add_items(batch)
        history += batch
        await bench.check()
        if number % 4 == 0:
            assert await bench.session(ttl).pop_item() == history.pop()
        end, _ = await bench.check()
        left = 10_000 if end is None else end - bench.clock.now
        bench.clock.now += chance.choice([0, 1, left // 2, left - 1])
        assert await bench.session().get_items() == history


@pytest.mark.parametrize("left", [0, 1, 30])
async def test_nothing_stays_for_good(bench: Bench, left: int) -> None:
    """Once a session has an end, so has all that lies in the table for it, parts that no longer count included."""
    history = await bench.fill(None, 30)
    while len(history) > left:
        assert await bench.session().pop_item() == history.pop()
    stored = await bench.stored()
    assert all("ttl" not in item for item in stored.values())
    assert len(stored) > 4
    await bench.session(100).add_items([message(30)])
    assert [key for key, item in (await bench.stored()).items() if "ttl" not in item] == []
    await bench.check()


async def test_refreshing_costs_little(bench: Bench, proxy: FaultProxy, connect: Connect) -> None:
    """Keeping the parts of an old session alive costs less than a tenth of its writes, as the wire tells."""
    through = await connect(proxy.url)
    options = StorageOptions(clock=bench.clock, cache=SegmentCache())
    for turn in ciphertext(120).turns:
        bench.clock.now += DAY // 2
        session = DynamoDBSession("ada", through, bench.table, ttl_seconds=DAY, options=options)
        for batch in turn:
            stored: Any = batch
            await session.add_items(stored)
        await bench.check()
    refreshes = [record for record in proxy.records if record.request.operation == "UpdateItem"]
    assert 0 < sum(record.bill.write_units for record in refreshes) < proxy.bill.write_units / 10
