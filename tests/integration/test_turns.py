"""A turn inside an invocation: alone, and over in time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from openai_agents_session import DeadlineError, DynamoDBSession, LeaseUnavailableError
from openai_agents_session.turns import INTERRUPTED, close_open_calls, turn

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class Invocation:
    """A Lambda context as far as a turn looks at it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


@function_tool
def quick(number: int) -> str:
    """Done at once."""
    return f"quick {number}"


@function_tool
async def endless(number: int) -> str:
    """Never done."""
    await asyncio.sleep(3600)
    return f"never {number}"


def agent(*steps: list[Any]) -> Agent[None]:
    return Agent(name="Worker", model=ScriptedModel(list(steps)), tools=[quick, endless])


@pytest.fixture
def session(client: DynamoDBClient, table: str) -> DynamoDBSession:
    return DynamoDBSession("ada", client, table)


def kinds(items: list[Any]) -> list[str]:
    return [item.get("type", item.get("role")) for item in items]


async def test_a_turn_that_ends_in_time_gives_the_session_back(session: DynamoDBSession) -> None:
    async with turn(session, Invocation(30)) as running:
        assert 27 < running.seconds_left <= 28
        await Runner.run(agent([assistant_message("hello")]), "hi", session=session)
    async with turn(session, Invocation(30), wait_seconds=0):
        pass
    assert kinds(await session.get_items()) == ["user", "message"]


async def test_at_the_deadline_completed_work_is_kept_and_the_next_turn_goes_on(session: DynamoDBSession) -> None:
    began = time.monotonic()
    steps = [
        [function_call("quick", {"number": 1}, call_id="c1")],
        [function_call("quick", {"number": 2}, call_id="c2"), function_call("endless", {"number": 3}, call_id="c3")],
    ]
    with pytest.raises(DeadlineError):
        async with turn(session, Invocation(1.5), reserve_seconds=1):
            await Runner.run(agent(*steps), "work", session=session)
    assert time.monotonic() - began < 1.3
    kept: list[Any] = await session.get_items()
    assert kinds(kept) == ["user", "function_call", "function_call_output"]
    assert kept[-1]["output"] == "quick 1"
    model = ScriptedModel([[assistant_message("on")]])
    async with turn(session, Invocation(30), wait_seconds=0):
        result = await Runner.run(Agent(name="Worker", model=model), [], session=session)
    assert result.final_output == "on"
    assert kinds(list(model.calls[0].input)) == kinds(kept)


async def test_without_time_nothing_is_begun(session: DynamoDBSession) -> None:
    with pytest.raises(DeadlineError):
        async with turn(session, Invocation(0.5), reserve_seconds=1):
            await asyncio.sleep(1)
    async with turn(session, Invocation(30), wait_seconds=0):
        pass


async def test_a_timeout_of_the_turns_own_stays_what_it_is(session: DynamoDBSession) -> None:
    with pytest.raises(TimeoutError, match="of my own") as raised:
        async with turn(session, Invocation(30)):
            raise TimeoutError("of my own")
    assert not isinstance(raised.value, DeadlineError)


async def test_a_turn_that_is_killed_frees_the_session_when_its_invocation_would_have_ended(
    session: DynamoDBSession, client: DynamoDBClient, table: str
) -> None:
    async with turn(DynamoDBSession("ada", client, table), Invocation(20)):
        with pytest.raises(LeaseUnavailableError) as refusal:
            async with turn(session, Invocation(30), wait_seconds=0):
                pytest.fail("two turns at once")
    assert 19 < refusal.value.retry_after <= 20


async def test_waiting_for_another_turn_takes_from_ones_own_time(
    session: DynamoDBSession, client: DynamoDBClient, table: str
) -> None:
    began = time.monotonic()
    async with turn(DynamoDBSession("ada", client, table), Invocation(20)):
        with pytest.raises(LeaseUnavailableError):
            async with turn(session, Invocation(0.3), wait_seconds=10):
                pytest.fail("two turns at once")
    assert time.monotonic() - began < 2


CALL = {"type": "function_call", "call_id": "c1", "name": "quick", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "quick 1"}
OTHER = CALL | {"call_id": "c2"}
CUSTOM = {"type": "custom_tool_call", "call_id": "c3", "name": "shell", "input": "ls"}
THOUGHT = {"type": "reasoning", "id": "r1", "summary": []}
USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("history", "left"),
    [
        ([], []),
        ([USER], [USER]),
        ([USER, CALL, OUTPUT], [USER, CALL, OUTPUT]),
        ([USER, CALL], [USER, CALL, OUTPUT | {"output": INTERRUPTED}]),
        ([USER, CALL, OTHER, OUTPUT], [USER, CALL, OTHER, OUTPUT, OUTPUT | {"call_id": "c2", "output": INTERRUPTED}]),
        (
            [USER, CUSTOM],
            [USER, CUSTOM, {"type": "custom_tool_call_output", "call_id": "c3", "output": INTERRUPTED}],
        ),
        ([USER, THOUGHT], [USER]),
        ([USER, THOUGHT, CALL, OUTPUT, THOUGHT, THOUGHT], [USER, THOUGHT, CALL, OUTPUT]),
        ([USER, THOUGHT, CALL], [USER, THOUGHT, CALL, OUTPUT | {"output": INTERRUPTED}]),
    ],
    ids=["empty", "message", "whole", "open", "one of two", "custom", "thought", "thoughts", "thought of a call"],
)
async def test_a_history_left_in_the_middle_is_made_valid(
    session: DynamoDBSession, history: list[Any], left: list[Any]
) -> None:
    await session.add_items(history)
    closed = await close_open_calls(session)
    assert await session.get_items() == left
    assert closed == len([item for item in left if item.get("output") == INTERRUPTED])
    assert await close_open_calls(session) == 0
