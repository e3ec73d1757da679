"""One turn at a time: the lease in the head, and the fence at the commit point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import (
    DynamoDBSession,
    Event,
    InvalidInputError,
    LeaseLostError,
    LeaseUnavailableError,
    StorageOptions,
)
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

Open = Callable[..., DynamoDBSession]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def open_session(client: DynamoDBClient, table: str, clock: Clock, events: list[Event]) -> Open:
    """Makes session objects as other invocations would: nothing shared but the table and the clock."""

    def make(session_id: str = "ada", **settings: Any) -> DynamoDBSession:
        options = StorageOptions(clock=clock, observer=events.append, cache=None)
        return DynamoDBSession(session_id, client, table, options=options, **settings)

    return make


def said(text: str) -> Any:
    return {"role": "user", "content": text}


def requests(events: list[Event]) -> list[str]:
    return [event.operation for event in events if event.name == "request"]


async def test_a_turn_costs_two_requests_more(open_session: Open, events: list[Event]) -> None:
    await open_session().add_items([said("before")])
    events.clear()
    session = open_session()
    async with session.lease(60):
        assert await session.get_items() == [said("before")]
        await session.add_items([said("question")])
        assert await session.get_items() == [said("before"), said("question")]
        await session.add_items([said("answer")])
    take, append, give_back = ["get_item", "put_item"], ["put_item"], ["put_item"]
    assert requests(events) == [*take, "get_item", *append, "get_item", *append, *give_back]


async def test_the_holder_sees_a_clear_of_anybody(open_session: Open) -> None:
    """What somebody has cleared is gone for the holder of the lease as well, from the next read on."""
    await open_session().add_items([said("secret")])
    for reads_before in (0, 1):
        holder = open_session()
        await open_session().add_items([said("secret")])
        async with holder.lease(60):
            for _ in range(reads_before):
                assert await holder.get_items()
            await open_session().clear_session()
            assert await holder.get_items() == []


async def test_who_asks_while_it_is_held_is_told_how_long(open_session: Open, clock: Clock) -> None:
    async with open_session().lease(60):
        clock.now += 20
        with pytest.raises(LeaseUnavailableError) as refusal:
            async with open_session().lease(60):
                pytest.fail("two hold it")
        assert refusal.value.retry_after == pytest.approx(40, abs=0.1)


async def test_who_waits_gets_it_when_it_is_given_back(open_session: Open, events: list[Event]) -> None:
    holder, order = open_session(), []

    async def wait() -> None:
        async with open_session().lease(60, wait_seconds=20):
            order.append("second")

    async with holder.lease(60):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.1)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    assert "lease_wait" in {event.name for event in events}


async def test_of_many_at_once_one_holds_it_at_a_time(open_session: Open) -> None:
    holding = most = 0

    async def turn(number: int) -> None:
        nonlocal holding, most
        session = open_session()
        async with session.lease(60, wait_seconds=60):
            holding += 1
            most = max(most, holding)
            await session.add_items([said(f"question {number}")])
            await session.add_items([said(f"answer {number}")])
            holding -= 1

    await asyncio.gather(*(turn(number) for number in range(8)))
    history: list[Any] = await open_session().get_items()
    texts = [item["content"] for item in history]
    assert most == 1
    assert len(texts) == 16
    assert all(b == a.replace("question", "answer") for a, b in zip(texts[::2], texts[1::2], strict=True))


async def test_a_holder_that_dies_frees_it_when_it_runs_out(open_session: Open, clock: Clock) -> None:
    await open_session()._store.take_lease(60_000)  # and never gives it back
    clock.now += 59.9
    with pytest.raises(LeaseUnavailableError):
        async with open_session().lease(60):
            pytest.fail("it was not free yet")
    clock.now += 0.2
    next_one = open_session()
    async with next_one.lease(60):
        await next_one.add_items([said("on")])
    assert await open_session().get_items() == [said("on")]


@pytest.mark.parametrize("taken_over", [False, True])
async def test_who_lost_it_cannot_write(open_session: Open, clock: Clock, taken_over: bool) -> None:
    late, other = open_session(), open_session()
    async with late.lease(10):
        await late.add_items([said("in time")])
        clock.now += 11
        if taken_over:
            await other._store.take_lease(60_000)
        for write in (late.add_items([said("late")]), late.pop_item(), late.clear_session()):
            with pytest.raises(LeaseLostError):
                await write
    assert await open_session().get_items() == [said("in time")]
    assert (other._store.lease is not None) == taken_over
    if taken_over:  # and giving back what it no longer had did not take it from the other
        await other.add_items([said("other")])
        assert len(await other.get_items()) == 2


async def test_who_holds_none_cannot_write_into_a_turn(open_session: Open) -> None:
    holder, outsider = open_session(), open_session()
    async with holder.lease(60):
        await holder.add_items([said("mine")])
        with pytest.raises(LeaseUnavailableError):
            await outsider.add_items([said("yours")])
        with pytest.raises(LeaseUnavailableError):
            await outsider.pop_item()
        assert await outsider.get_items() == [said("mine")]
    await outsider.add_items([said("yours")])
    assert await holder.get_items() == [said("mine"), said("yours")]


@pytest.mark.parametrize("items", [1, 200])
async def test_to_forget_a_session_ends_its_turn(open_session: Open, items: int) -> None:
    holder = open_session()
    async with holder.lease(60):
        for number in range(0, items, 20):
            await holder.add_items([said(f"{number} " + "x" * 300)] * min(20, items))
        await open_session().clear_session()
        with pytest.raises(LeaseLostError):
            await holder.add_items([said("half a turn")])
    assert await open_session().get_items() == []


async def test_the_holder_may_clear_and_go_on(open_session: Open) -> None:
    holder = open_session()
    async with holder.lease(60):
        await holder.add_items([said("old")])
        await holder.clear_session()
        await holder.add_items([said("new")])
    assert await open_session().get_items() == [said("new")]


async def test_a_lease_can_be_extended_until_it_runs_out(open_session: Open, clock: Clock) -> None:
    session = open_session()
    async with session.lease(10) as lease:
        clock.now += 9
        await lease.extend(10)
        clock.now += 9
        await session.add_items([said("in time")])
        clock.now += 2
        with pytest.raises(LeaseLostError):
            await lease.extend(10)


async def test_a_turn_that_stored_nothing_leaves_nothing(
    open_session: Open, client: DynamoDBClient, table: str
) -> None:
    async with open_session(owner="ada", ttl_seconds=60).lease(60):
        assert (await client.scan(TableName=table))["Count"] == 1
    assert (await client.scan(TableName=table))["Count"] == 0


async def test_a_turn_cancelled_while_it_takes_the_lease_does_not_keep_it(
    open_session: Open, client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Event()
    put_item = client.put_item

    async def slow_put_item(**request: Any) -> Any:
        answer = await put_item(**request)
        arrived.set()
        await asyncio.sleep(0.05)
        return answer

    async def turn() -> None:
        async with open_session().lease(600):
            pytest.fail("it was cancelled before")

    monkeypatch.setattr(client, "put_item", slow_put_item)
    task = asyncio.create_task(turn())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with open_session().lease(1):
        pass


async def test_one_object_holds_one_lease(open_session: Open) -> None:
    session = open_session()
    async with session.lease(60):
        with pytest.raises(InvalidInputError):
            async with session.lease(60):
                pytest.fail("nested")
    with pytest.raises(InvalidInputError):
        async with session.lease(0):
            pytest.fail("no time")


async def test_a_lost_answer_does_not_lose_the_lease(
    proxy: FaultProxy, connect: Connect, table: str, clock: Clock
) -> None:
    """The write that took the lease landed, its answer did not: its holder finds itself in the head."""
    client = await connect(proxy.url)
    session = DynamoDBSession("ada", client, table, options=StorageOptions(clock=clock))
    proxy.on("PutItem", faults.drop_response, times=2)
    async with session.lease(60):
        await session.add_items([said("mine")])
    async with DynamoDBSession("ada", client, table).lease(1):
        pass


async def test_a_lease_that_cannot_be_given_back_does_not_fail_the_turn(
    proxy: FaultProxy, connect: Connect, table: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(proxy.url, attempts=1)
    session = DynamoDBSession("ada", client, table, options=StorageOptions(clock=clock, patience_seconds=0))
    async with session.lease(60):
        await session.add_items([said("mine")])
        proxy.on("PutItem", faults.throttled, times=1000)
    assert "could not be given back" in caplog.text
