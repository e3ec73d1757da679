"""Whether a turn has ended is known, not guessed from the roles of the last messages."""

from __future__ import annotations

import pytest

from tests.support.turns import TurnStage, ask, go_on, history, invoke_when_free, kinds, new_id, said
from tools.emulation.rie import Emulator
from tools.emulation.strict_faults import SERVER_ERROR
from tools.emulation.strict_script import Reply, by_turn, calls, says

FAILS = SERVER_ERROR


@pytest.mark.parametrize("kind", ["continue", "the same message", "the same key"])
def test_a_sentence_beside_a_tool_call_is_no_answer(turns: TurnStage, one: Emulator, kind: str) -> None:
    step = says("Let me pay that.") + calls("pay", amount=1)
    turns.model.script = by_turn(step, FAILS)
    request = ask(new_id(), "Pay.", idempotency_key="k")
    session_id = request["session_id"]
    assert one.invoke(request).answer["status"] == 502
    turns.model.script = by_turn(step, says("Paid."))
    again = {"continue": go_on(session_id), "the same message": ask(session_id, "Pay."), "the same key": request}
    answer = one.invoke(again[kind]).answer
    assert (answer["status"], answer.get("answer")) == (200, "Paid.")
    assert turns.effects.of("pay") == 1
    assert kinds(history(one, session_id)) == ["user", "message", "function_call", "function_call_output", "message"]
    assert one.invoke(go_on(session_id)).answer["status"] == 409
    turns.assert_goes_on(one, session_id)


def test_several_messages_of_a_model_are_one_answer(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = lambda _: says("First. ") + says("Second.")
    session_id = new_id()
    assert one.invoke(ask(session_id, "Say two things.")).answer["status"] == 200
    assert one.invoke(go_on(session_id)).answer["status"] == 409
    turns.assert_goes_on(one, session_id)


def test_a_message_said_twice_on_purpose_is_two_turns(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = by_turn(calls("pay", amount=1), says("Paid."))
    session_id = new_id()
    for _ in range(2):
        assert one.invoke(ask(session_id, "Pay.")).answer["answer"] == "Paid."
    assert turns.effects.of("pay") == 2
    assert said(history(one, session_id)) == ["Pay.", "Pay."]


def test_another_message_after_a_turn_that_failed_is_a_turn_of_its_own(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = by_turn(says("I pay.") + calls("pay", amount=1), FAILS)
    session_id = new_id()
    assert one.invoke(ask(session_id, "Pay.")).answer["status"] == 502
    turns.model.script = lambda asked: says(f"You said: {asked.said}")
    assert one.invoke(ask(session_id, "Never mind.")).answer["answer"] == "You said: Never mind."
    assert said(history(one, session_id)) == ["Pay.", "Never mind."]
    assert turns.effects.of("pay") == 1


def test_a_run_waits_however_many_calls_stand_after_its_own(turns: TurnStage, one: Emulator) -> None:
    step: Reply = calls("refund", order="A-1")
    for number in range(199):
        step += calls("look_up", key=str(number))
    turns.model.script = by_turn(step, says("Done."))
    session_id = new_id()
    asked = one.invoke(ask(session_id, "Refund, and look it all up.")).answer
    assert asked["status"] == 202
    assert turns.effects.of("look_up") == 199
    refused = one.invoke(ask(session_id, "Well?")).answer
    assert (refused["status"], refused["pending"]["run_id"]) == (409, asked["pending"]["run_id"])
    assert said(history(one, session_id)) == ["Refund, and look it all up."]
    approve = {"session_id": session_id, "action": "approve", "run_id": asked["pending"]["run_id"]}
    assert invoke_when_free(one, approve)["answer"] == "Done."
    assert (turns.effects.of("look_up"), turns.effects.of("refund")) == (199, 1)
