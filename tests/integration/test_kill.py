"""Killed anywhere: a process that dies at any request loses nothing that was acknowledged, and leaves nothing behind.

A worker makes one step of `tests.support.script` from the state that the script had reached, and SIGKILL meets it
before or after one of its requests reached DynamoDB. With `--exhaustive` every request of both scripts is met both
ways, and the tiny script is also played from its beginning to each of its requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession
from tests.support.script import (
    SCRIPTS,
    Disturbances,
    Point,
    Rehearsal,
    Step,
    at_once,
    batch,
    read,
    stored_items,
    unknown_parts,
)
from tests.support.worker import Job, Worker, Workers
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Sample = Callable[[Sequence[Any], int], Sequence[Any]]
Rehearse = Callable[[str], Awaitable[Rehearsal]]

KILLS: dict[str, Callable[[Worker], faults.Fault]] = {
    "before": lambda worker: faults.kill_before(worker.kill),
    "after": lambda worker: faults.kill_after(worker.kill),
}


@pytest.mark.parametrize("name", list(SCRIPTS))
async def test_a_step_killed_at_any_request_happened_or_did_not(
    name: str,
    client: DynamoDBClient,
    quick_proxy: FaultProxy,
    rehearse: Rehearse,
    sample: Sample,
    table: str,
) -> None:
    """Acknowledged is there, the batch is whole, the next process goes on, all parts are known, a clear leaves none."""
    rehearsal = await rehearse(name)
    disturbances = Disturbances(quick_proxy)

    async with Workers.start() as workers:

        async def trial(point: Point, when: str) -> None:
            stage = point.stage
            session_id = f"killed-{stage.number}-{point.warm}-{point.request}-{when}"
            await stage.set_up(client, table, session_id)
            worker = workers.fork(Job(quick_proxy.url, table, session_id, name, (stage.number,), warm=point.warm))
            disturbances.set(session_id, KILLS[when](worker), point.reads + point.request)
            said = await worker.outcome()
            assert said == [], "it was killed before it could acknowledge"
            await goes_on(stage.session(client, table, session_id), {stage.history, stage.step.apply(stage.history)})

        cases = [(point, when) for point in rehearsal.points for when in KILLS]
        await at_once((lambda case=case: trial(*case) for case in sample(cases, 50)), limit=4)
        assert await unknown_parts(client, table) == []
        survivors = {item["session_id"]["S"].partition("#~")[0] for item in await stored_items(client, table)}
        for session_id in survivors:
            await DynamoDBSession(session_id, client, table).clear_session()
        assert await stored_items(client, table) == []


async def test_a_script_killed_at_any_request_kept_what_was_acknowledged(
    client: DynamoDBClient, quick_proxy: FaultProxy, table: str, sample: Sample
) -> None:
    """The whole script in one process: the history is that of the acknowledged steps, or of one step more."""
    disturbances = Disturbances(quick_proxy)
    options, steps = SCRIPTS["tiny"]
    numbers = tuple(range(len(steps)))

    async with Workers.start() as workers:
        counted = disturbances.set("whole")
        assert (await workers.fork(Job(quick_proxy.url, table, "whole", steps=numbers)).outcome())[-1] == {"over": True}

        async def trial(request: int, when: str) -> None:
            session_id = f"killed-{request}-{when}"
            worker = workers.fork(Job(quick_proxy.url, table, session_id, steps=numbers))
            disturbances.set(session_id, KILLS[when](worker), request)
            acknowledged = await worker.outcome()
            history: tuple[str, ...] = ()
            for number, line in enumerate(acknowledged):
                assert line == {"done": number, "result": steps[number].result(history)}
                history = steps[number].apply(history)
            session = DynamoDBSession(session_id, client, table, options=options)
            await goes_on(session, {history, steps[len(acknowledged)].apply(history)})
            await session.clear_session()

        points = [(request, when) for request in range(1, counted.requests + 1) for when in KILLS]
        await at_once((lambda p=point: trial(*p) for point in sample(points, 12)), limit=3)
        assert await stored_items(client, table) == []


async def goes_on(session: DynamoDBSession, allowed: set[tuple[str, ...]]) -> None:
    """Another process finds one of these histories, and goes on: seals, writes a large batch, pops."""
    history = await read(session)
    assert history in allowed
    for step in (
        Step("add", batch("small", 2, 160)),
        Step("add", batch("large", 1, 12_000)),
        Step("pop"),
        Step("add", batch("last", 1, 400)),
    ):
        assert await step.perform(session) == step.result(history)
        history = step.apply(history)
    assert await read(session) == history
