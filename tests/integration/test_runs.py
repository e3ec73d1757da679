"""Runs that wait for approval: parked in one invocation, claimed once in another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, Runner, RunState, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from openai_agents_session import (
    DynamoDBSession,
    InvalidInputError,
    OutcomeUnknownError,
    RunNotPendingError,
    StorageOptions,
    WrongOwnerError,
)
from openai_agents_session.runs import PendingCall, PendingRuns, calls_of, run_key
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

Open = Callable[..., DynamoDBSession]

CALLS = (PendingCall("call_1", "issue_refund", '{"amount": 5}'), PendingCall("call_2", "issue_refund", '{"amount": 7}'))


@pytest.fixture
def open_session(client: DynamoDBClient, table: str) -> Open:
    """Makes session objects as other invocations would."""

    def make(session_id: str = "ada", **settings: Any) -> DynamoDBSession:
        settings = {"options": StorageOptions(cache=None)} | settings
        return DynamoDBSession(session_id, client, table, **settings)

    return make


def agent(effects: list[int], *steps: Sequence[Any]) -> Agent[None]:
    """An agent that refunds, which needs approval and can be counted."""

    @function_tool(needs_approval=True)
    def issue_refund(amount: int) -> str:
        effects.append(amount)
        return f"refunded {amount}"

    return Agent(name="Clerk", model=ScriptedModel([list(step) for step in steps]), tools=[issue_refund])


async def resume(session: DynamoDBSession, run_id: str, decisions: dict[str, bool], clerk: Agent[None]) -> Any:
    """What an invocation does with a decision."""
    runs = PendingRuns(session)
    run = await runs.claim(run_id, decisions)
    state = await RunState.from_string(clerk, run.state)
    for interruption in state.get_interruptions():
        if run.decisions[str(interruption.call_id)]:
            state.approve(interruption)
        else:
            state.reject(interruption)
    result = await Runner.run(clerk, state, session=session)
    await runs.settle(run_id)
    return result


@pytest.mark.parametrize("size", [10, 20_000, 1_500_000])
async def test_a_run_of_any_size_comes_back_as_parked(open_session: Open, size: int) -> None:
    state = "é" + "x" * size
    parked = await PendingRuns(open_session()).park(state, CALLS)
    found = await PendingRuns(open_session()).get()
    assert found == parked
    assert (found.state, found.approvals, found.status) == (state, CALLS, "pending")
    claimed = await PendingRuns(open_session()).claim(parked.run_id, {"call_1": True, "call_2": False})
    assert claimed.state == state
    assert await PendingRuns(open_session()).get() == claimed
    assert (claimed.status, claimed.decisions) == ("resuming", {"call_1": True, "call_2": False})


@pytest.mark.parametrize("size", [10, 500_000])
async def test_settling_leaves_nothing_in_the_table(
    open_session: Open, client: DynamoDBClient, table: str, size: int
) -> None:
    for settings in ({}, {"owner": "ada", "ttl_seconds": 60}):
        runs = PendingRuns(open_session(**settings))
        run = await runs.park("x" * size, CALLS)
        await runs.settle("another run")
        assert await runs.get() is not None
        await runs.claim(run.run_id, {"call_1": True})
        await runs.settle(run.run_id)
        assert await runs.get() is None
        assert (await client.scan(TableName=table))["Count"] == 0


@pytest.mark.parametrize("size", [10, 300_000])
async def test_of_many_who_claim_at_once_one_gets_it(open_session: Open, size: int) -> None:
    run = await PendingRuns(open_session()).park("x" * size, CALLS)

    async def claim(approve: bool) -> bool:
        try:
            await PendingRuns(open_session()).claim(run.run_id, {"call_1": approve})
        except RunNotPendingError:
            return False
        return True

    assert sum(await asyncio.gather(*(claim(bool(number % 2)) for number in range(12)))) == 1


async def test_two_concurrent_approvals_run_the_tool_once(open_session: Open) -> None:
    effects: list[int] = []
    call = function_call("issue_refund", {"amount": 5}, call_id="call_1")
    result = await Runner.run(agent(effects, [call]), "refund 5", session=open_session())
    run = await PendingRuns(open_session()).park(result.to_state().to_string(), calls_of(result.interruptions))
    assert run.approvals == (PendingCall("call_1", "issue_refund", '{"amount":5}'),)
    assert effects == []

    async def approve() -> str:
        clerk = agent(effects, [assistant_message("done")])
        return str((await resume(open_session(), run.run_id, {"call_1": True}, clerk)).final_output)

    outcomes = await asyncio.gather(*(approve() for _ in range(5)), return_exceptions=True)
    assert outcomes.count("done") == 1
    assert sum(isinstance(outcome, RunNotPendingError) for outcome in outcomes) == 4
    assert effects == [5]
    history: list[Any] = await open_session().get_items()
    assert [item.get("type", item.get("role")) for item in history] == [
        "user",
        "function_call",
        "function_call_output",
        "message",
    ]


async def test_a_rejected_call_does_not_run(open_session: Open) -> None:
    effects: list[int] = []
    call = function_call("issue_refund", {"amount": 5}, call_id="call_1")
    result = await Runner.run(agent(effects, [call]), "refund 5", session=open_session())
    run = await PendingRuns(open_session()).park(result.to_state().to_string(), calls_of(result.interruptions))
    await resume(open_session(), run.run_id, {"call_1": False}, agent(effects, [assistant_message("as you wish")]))
    assert effects == []
    assert "function_call_output" in {item.get("type") for item in await open_session().get_items()}


async def test_who_dies_resuming_leaves_a_run_that_never_runs_again(open_session: Open) -> None:
    run = await PendingRuns(open_session()).park("state", CALLS)
    await PendingRuns(open_session()).claim(run.run_id, {"call_1": True})  # and is killed
    with pytest.raises(RunNotPendingError):
        await PendingRuns(open_session()).claim(run.run_id, {"call_1": True})
    await PendingRuns(open_session()).discard()
    assert await PendingRuns(open_session()).get() is None


async def test_a_run_parked_over_another_voids_its_id(open_session: Open) -> None:
    runs = PendingRuns(open_session())
    first = await runs.park("first", CALLS)
    second = await runs.park("second", CALLS)
    with pytest.raises(RunNotPendingError):
        await runs.claim(first.run_id, {"call_1": True})
    await runs.settle(first.run_id)
    assert (await runs.claim(second.run_id, {"call_1": True})).state == "second"


async def test_decisions_are_about_calls_that_wait(open_session: Open) -> None:
    runs = PendingRuns(open_session())
    with pytest.raises(InvalidInputError):
        await runs.park("state", [])
    run = await runs.park("state", CALLS)
    for decisions in ({}, {"call_3": True}, {"call_1": True, "": False}):
        with pytest.raises(InvalidInputError):
            await runs.claim(run.run_id, decisions)
    with pytest.raises(RunNotPendingError):
        await runs.claim("no such run", {"call_1": True})
    assert (await runs.get()) == run


async def test_another_owner_neither_sees_nor_claims_it(open_session: Open) -> None:
    run = await PendingRuns(open_session(owner="ada")).park("state", CALLS)
    mallory = PendingRuns(open_session(owner="mallory"))
    for attempt in (
        mallory.get(),
        mallory.claim(run.run_id, {"call_1": True}),
        mallory.park("mine", CALLS),
        mallory.settle(run.run_id),
        mallory.discard(),
    ):
        with pytest.raises(WrongOwnerError):
            await attempt
    assert await PendingRuns(open_session(owner="ada")).get() == run


async def test_it_expires_as_its_session_does(client: DynamoDBClient, table: str) -> None:
    now = 1_800_000_000.0
    options = StorageOptions(clock=lambda: now, cache=None)
    session = DynamoDBSession("ada", client, table, ttl_seconds=60, options=options)
    run = await PendingRuns(session).park("state", CALLS)
    item = (await client.get_item(TableName=table, Key={"session_id": {"S": run_key("ada")}}))["Item"]
    assert item["ttl"] == {"N": str(int(now) + 60)}
    now += 60
    assert await PendingRuns(session).get() is None
    with pytest.raises(RunNotPendingError):
        await PendingRuns(session).claim(run.run_id, {"call_1": True})


async def test_a_lost_answer_does_not_claim_twice(
    open_session: Open, proxy: FaultProxy, connect: Connect, table: str
) -> None:
    """The claim landed and its answer was lost: the claimer finds its own write, and goes on."""
    run = await PendingRuns(open_session()).park("state", CALLS)
    session = DynamoDBSession("ada", await connect(proxy.url), table)
    proxy.on("PutItem", faults.drop_response)
    assert (await PendingRuns(session).claim(run.run_id, {"call_1": True})).status == "resuming"
    with pytest.raises(RunNotPendingError):
        await PendingRuns(open_session()).claim(run.run_id, {"call_1": True})


async def test_a_claimer_who_cannot_know_is_told_so(
    open_session: Open, proxy: FaultProxy, connect: Connect, table: str
) -> None:
    run = await PendingRuns(open_session()).park("state", CALLS)
    options = StorageOptions(patience_seconds=0, cache=None)
    session = DynamoDBSession("ada", await connect(proxy.url, attempts=1), table, options=options)
    proxy.on("PutItem", faults.drop_response, times=100)
    with pytest.raises(OutcomeUnknownError):
        await PendingRuns(session).claim(run.run_id, {"call_1": True})
    found = await PendingRuns(open_session()).get()
    assert found is not None
    assert found.status == "resuming"
