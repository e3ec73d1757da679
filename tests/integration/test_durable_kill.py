"""A durable run that is killed anywhere ends as one that was not: counted over all the processes that it had."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws_durable_execution_sdk_python_testing import DurableFunctionTestResult

from openai_agents_session import DynamoDBSession
from openai_agents_session.durable import DurableOptions
from openai_agents_session.storage.keys import large_key
from openai_agents_session.turns import INTERRUPTED, Outcome
from tests.support.durable_worker import Job, invoked_elsewhere, service_for
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

pytestmark = pytest.mark.one_engine

Sample = Callable[[Sequence[Any], int], Sequence[Any]]

TOOLS = ("pay c1", "pay c2", "ship c3", "mail c4")


@pytest.fixture
def job(engine: Engine, table: str, tmp_path: Path) -> Job:
    """A job that nothing disturbs."""
    return Job(engine.endpoint_url, table, tmp_path)


def played(job: Job) -> DurableFunctionTestResult:
    """The job, from its beginning to its end."""
    job.folder.mkdir(exist_ok=True)
    with service_for(invoked_elsewhere(job)) as runner:
        return runner.run(input=json.dumps({"message": "Go."}), execution_timeout=100)


async def history(client: DynamoDBClient, job: Job) -> list[Any]:
    """The session's items."""
    return list(await DynamoDBSession(job.session_id, client, job.table).get_items())


def trial_of(job: Job, *fatal: int, **changes: Any) -> Job:
    """The same job in a session and a folder of its own, killed at these points."""
    name = "-".join(map(str, fatal)) or "whole"
    return replace(job, folder=job.folder / name, session_id=f"killed-{name}", fatal=frozenset(fatal), **changes)


async def test_killed_at_any_point(job: Job, client: DynamoDBClient, sample: Sample) -> None:
    """The same history and answer, each tool at most once, no checkpointed model call again."""
    whole = trial_of(job)
    answer = played(whole).result
    expected = await history(client, whole)
    assert whole.effects.of("tool") == dict.fromkeys(TOOLS, 1)
    points = whole.points

    killed = 0
    chosen = sample(range(len(points)), 12)
    for point in chosen:
        trial = trial_of(job, point)
        result = played(trial)
        assert result.result == answer, points[point]
        killed += len(trial.points) > point
        stored = await history(client, trial)
        interrupted = [item for item in stored if item.get("output") == INTERRUPTED]
        assert [unless_interrupted(a, b) for a, b in zip(stored, expected, strict=True)] == expected, points[point]
        assert all(count == 1 for count in trial.effects.of("tool").values()), points[point]
        assert len(trial.effects.of("tool")) >= len(TOOLS) - len(interrupted)
        assert sum(trial.effects.of("model").values()) <= 4, "one was under way at most"
        assert not interrupted or not points[point].startswith("model"), points[point]
    # Two runs may differ by a request or two: of the last points a run may not come to all.
    assert killed >= len(chosen) - 2


def unless_interrupted(item: Any, expected: Any) -> Any:
    return expected if item.get("output") == INTERRUPTED and item["call_id"] == expected["call_id"] else item


async def test_killed_at_any_point_with_tools_that_may_run_again(
    job: Job, client: DynamoDBClient, sample: Sample
) -> None:
    """With tools that run at least once the history is the same to the last item."""
    options = DurableOptions(at_least_once=("pay", "ship", "mail"))
    whole = trial_of(job, options=options)
    played(whole)
    expected = await history(client, whole)

    for point in sample(range(len(whole.points)), 5):
        trial = trial_of(job, point, options=options)
        assert played(trial).error is None
        assert await history(client, trial) == expected
        assert set(trial.effects.of("tool")) == set(TOOLS)
        assert all(count <= 2 for count in trial.effects.of("tool").values())


async def test_killed_while_it_fails(job: Job, client: DynamoDBClient, sample: Sample) -> None:
    """A run whose tool fails, killed anywhere, ends its turn, and each call has one output: it fails all the same,
    unless the model was told that the tool was interrupted."""
    whole = trial_of(job, agent="breaker")
    assert "DurableRunError" in str(played(whole).error)
    points = whole.points

    for point in sample(range(points.index("tool break before"), len(points)), 6):
        trial = trial_of(job, point, agent="breaker")
        error = str(played(trial).error)
        turns, _ = await DynamoDBSession(trial.session_id, client, job.table)._store.turns()
        stored = await history(client, trial)
        outputs = {item["call_id"]: item["output"] for item in stored if item.get("type") == "function_call_output"}
        expected = Outcome.ANSWERED if outputs["c2"] == INTERRUPTED else Outcome.FAILED
        assert (turns.open, [turn.outcome for turn in turns.finished]) == (None, [expected]), points[point]
        assert ("DurableRunError" in error) == (expected is Outcome.FAILED), (points[point], error)
        assert (len(stored), sorted(outputs)) == (7 if expected is Outcome.FAILED else 8, ["c1", "c2", "c3"]), points[
            point
        ]
        assert all(count == 1 for count in trial.effects.of("tool").values())


async def test_killed_with_a_result_beside_the_session(job: Job, client: DynamoDBClient, sample: Sample) -> None:
    """A result that is kept in the table is removed when the run ends, also one whose checkpoint did not come."""
    settings: dict[str, Any] = {"agent": "reader", "options": DurableOptions(inline_bytes=2_000)}
    whole = trial_of(job, **settings)
    played(whole)
    kept = whole.points.index("tool read after")

    for point in sample(range(kept, kept + 8), 4):
        trial = trial_of(job, point, **settings)
        assert played(trial).error is None, whole.points[point]
        session = DynamoDBSession(trial.session_id, client, job.table)
        assert await session._companion(large_key(trial.session_id)).read(None) == [], whole.points[point]
        assert set(trial.effects.of("tool").values()) <= {1}


async def test_killed_twice(job: Job, client: DynamoDBClient, sample: Sample) -> None:
    """Two deaths of one run change as little as one."""
    whole = trial_of(job)
    played(whole)
    expected = await history(client, whole)
    pairs = [(first, first + later) for first in range(len(whole.points)) for later in (1, 3, 8)]

    for first, second in sample(pairs, 4):
        trial = trial_of(job, first, second)
        assert played(trial).error is None
        stored = await history(client, trial)
        assert [unless_interrupted(a, b) for a, b in zip(stored, expected, strict=True)] == expected
        assert all(count == 1 for count in trial.effects.of("tool").values())
