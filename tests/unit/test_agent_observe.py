"""What is seen of a turn: a span for each model, tool and store call, sums of the store's events, and no contents."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from aws_xray_sdk import global_sdk_config
from aws_xray_sdk.core import xray_recorder

from openai_agents_session import Event
from openai_agents_session.service import observe
from openai_agents_session.service.observe import StoreObserver, log_answer, log_failure, span
from openai_agents_session.service.spans import SpanHooks


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A trace as Lambda begins one, with the handler's subsegment open."""
    monkeypatch.setattr(observe.tracer, "disabled", False)
    enabled = global_sdk_config.sdk_enabled()
    global_sdk_config.set_sdk_enabled(True)
    xray_recorder.configure(sampling=False, context_missing="LOG_ERROR")
    segment = xray_recorder.begin_segment("lambda")
    handler = xray_recorder.begin_subsegment("## handler")
    yield handler
    xray_recorder.clear_trace_entities()
    del segment
    global_sdk_config.set_sdk_enabled(enabled)


def names(handler: Any) -> list[str]:
    return [child.name for child in handler.subsegments]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    sums: dict[str, float] = {}

    def add(name: str, value: float = 1) -> None:
        sums[name] = sums.get(name, 0) + value

    monkeypatch.setattr(observe, "count", add)
    monkeypatch.setattr("openai_agents_session.service.spans.count", add)
    return sums


def test_a_finished_span_is_under_the_handlers_with_its_own_times(trace: Any) -> None:
    span("store get_item", 1_800_000_000.0, 1_800_000_000.25, failed=True, table="sessions")
    (child,) = trace.subsegments
    assert (child.start_time, child.end_time, child.fault) == (1_800_000_000.0, 1_800_000_000.25, True)
    assert child.annotations == {"table": "sessions"}
    assert not child.in_progress
    assert child.parent_id == trace.id


def test_without_a_trace_a_span_is_nothing() -> None:
    assert observe.tracer.disabled
    span("store get_item", 0.0, 1.0)


def test_an_invocation_counts_what_its_store_did(trace: Any, counted: dict[str, float]) -> None:
    observer = StoreObserver(clock=lambda: 100.0)
    observer(Event("request", "get_item", seconds=0.5, read_units=1.0))
    observer(Event("request", "put_item", seconds=0.25, write_units=2.0, error="Refused"))
    for name in ("conflict", "conflict", "retry", "seal", "merge", "lease_wait", "refresh"):
        observer(Event(name))
    observer.flush()
    assert counted == {
        "StoreRequests": 2,
        "ConsumedReadUnits": 1.0,
        "ConsumedWriteUnits": 2.0,
        "StoreConflicts": 2,
        "StoreRetries": 1,
        "StoreSeals": 1,
        "StoreMerges": 1,
        "LeaseWaits": 1,
    }
    assert names(trace) == ["store get_item", "store put_item"]
    assert [child.start_time for child in trace.subsegments] == [99.5, 99.75]
    counted.clear()
    observer.flush()
    assert counted == {}


@function_tool
async def slow(seconds: float) -> str:
    """Takes its time."""
    await asyncio.sleep(seconds)
    return "done"


def agent(*steps: list[Any]) -> Agent[None]:
    return Agent(name="Worker", model=ScriptedModel(list(steps)), tools=[slow])


async def test_each_model_and_tool_call_has_a_span_also_at_the_same_time(trace: Any, counted: dict[str, float]) -> None:
    calls = [function_call("slow", {"seconds": s}, call_id=f"c{s}") for s in (0.02, 0.01)]
    with SpanHooks() as hooks:
        await Runner.run(agent(calls, [assistant_message("done")]), "go", hooks=hooks)
    assert names(trace) == ["model Worker", "tool slow", "tool slow", "model Worker"]
    first, second = trace.subsegments[1:3]
    assert max(first.start_time, second.start_time) < min(first.end_time, second.end_time)
    assert counted == {"ModelCalls": 2, "ToolCalls": 2}


async def test_what_a_deadline_cuts_off_has_a_span_that_failed(trace: Any, counted: dict[str, float]) -> None:
    started = asyncio.Event()

    class Watched(SpanHooks):
        async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
            await super().on_tool_start(context, agent, tool)
            started.set()

    async def turn() -> None:
        with Watched() as hooks:
            call = function_call("slow", {"seconds": 60}, call_id="c")
            await Runner.run(agent([call]), "go", hooks=hooks)

    running = asyncio.create_task(turn())
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [(child.name, getattr(child, "fault", False)) for child in trace.subsegments] == [
        ("model Worker", False),
        ("tool slow", True),
    ]


@pytest.mark.parametrize("content", [False, True])
def test_what_was_said_is_logged_only_if_asked_for(content: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        log_answer(200, {"answer": "the password is swordfish", "tools": ["calculate"]}, content=content)
    (logged,) = (vars(record) for record in caplog.records)
    assert ("swordfish" in str(logged)) == content
    assert logged["status"] == 200
    assert content or logged["tools"] == ["calculate"]


@pytest.mark.parametrize("content", [False, True])
def test_a_failure_is_logged_by_its_places_and_its_texts_only_if_asked_for(
    content: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cause, failure = ValueError("what was said"), RuntimeError("what was answered")
    cause.__context__ = failure  # a circle, as libraries make them
    try:
        raise failure from cause
    except RuntimeError as error:
        log_failure("it failed", error, content=content, status=502)
    (logged,) = (vars(record) for record in caplog.records)
    assert logged["status"] == 502
    assert ("what was" in str(logged)) == content
    if not content:
        assert [place.split(" at ")[0] for place in logged["causes"]] == ["RuntimeError", "ValueError"]
        assert "test_agent_observe.py" in logged["causes"][0]


@pytest.mark.parametrize(
    ("told", "namespace"), [(None, "OpenAIAgentsSession"), ("", "OpenAIAgentsSession"), ("mine", "mine")]
)
def test_metrics_have_a_namespace_where_none_is_told(told: str | None, namespace: str) -> None:
    """Powertools refuses metrics without one, which would cost an answer that was given and stored."""
    name = "POWERTOOLS_METRICS_NAMESPACE"
    environ = {key: value for key, value in os.environ.items() if key != name} | ({} if told is None else {name: told})
    program = (
        "from openai_agents_session.service.observe import count, metrics\n"
        "count('Requests')\n"
        "print(metrics.serialize_metric_set()['_aws']['CloudWatchMetrics'][0]['Namespace'])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == namespace
