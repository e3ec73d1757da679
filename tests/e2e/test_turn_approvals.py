"""A run that cannot be resumed is answered with a reason, stays pending, and can be discarded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from openai_agents_session import DynamoDBSession
from openai_agents_session.runs import PendingCall, PendingRuns
from tests.support.turns import TurnStage, ask, new_id
from tools.emulation.rie import Emulator
from tools.emulation.strict_script import by_turn, calls, says

REFUND_CALL = PendingCall("call_1", "refund", '{"order": "A-1"}')


@pytest.fixture(autouse=True)
def _refunds(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = by_turn(calls("refund", order="A-1"), says("Refunded."))


def pending(environment: Emulator, session_id: str) -> Any:
    return environment.invoke({"session_id": session_id, "action": "approvals"}).answer["pending"]


def approve(session_id: str, run_id: str) -> dict[str, str]:
    return {"session_id": session_id, "action": "approve", "run_id": run_id}


@pytest.mark.parametrize("deployed", [{"AGENT_WITHOUT": "refund"}, {"AGENT_NAME": "Somebody else"}])
def test_a_run_whose_agent_or_tool_is_gone_waits_for_the_deploy_that_brings_it_back(
    turns: TurnStage, one: Emulator, deployed: dict[str, str]
) -> None:
    session_id = new_id()
    run_id = one.invoke(ask(session_id, "Refund.")).answer["pending"]["run_id"]
    with turns.environment(**deployed) as newer:
        answer = newer.invoke(approve(session_id, run_id)).answer
        assert answer["status"] == 409
        assert answer["code"] == "run_not_resumable"
        assert pending(newer, session_id)["status"] == "pending"
    assert turns.effects.of("refund") == 0
    assert one.invoke(approve(session_id, run_id)).answer["answer"] == "Refunded."
    assert turns.effects.of("refund") == 1


async def park(turns: TurnStage, session_id: str, state: str) -> str:
    """Park a run as another version of the function would have."""
    table = turns.stage.variables["SESSION_TABLE"]
    where = {"endpoint_url": turns.stage.endpoint_url, "region_name": "us-east-1"}
    async with DynamoDBSession.connect(session_id, table, **where) as session:
        await session.add_items([{"role": "user", "content": "Refund."}, json.loads(CALL)])
        return (await PendingRuns(session).park(state, [REFUND_CALL])).run_id


CALL = '{"type": "function_call", "call_id": "call_1", "name": "refund", "arguments": "{\\"order\\": \\"A-1\\"}"}'


@pytest.mark.parametrize(
    "state",
    [
        pytest.param('{"$schemaVersion": "99.0"}', id="newer"),
        pytest.param('{"$schemaVersion": "0.1"}', id="older"),
        pytest.param('{"$schemaVersion": "1.21"}', id="damaged"),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="a list"),
    ],
)
async def test_a_state_that_cannot_be_read_stays_and_can_be_discarded(
    turns: TurnStage, one: Emulator, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    session_id = new_id()
    run_id = await park(turns, session_id, state)
    answer = one.invoke(approve(session_id, run_id)).answer
    assert answer["status"] == 409
    assert answer["code"] == "run_not_resumable"
    assert pending(one, session_id)["status"] == "pending"
    assert one.invoke(ask(session_id, "Well?")).answer["status"] == 409
    discarded = one.invoke({"session_id": session_id, "action": "discard", "run_id": run_id}).answer
    assert discarded["status"] == 200
    assert pending(one, session_id) is None
    assert turns.effects.of("refund") == 0
    turns.assert_goes_on(one, session_id)


@pytest.mark.parametrize(("name", "value"), [("current_turn", "x"), ("original_input", -1), ("max_turns", [])])
async def test_a_state_that_can_be_read_and_not_gone_on_with_has_a_status_and_the_session_goes_on(
    turns: TurnStage, one: Emulator, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    session_id = new_id()
    one.invoke(ask(session_id, "Refund."))
    table = turns.stage.variables["SESSION_TABLE"]
    where = {"endpoint_url": turns.stage.endpoint_url, "region_name": "us-east-1"}
    async with DynamoDBSession.connect(session_id, table, **where) as session:
        runs = PendingRuns(session)
        run = await runs.get()
        assert run
        changed = replace(run, state=json.dumps(json.loads(run.state) | {name: value}))
        await runs._store.replace(0, runs._batch(changed.to_items()))
    answer = one.invoke(approve(session_id, run.run_id)).answer
    assert (answer["status"], answer.get("code")) in ((500, "run_failed"), (409, "run_not_resumable"))
    if answer["status"] == 409:
        assert one.invoke({"session_id": session_id, "action": "discard", "run_id": run.run_id}).answer["status"] == 200
    assert turns.effects.of("refund") <= 1
    turns.assert_goes_on(one, session_id, mended=True)
