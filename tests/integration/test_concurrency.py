"""Concurrent writers, from processes of their own: nothing is lost, doubled or torn, and a crowd ends in time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import ContentionError, DynamoDBSession, LeaseUnavailableError
from tests.support.script import TINY, Step, batch, read, stored_items, unknown_parts
from tests.support.worker import Job, Try, Workers
from tools.emulation import faults
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Connect = Callable[..., Awaitable["DynamoDBClient"]]
Task = tuple[str, str, int]

PROCESSES = 4


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """Forks processes."""
    async with Workers.start() as running:
        yield running


@pytest.fixture
def times(engine: Engine, request: pytest.FixtureRequest) -> int:
    """How often each task of a crowd has its way; once on engines that do a few hundred requests a second."""
    quick = engine.name == "dynoxide" or request.config.getoption("--exhaustive")
    return 2 if quick else 1


async def crowd(
    workers: Workers, engine: Engine, table: str, tasks: Iterable[Task], session_id: str = "s"
) -> list[Try]:
    """Deal tasks out to processes that run at once; what became of all tries, in the order in which they ended."""
    dealt = list(tasks)
    jobs = [
        Job(engine.endpoint_url, table, session_id, crowd=tuple(dealt[number::PROCESSES]))
        for number in range(PROCESSES)
    ]
    outcomes = await asyncio.gather(*(worker.outcome() for worker in [workers.fork(job) for job in jobs]))
    for outcome in outcomes:
        assert outcome[-1] == {"over": True}, outcome
    tries = [Try.of(said) for outcome in outcomes for said in outcome[0]["tries"]]
    return sorted(tries, key=lambda each: each.ended)


def acknowledged(tries: Sequence[Try]) -> list[Try]:
    """Those that were; the others gave up, which on a slow engine some may, and then must have stored nothing."""
    assert {each.outcome for each in tries} <= {"ok", "ContentionError"}
    done = [each for each in tries if each.outcome == "ok"]
    assert len(done) > 0.8 * len(tries)
    return done


def appenders(count: int, times: int, kind: str = "append") -> list[Task]:
    return [(kind, f"{kind}{number}", times) for number in range(count)]


def assert_whole(history: Sequence[str], batches: Iterable[tuple[str, ...]]) -> None:
    """Of each batch in a history the beginning is there (its end may have been popped), in one piece."""
    runs = [(name, tuple(group)) for name, group in itertools.groupby(history, key=lambda item: item.partition(".")[0])]
    assert max(Counter(name for name, _ in runs).values(), default=1) == 1, "a batch lies in two pieces"
    known = {ids[0].partition(".")[0]: ids for ids in batches}
    for name, run in runs:
        assert run == known[name][: len(run)]


def assert_in_order(history: Sequence[str]) -> None:
    """What one writer appended after the other lies so."""
    latest: dict[str, int] = {}
    for item in history:
        writer, _, number = item.partition(".")[0].partition("-")
        assert latest.get(writer, -1) <= int(number)
        latest[writer] = int(number)


async def test_64_appenders_and_64_poppers_from_4_processes(
    engine: Engine, workers: Workers, client: DynamoDBClient, table: str, times: int
) -> None:
    """Every acknowledged append is there exactly once, or was popped exactly once."""
    tasks = appenders(64, times) + [("pop", "", times)] * 64 + [("read", "", 4)] * 2
    tries = acknowledged(await crowd(workers, engine, table, tasks))
    history = await read(DynamoDBSession("s", client, table, options=TINY))
    batches = [each.ids for each in tries if each.kind == "append"]
    popped = [item for each in tries if each.kind == "pop" for item in each.ids]
    assert Counter([*history, *popped]) == Counter(item for ids in batches for item in ids)
    for seen in (history, *(each.ids for each in tries if each.kind == "read")):
        assert_whole(seen, batches)
        assert_in_order(seen)
    assert await unknown_parts(client, table) == []


async def test_a_clear_in_their_midst(
    engine: Engine, workers: Workers, client: DynamoDBClient, table: str, times: int
) -> None:
    """Nothing from before a clear is there after it, everything from after it is, and nothing comes twice."""
    tasks = appenders(64, times) + [("pop", "", times)] * 64
    tasks[20:20] = [("clear", "", 1)]
    tries = acknowledged(await crowd(workers, engine, table, tasks))
    (clear,) = (each for each in tries if each.kind == "clear")
    session = DynamoDBSession("s", client, table, options=TINY)
    history = await read(session)
    appends = [each for each in tries if each.kind == "append"]
    popped = [item for each in tries if each.kind == "pop" for item in each.ids]
    assert max(Counter([*history, *popped]).values()) == 1
    for each in appends:
        if each.ended < clear.began:
            assert not set(each.ids) & set(history), "a clear resurrected"
        if each.began > clear.ended:
            assert set(each.ids) <= {*history, *popped}, "an append after the clear is lost"
    assert_whole(history, [each.ids for each in appends])
    assert_in_order(history)
    await session.clear_session()
    assert await stored_items(client, table) == []


async def test_50_session_objects_at_once(client: DynamoDBClient, connect: Connect, engine: Engine, table: str) -> None:
    """50 concurrent `add_items` from 50 session objects: 50 batches stored, none torn."""
    batches = [batch(f"b{number}-0", 3, 100) for number in range(50)]
    sessions = [DynamoDBSession("s", client, table) for _ in batches]
    await asyncio.gather(
        *(session.add_items(list(items)) for session, items in zip(sessions, batches, strict=True))  # type: ignore[arg-type]
    )
    history = await read(sessions[0])
    assert len(history) == 150
    assert_whole(history, [tuple(item["id"] for item in items) for items in batches])


async def test_one_session_object_used_at_once(client: DynamoDBClient, table: str) -> None:
    """A session object may be used by many tasks: its operations take turns."""
    session = DynamoDBSession("s", client, table, options=TINY)
    batches = [batch(f"b{number}-0", 2, 100) for number in range(20)]
    await asyncio.gather(*(session.add_items(list(items)) for items in batches))  # type: ignore[arg-type]
    assert await read(session) == tuple(item["id"] for items in batches for item in items)


async def test_large_batches_at_once(engine: Engine, workers: Workers, client: DynamoDBClient, table: str) -> None:
    """Batches of many parts that are written at the same time do not keep each other from being committed."""
    tries = await crowd(workers, engine, table, appenders(3, 1, "large") + appenders(4, 2))
    assert {each.outcome for each in tries} == {"ok"}
    history = await read(DynamoDBSession("s", client, table))
    assert Counter(history) == Counter(item for each in tries for item in each.ids)
    assert_whole(history, [each.ids for each in tries])
    assert await unknown_parts(client, table) == []


@pytest.mark.parametrize("patience_seconds", [0.4, 1.2])
async def test_contention_gives_up_when_its_time_is_over(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str, patience_seconds: float
) -> None:
    """A writer that always comes second backs off with jitter, gives up after the stated time, and stores nothing."""
    options = replace(TINY, patience_seconds=patience_seconds)
    session = DynamoDBSession("s", await connect(proxy.url), table, options=options)
    rival = DynamoDBSession("s", client, table)
    clock = asyncio.get_running_loop().time
    tries: list[float] = []
    numbers = itertools.count()

    async def come_first() -> None:
        tries.append(clock())
        await rival.pop_item()
        await rival.add_items([*batch(f"r{next(numbers)}", 1, 20)])  # type: ignore[list-item]

    proxy.on("PutItem", faults.before(come_first), times=1 << 30)
    began = clock()
    with pytest.raises(ContentionError, match="nothing was written"):
        await session.add_items([*batch("mine", 1, 20)])  # type: ignore[list-item]
    assert patience_seconds <= clock() - began < patience_seconds + 1.5
    assert await read(rival) == (f"r{next(numbers) - 1}.0",)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert 4 <= len(tries) < 100 * patience_seconds, "neither lazy nor a storm"
    assert len({round(pause, 3) for pause in pauses}) > len(pauses) / 2, "all pauses are alike"


async def test_turns_under_a_lease_from_4_processes(
    engine: Engine, workers: Workers, client: DynamoDBClient, table: str
) -> None:
    """Of 8 turns that start at once each has the session for itself: its answer follows its question."""
    tries = await crowd(workers, engine, table, [("turn", f"t{number}", 1) for number in range(8)])
    assert {each.outcome for each in tries} == {"ok"}
    history = await read(DynamoDBSession("s", client, table, options=TINY))
    assert len(history) == 16
    for question, answer in zip(history[::2], history[1::2], strict=True):
        assert (question, answer) in {each.ids for each in tries}


async def test_a_holder_that_is_killed_frees_the_lease(
    engine: Engine, workers: Workers, client: DynamoDBClient, table: str
) -> None:
    """SIGKILL meets a holder: others wait until its lease runs out, no longer, and nothing of it is left."""
    worker = workers.fork(Job(engine.endpoint_url, table, "s", hold=(1.5, 60)))
    while "leased" not in (await worker.lines.get()):
        pass
    await worker.kill()
    session = DynamoDBSession("s", client, table)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseUnavailableError) as refused:
        async with session.lease(5):
            pass
    assert 0 < refused.value.retry_after <= 1.5
    async with session.lease(10, wait_seconds=10):
        assert asyncio.get_running_loop().time() - began >= refused.value.retry_after - 0.1
        assert asyncio.get_running_loop().time() - began < 5
        await Step("add", batch("a", 1, 20)).perform(session)
    assert await read(session) == ("a.0",)


@pytest.mark.parametrize("taken_over", [True, False])
async def test_a_holder_that_slept_past_its_lease_cannot_write(
    engine: Engine, workers: Workers, client: DynamoDBClient, table: str, taken_over: bool
) -> None:
    """Its lease ran out in another process, whether somebody else took it or not: the write is fenced off."""
    worker = workers.fork(Job(engine.endpoint_url, table, "s", hold=(0.3, 0.8)))
    session = DynamoDBSession("s", client, table)
    while "leased" not in (await worker.lines.get()):
        pass
    if taken_over:
        async with session.lease(5, wait_seconds=5):
            await Step("add", batch("a", 1, 20)).perform(session)
            said: list[Any] = await worker.outcome()
    else:
        said = await worker.outcome()
    assert said[0] == {"wrote": "LeaseLostError"}
    assert await read(session) == (("a.0",) if taken_over else ())
