"""A turn ends within its invocation, and what hangs in it does not keep the next one from its work."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.turns import TurnStage, ask, new_id
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy
from tools.emulation.strict_faults import Hang
from tools.emulation.strict_script import Reply, by_turn, calls, says

SECONDS = 6


def blocking(count: int) -> Reply:
    step = calls("block", seconds=90)
    for _ in range(count - 1):
        step += calls("block", seconds=90)
    return step


def test_a_model_that_hangs_is_over_in_time(turns: TurnStage) -> None:
    with turns.warm(turn_seconds=SECONDS) as one:
        turns.model.script = lambda _: Hang()
        stopped = one.invoke(ask(new_id(), "Hello"))
        turns.model.reset()
        assert stopped.answer["status"] == 504
        assert stopped.seconds < SECONDS


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
