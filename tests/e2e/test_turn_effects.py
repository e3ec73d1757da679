"""What a tool did happens once, whatever cuts the turn off, and the history says what is known of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.turns import STREAMED, TurnStage, ask, go_on, history, invoke_when_free, new_id, outputs, said
from tools.emulation.strict_script import by_turn, calls, says

FOLLOW_UPS = ["continue", "the same message", "the same key"]


def follow_up(kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """What a caller sends who wants the turn to end after all."""
    session_id = request["session_id"]
    if kind == "continue":
        return go_on(session_id)
    if kind == "the same message":
        return ask(session_id, request["message"])
    return request


def pay_and_be_slow(stage: TurnStage, seconds: float) -> None:
    step = calls("pay", "call_pay", amount=3) + calls("slow", "call_slow", seconds=seconds)
    stage.model.script = by_turn(step, says("That is that."))


@pytest.mark.parametrize("provider", ["openai", "compatible"])
@pytest.mark.parametrize("kind", FOLLOW_UPS)
@STREAMED
def test_a_deadline_that_cuts_a_step_runs_none_of_its_tools_again(
    turns: TurnStage, kind: str, provider: str, streamed: bool
) -> None:
    with turns.warm(turn_seconds=5, MODEL_PROVIDER=provider, streamed=streamed) as one:
        pay_and_be_slow(turns, 30)
        request = ask(new_id(), "Pay, slowly.", idempotency_key="k")
        stopped = one.invoke(request)
        assert stopped.answer["status"] == 504
        assert stopped.seconds < 5
        assert (turns.effects.of("pay"), turns.effects.of("slow")) == (1, 1)
        answer = invoke_when_free(one, follow_up(kind, request))
        assert (answer["status"], answer.get("answer")) == (200, "That is that.")
        assert (turns.effects.of("pay"), turns.effects.of("slow")) == (1, 1)
        items = history(one, request["session_id"])
        assert said(items) == ["Pay, slowly."]
        paid, slow = outputs(items)
        assert paid == "paid 3"
        assert "unknown" in slow
        if kind == "the same key":
            asked = len(turns.model.seen)
            assert one.invoke(request).answer == answer
            assert len(turns.model.seen) == asked
        turns.assert_goes_on(one, request["session_id"])
