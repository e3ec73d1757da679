"""A turn ends within its invocation, and what hangs in it does not keep the next one from its work."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import until
from tests.support.turns import STREAMED, TurnStage, ask, new_id, said
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy
from tools.emulation.rie import Emulator, processes_of
from tools.emulation.strict_faults import Broken, Hang
from tools.emulation.strict_script import Reply, by_turn, calls, says

SECONDS = 6


def blocking(count: int, seconds: float = 90) -> Reply:
    step = calls("block", seconds=seconds)
    for _ in range(count - 1):
        step += calls("block", seconds=seconds)
    return step


@pytest.mark.parametrize("provider", ["openai", "compatible"])
@pytest.mark.parametrize("hang", [Hang(), Broken(events=3, hangs=True)], ids=["silent", "in the middle"])
@STREAMED
def test_a_model_that_hangs_is_given_up_in_time_and_can_be_asked_again(
    turns: TurnStage, provider: str, hang: Any, streamed: bool
) -> None:
    with turns.warm(turn_seconds=SECONDS, MODEL_PROVIDER=provider, streamed=streamed) as one:
        turns.model.script = by_turn(calls("pay", amount=1), hang)
        session_id = new_id()
        stopped = one.invoke(ask(session_id, "Pay."))
        assert (stopped.answer["status"], stopped.answer.get("code")) == (504, "model_timeout")
        assert stopped.seconds < SECONDS - 1.5
        turns.model.script = by_turn(calls("pay", amount=1), says("Paid."))
        answer = one.invoke(ask(session_id, "Pay.")).answer  # at once: the lease was given back
        assert (answer["status"], answer.get("answer")) == (200, "Paid.")
        assert turns.effects.of("pay") == 1
        assert said(turns.assert_goes_on(one, session_id)) == ["Pay.", "And now?"]


@pytest.mark.parametrize("count", [1, 8])
def test_tools_that_block_their_threads_do_not_keep_the_next_turn_from_its_model(turns: TurnStage, count: int) -> None:
    # By a name that has to be looked up: the look-up, too, needs a thread.
    by_name = turns.model.base_url.replace("127.0.0.1", "localhost")
    with turns.warm(turn_seconds=SECONDS, MODEL_BASE_URL=by_name) as one:
        turns.model.script = by_turn(blocking(count), says("Never said."))
        stopped = one.invoke(ask(new_id(), "Block."))
        assert stopped.answer["status"] == 504
        assert stopped.seconds < SECONDS
        turns.model.reset()
        answer = one.invoke(ask(new_id(), "Hello"))
        assert (answer.answer["status"], answer.answer.get("answer")) == (200, "You said: Hello")
        assert answer.seconds < SECONDS / 2


@pytest.mark.parametrize("count", [17, 40])
def test_an_environment_whose_tools_hold_too_many_threads_ends_after_its_answer(turns: TurnStage, count: int) -> None:
    with turns.warm(turn_seconds=2 * SECONDS) as one:
        [first] = runtimes(one)
        turns.model.script = by_turn(blocking(count), says("Never said."))
        assert one.invoke(ask(new_id(), "Block.")).answer["status"] == 504
        assert until(5, lambda: first not in runtimes(one)), one.log
        assert "EnvironmentsEnded" in one.log
        turns.model.reset()
        answer = one.invoke(ask(new_id(), "Hello")).answer
        assert (answer["status"], answer.get("answer")) == (200, "You said: Hello")


def test_a_streaming_server_whose_tools_hold_too_many_threads_begins_anew_in_its_place(turns: TurnStage) -> None:
    with turns.streaming(turn_seconds=2 * SECONDS) as one:  # in which all tools begin, on a busy machine, too
        turns.reset()
        process = one.process_id
        turns.model.script = by_turn(blocking(40), says("Never said."))
        session_id = new_id()
        assert one.invoke(ask(session_id, "Block.")).answer["status"] == 504
        turns.model.reset()
        one.turn_seconds = 60  # the start of the new process is within the time of the invocation that meets it
        for _ in range(5):  # at once: the first ones are still served by the old process, or wait for the new one
            assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200
        assert until(10, lambda: "EnvironmentsEnded" in one.log), one.log
        assert one.process_id == process
        assert len(list(Path(f"/proc/{process}/task").iterdir())) < 17
        turns.assert_goes_on(one, session_id)


def test_an_environment_goes_on_while_its_tools_come_back(turns: TurnStage) -> None:
    with turns.warm(turn_seconds=30) as one:
        before = runtimes(one)
        turns.model.script = by_turn(blocking(40, seconds=0.1), says("Done."))
        assert one.invoke(ask(new_id(), "Block.")).answer["status"] == 200
        assert turns.effects.of("block") == 40
        assert one.invoke(ask(new_id(), "Hello")).answer["status"] == 200
        assert runtimes(one) == before


def runtimes(environment: Emulator) -> list[int]:
    """The processes of the function's runtime."""
    return [process for process in processes_of(environment.process_id) if process != environment.process_id]


@pytest.mark.parametrize("fault", ["throttled", "request lost", "response lost", "server error"])
async def test_a_store_that_fails_all_the_time_does_not_hold_a_turn_beyond_its_invocation(
    turns: TurnStage, fault: str
) -> None:
    async with FaultProxy(turns.stage.endpoint_url, metered=False) as proxy:
        variables = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
        with turns.environment(turn_seconds=SECONDS, **variables) as one:
            await asyncio.to_thread(one.invoke, ask(new_id(), "warm up"))
            turns.reset()
            turns.model.script = by_turn(calls("pay", amount=1), says("Paid."))
            turns.effects.on(1, "after", lambda: proxy.on(lambda _: True, faults.FAULTS[fault], times=1_000_000))
            answered = await asyncio.to_thread(one.invoke, ask(new_id(), "Pay."))
            assert answered.answer["status"] in (503, 504)
            assert answered.seconds < SECONDS
            assert turns.effects.of("pay") == 1
