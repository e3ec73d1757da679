"""Cancelled anywhere: a mutation in flight settles before the cancellation is passed on.

At each request of each step of `tests.support.script`, the task is cancelled: before the request is on its way to
DynamoDB, or when DynamoDB has done what was asked and the answer is still out.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession
from tests.support.script import (
    SCRIPTS,
    TINY,
    Disturbances,
    Point,
    Rehearsal,
    Step,
    at_once,
    batch,
    read,
    unknown_parts,
)
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Connect = Callable[..., Awaitable["DynamoDBClient"]]
Rehearse = Callable[[str], Awaitable[Rehearsal]]
Sample = Callable[[Sequence[Any], int], Sequence[Any]]

NEXT = Step("add", batch("next", 1, 100))

MOMENTS: dict[str, Callable[[faults.Callback], faults.Fault]] = {
    "on the way": faults.before,
    "answer pending": faults.after,
    "request lost": lambda cancel: faults.within(faults.before(cancel), faults.drop_request),
    "answer lost": lambda cancel: faults.within(faults.drop_response, faults.after(cancel)),
}


@pytest.fixture(autouse=True)
async def no_complaints() -> AsyncIterator[None]:
    """Asyncio has nothing to complain about: no exception that nobody saw, no task destroyed while pending."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize("name", list(SCRIPTS))
async def test_a_cancelled_step_is_done_before_the_cancellation_is_passed_on(
    name: str,
    client: DynamoDBClient,
    connect: Connect,
    quick_proxy: FaultProxy,
    rehearse: Rehearse,
    sample: Sample,
    table: str,
) -> None:
    """Cancelled at each request, also twice: when `CancelledError` comes out, the step is done, and nothing follows."""
    rehearsal = await rehearse(name)
    behind = await connect(quick_proxy.url, attempts=1)
    disturbances = Disturbances(quick_proxy)

    async def trial(point: Point, moment: str, times: int) -> None:
        stage = point.stage
        session_id = f"cancelled-{stage.number}-{point.warm}-{point.request}-{moment}-{times}"
        await stage.set_up(client, table, session_id)
        session = stage.session(behind, table, session_id)
        if point.warm:
            await read(session)
        task: asyncio.Task[Any] = asyncio.create_task(stage.step.perform(session))

        async def cancel() -> None:
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)

        disturbed = disturbances.set(session_id, MOMENTS[moment](cancel), point.request)
        with pytest.raises(asyncio.CancelledError):
            await task
        made = disturbed.requests
        await asyncio.sleep(0.02)
        assert disturbed.requests == made, "a request followed"
        allowed = [stage.step.apply(stage.history)]
        if not stage.stored and "lost" in moment:  # no look at an absent session tells whether its first write landed
            allowed.append(stage.history)
        other = stage.session(client, table, session_id)
        history = await read(other)
        assert history in allowed
        await NEXT.perform(session)
        assert await read(other) == NEXT.apply(history)

    cases = [(point, moment, times) for times in (1, 2) for moment in MOMENTS for point in rehearsal.points]
    await at_once(lambda case=case: trial(*case) for case in sample(cases, 80))
    assert await unknown_parts(client, table) == []


async def test_a_cancelled_read_ends_at_once(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A read changes nothing, so nobody waits for it; the session goes on."""
    session = DynamoDBSession("s", await connect(proxy.url, attempts=1), table, options=TINY)
    for number in range(4):
        await session.add_items([*batch(f"a{number}", 1, 160)])  # type: ignore[list-item]
    for operation in ("GetItem", "BatchGetItem"):
        proxy.reset()
        reached, answered = asyncio.Event(), asyncio.Event()

        async def hold(reached: asyncio.Event = reached, answered: asyncio.Event = answered) -> None:
            reached.set()
            await answered.wait()

        proxy.on(operation, faults.before(hold))
        task = asyncio.create_task(session.get_items())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answered.set()
        assert await read(session) == ("a0.0", "a1.0", "a2.0", "a3.0")


async def test_a_timeout_waits_for_the_outcome(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """`asyncio.timeout` around a slow write raises `TimeoutError` once the write is over, and it is there."""
    session = DynamoDBSession("s", await connect(proxy.url), table)
    proxy.on("PutItem", faults.delay(0.3))
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await NEXT.perform(session)
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert await read(DynamoDBSession("s", client, table)) == NEXT.ids


async def test_a_failure_behind_a_cancellation_is_not_lost_on_the_session(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """The write that was cancelled fails too: the cancellation is what comes out, nothing is stored, it goes on."""
    session = DynamoDBSession("s", await connect(proxy.url, attempts=1), table)
    task = asyncio.create_task(NEXT.perform(session))
    proxy.on("PutItem", faults.within(faults.before(lambda: task.cancel()), faults.error("ValidationException")))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await read(session) == ()
    await NEXT.perform(session)
    assert await read(session) == NEXT.ids


async def test_one_that_waits_for_its_turn_is_cancelled_before_it_began(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """Of two operations of one session object the second has not begun: cancelled, it does nothing."""
    session = DynamoDBSession("s", await connect(proxy.url), table)
    proxy.on("PutItem", faults.delay(0.1))
    first = asyncio.create_task(NEXT.perform(session))
    second = asyncio.create_task(Step("add", batch("second", 1, 100)).perform(session))
    await asyncio.sleep(0.03)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await first
    assert await read(DynamoDBSession("s", client, table)) == NEXT.ids


async def test_a_task_group_that_fails_leaves_whole_batches(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A sibling fails while batches are under way: each is stored or not, none in part, and all are over."""
    behind = await connect(proxy.url)

    async def fail() -> None:
        await asyncio.sleep(0.03)
        raise LookupError

    async def add(number: int) -> None:
        session = DynamoDBSession("s", behind, table, options=TINY)
        await session.add_items([*batch(f"b{number}", 3, 120)])  # type: ignore[list-item]

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(add(number))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await work()
    history = await read(DynamoDBSession("s", client, table, options=TINY))
    await asyncio.sleep(0.1)
    assert await read(DynamoDBSession("s", client, table, options=TINY)) == history
    whole = [tuple(f"{history[i].partition('.')[0]}.{n}" for n in range(3)) for i in range(0, len(history), 3)]
    assert [item for batch_ids in whole for item in batch_ids] == list(history)
