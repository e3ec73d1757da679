"""What a caller is told and what is logged: a status and a word for every end, and no text of anybody's in the log."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from openai_agents_session.turns import INTERRUPTED
from tests.support.agent import event
from tests.support.turns import STREAMED, TurnStage, ask, go_on, history, new_id, outputs, said
from tools.emulation import strict_faults
from tools.emulation.rie import Emulator, FunctionError
from tools.emulation.strict_errors import rate_limited
from tools.emulation.strict_script import Script, by_turn, calls, calls_with, refuses, says

MAX_MODEL_CALLS = 10


def test_input_that_a_guardrail_blocked_does_not_reach_the_model_in_the_next_turn(
    turns: TurnStage, one: Emulator
) -> None:
    session_id = new_id()
    assert one.invoke(ask(session_id, "Good morning.")).answer["status"] == 200
    blocked = one.invoke(ask(session_id, "This is FORBIDDEN.")).answer
    assert (blocked["status"], blocked.get("code")) == (422, "input_blocked")
    turns.model.seen.clear()
    assert one.invoke(ask(session_id, "Good evening.")).answer["answer"] == "You said: Good evening."
    assert "FORBIDDEN" not in json.dumps([seen.body for seen in turns.model.seen])
    assert said(history(one, session_id)) == ["Good morning.", "Good evening."]
    assert one.invoke(go_on(session_id)).answer["status"] == 409


@STREAMED
def test_a_guardrail_that_trips_late_blocks_the_message_and_what_was_done_for_it_stays_known(
    turns: TurnStage, streamed: bool
) -> None:
    with turns.warm(streamed=streamed) as one:
        turns.model.script = by_turn(calls("pay", amount=1), says("Paid.").late(3))
        request = ask(new_id(), "FORBIDDEN, which is noticed LATE.", idempotency_key="k")
        for _ in range(2):
            blocked = one.invoke(request).answer
            assert (blocked["status"], blocked.get("code")) == (422, "input_blocked")
        assert turns.effects.of("pay") == 1
        turns.model.seen.clear()
        items = turns.assert_goes_on(one, request["session_id"])
        assert "FORBIDDEN" not in json.dumps([items, [seen.body for seen in turns.model.seen]])
        assert outputs(items) in (["paid 1"], [INTERRUPTED])


def test_blocked_input_is_blocked_again_when_it_is_repeated(turns: TurnStage, one: Emulator) -> None:
    session_id = new_id()
    for _ in range(2):
        assert one.invoke(ask(session_id, "This is FORBIDDEN.")).answer["status"] == 422
    assert one.invoke(go_on(session_id)).answer["status"] in (409, 422)
    turns.assert_goes_on(one, session_id)


def test_an_answer_that_a_guardrail_blocked_is_not_told_and_not_kept(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = by_turn(calls("pay", amount=1), says("It is a SECRET."))
    session_id = new_id()
    blocked = one.invoke(ask(session_id, "Pay, and tell me.")).answer
    assert (blocked["status"], blocked.get("code")) == (422, "output_blocked")
    assert "SECRET" not in json.dumps(blocked)
    assert "SECRET" not in json.dumps(history(one, session_id))
    assert turns.effects.of("pay") == 1
    turns.assert_goes_on(one, session_id)


def test_a_turn_without_an_end_says_so_and_goes_on_where_it_was(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = lambda asked: calls("pay", amount=len(asked.items))
    session_id = new_id()
    endless = one.invoke(ask(session_id, "Pay for ever.")).answer
    assert (endless["status"], endless.get("code")) == (422, "max_turns")
    assert turns.effects.of("pay") == MAX_MODEL_CALLS
    turns.model.script = lambda _: says("Enough.")
    assert one.invoke(go_on(session_id)).answer.get("answer") == "Enough."
    assert said(history(one, session_id)) == ["Pay for ever."]


def batch(message: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = event("sqs_fifo")
    record = content["Records"][0]
    content["Records"] = [record | {"messageId": new_id(), "body": json.dumps(message)}]
    return content


CANNOT_GET_BETTER: dict[str, tuple[str, Script]] = {
    "blocked input": ("This is FORBIDDEN.", lambda _: says("Hello.")),
    "blocked output": ("Tell me.", lambda _: says("It is a SECRET.")),
    "a refusal": ("Do it.", lambda _: refuses()),
    "no end": ("Pay for ever.", lambda asked: calls("pay", amount=len(asked.items))),
}


@pytest.mark.parametrize("name", CANNOT_GET_BETTER)
def test_a_queue_does_not_repeat_what_cannot_get_better(turns: TurnStage, one: Emulator, name: str) -> None:
    message, turns.model.script = CANNOT_GET_BETTER[name]
    answer = one.invoke(batch(ask(new_id(), message))).answer
    assert answer == {"batchItemFailures": []}


def test_a_full_context_window_is_not_repeated_by_a_queue(turns: TurnStage, one: Emulator) -> None:
    turns.model.most_tokens = 10
    answer = one.invoke(batch(ask(new_id(), "long " * 100))).answer
    assert answer == {"batchItemFailures": []}


@pytest.mark.parametrize("name", ["a rate limit", "an endpoint that fails"])
def test_a_queue_repeats_what_may_get_better(turns: TurnStage, one: Emulator, name: str) -> None:
    turns.model.script = {
        "a rate limit": lambda _: rate_limited("1"),
        "an endpoint that fails": lambda _: strict_faults.SERVER_ERROR,
    }[name]
    message = batch(ask(new_id(), "Hello"))
    failed = one.invoke(message).answer["batchItemFailures"]
    assert [failure["itemIdentifier"] for failure in failed] == [message["Records"][0]["messageId"]]


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
@STREAMED
def test_no_text_of_anybody_is_logged_at_any_level(turns: TurnStage, level: str, streamed: bool) -> None:
    texts = [
        "T-7739",
        "N-7740",
        "Q-7731",
        "A-7732",
        "sk-test",
        "R-7734",
        "F-7735 FORBIDDEN",
        "B-7736",
        "E-7737",
        "SECRET S-7738",
        "G-7741",
    ]
    begin = turns.streaming if streamed else turns.environment
    with begin(LOG_LEVEL=level, POWERTOOLS_LOG_LEVEL=level, LOG_CONTENT="false") as one:
        turns.reset()
        scripts: list[tuple[str, Script]] = [
            ("Q-7731", by_turn(calls("look_up", key="R-7734"), says("A-7732"))),
            ("F-7735 FORBIDDEN", lambda _: says("A-7732")),
            ("Q-7731", lambda _: refuses("B-7736")),
            ("Q-7731", lambda _: says("SECRET S-7738")),
            ("Q-7731", lambda _: strict_faults.Raw(400, b'{"error": {"message": "E-7737", "code": "E-7737"}}')),
            ("Q-7731", lambda _: strict_faults.Raw(200, b'{"output": "E-7737", "choices": "E-7737"}')),
            ("Q-7731", lambda _: calls("no_such_tool", key="R-7734")),
            ("Q-7731", by_turn(calls("fail", text="T-7739"), says("A-7732"))),
            ("Q-7731", by_turn(calls_with("pay", '{"amount": "N-7740"}'), says("A-7732"))),
            ("Q-7731", by_turn(calls_with("N-7740", "N-7740"), strict_faults.Broken(says("A-7732")))),
            ("Q-7731", lambda _: calls("refund", order="R-7734")),
        ]
        for message, script in scripts:
            turns.model.script = script
            one.invoke(ask(new_id(), message))
        with contextlib.suppress(FunctionError):  # which only the function that does not stream raises
            one.invoke(ask(new_id(), "G-7741 BROKEN"))
        log = one.log
    assert "ValueError" in log
    assert [text for text in texts if text in log] == []
