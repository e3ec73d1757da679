"""However a turn ended, the session can go on: its history is readable, and good for the next request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.events import Client
from tests.support.events import said as streamed_text
from tests.support.streamed import StreamEnvironment
from tests.support.turns import Environment, TurnStage, ask, history, invoke_when_free, kinds, new_id, outputs, said
from tools.emulation import strict_faults
from tools.emulation.rie import Emulator
from tools.emulation.strict_script import Reply, by_turn, calls, calls_with, each, refuses, says, thinks
from tools.page import serving

HIGH, LOW = "\ud83d", "\ude00"
PROVIDERS = ["openai", "compatible"]


@pytest.fixture(scope="module", params=PROVIDERS)
def streaming(
    request: pytest.FixtureRequest, turns: TurnStage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    log: Path = tmp_path_factory.mktemp("streaming") / "log"
    told = {"MODEL_PROVIDER": request.param, "MODEL_BASE_URL": turns.model.base_url, "OPENAI_API_KEY": "sk-test"}
    with serving(turns.stage.variables | told, log) as url:
        yield Client(url, {})


HALVES = {
    "in a message": says(f"Here is half: {HIGH}."),
    "the other half": says(f"Here is half: {LOW}."),
    "in a tool's arguments": by_turn(calls_with("look_up", f'{{"key": "{HIGH}"}}'), says("Looked up.")),
    "in a tool's output": by_turn(calls("garble", text="x"), says("Garbled.")),
    "in a tool's name": by_turn(calls_with(f"look_{HIGH}", "{}"), says("There is no such tool.")),
    "in the name of a tool that there is not": by_turn(calls_with(f"a tool/{LOW}" * 40, "{}"), says("There is none.")),
    "in a handoff's arguments": by_turn(calls_with("transfer_to_helper", f'{{"why": "{HIGH}"}}'), says("I help.")),
    "in a refusal": refuses(f"No {LOW}."),
    "in reasoning": thinks(f"Half of {HIGH}") + says("Thought."),
    "in a pair of calls": by_turn(
        calls_with("look_up", f'{{"key": "{LOW}"}}') + calls_with("pay", f'{{"amount": "{HIGH}"}}'), says("Done.")
    ),
    "escaped in a tool's arguments": by_turn(calls_with("look_up", '{"key": "\\ud83d"}'), says("Looked up.")),
}


@pytest.mark.parametrize("where", HALVES)
def test_half_of_a_surrogate_pair_from_a_model(turns: TurnStage, either: Emulator, where: str) -> None:
    assert_half_a_pair_harms_nothing(turns, either, where)


@pytest.mark.parametrize("where", HALVES)
def test_half_of_a_surrogate_pair_in_a_stream(turns: TurnStage, stream: StreamEnvironment, where: str) -> None:
    turns.reset()
    assert_half_a_pair_harms_nothing(turns, stream, where)


def assert_half_a_pair_harms_nothing(turns: TurnStage, environment: Environment, where: str) -> None:
    reply = HALVES[where]
    turns.model.script = (lambda _: reply) if isinstance(reply, Reply) else reply
    session_id = new_id()
    answer = environment.invoke(ask(session_id, "Hello")).answer
    assert answer["status"] == 200, answer
    answer["answer"].encode()
    for item in turns.assert_goes_on(environment, session_id, mended=True):
        str(item).encode()


@pytest.fixture(scope="module", params=PROVIDERS)
def stream(request: pytest.FixtureRequest, turns: TurnStage) -> Iterator[StreamEnvironment]:
    with turns.streaming(MODEL_PROVIDER=request.param) as running:
        yield running


def test_a_handoff_is_kept_and_the_session_goes_on(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = by_turn(calls("transfer_to_helper"), calls("pay", amount=1), says("I have paid for you."))
    session_id = new_id()
    assert either.invoke(ask(session_id, "Pay, or have it paid.")).answer.get("answer") == "I have paid for you."
    assert turns.effects.of("pay") == 1
    assert kinds(turns.assert_goes_on(either, session_id)).count("function_call_output") == 2


def test_a_tool_that_fails_is_told_to_the_model_and_runs_once(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = by_turn(calls("fail", text="x") + calls("pay", amount=1), says("It failed."))
    session_id = new_id()
    assert either.invoke(ask(session_id, "Fail.")).answer.get("answer") == "It failed."
    assert (turns.effects.of("fail"), turns.effects.of("pay")) == (1, 1)
    turns.assert_goes_on(either, session_id)


def test_two_hundred_calls_at_once_have_two_hundred_effects(turns: TurnStage, either: Emulator) -> None:
    step = calls("pay", amount=0)
    for amount in range(1, 200):
        step += calls("pay", amount=amount)
    turns.model.script = by_turn(step, says("All is paid."))
    request = ask(new_id(), "Pay all.", idempotency_key="k")
    first = either.invoke(request).answer
    assert (first["status"], first.get("answer")) == (200, "All is paid.")
    assert either.invoke(request).answer == first
    assert turns.effects.of("pay") == 200
    paid = {f"paid {amount}" for amount in range(200)}
    assert set(outputs(history(either, request["session_id"]))) == paid
    turns.assert_goes_on(either, request["session_id"])


def test_a_pair_that_a_stream_divides_is_whole(turns: TurnStage, streaming: Client) -> None:
    turns.reset()
    turns.model.script = lambda _: says("A smile: 😀.", "A smile: ", HIGH, LOW, ".")
    session_id = new_id()
    events = streaming.send(session_id, "Smile.")
    assert events[-1][1].get("answer") == "A smile: 😀."
    assert streamed_text(events) == "A smile: 😀."
    again = lambda asked: says(f"You said: {asked.said}")  # noqa: E731
    turns.model.script = again
    assert streaming.send(session_id, "And now?")[-1][1].get("answer") == "You said: And now?"
    assert "😀" in str(streaming.history(session_id))
    assert turns.model.refusals == []


def test_half_of_a_pair_in_a_stream_is_replaced(turns: TurnStage, streaming: Client) -> None:
    turns.reset()
    turns.model.script = lambda _: says(f"Half: {HIGH}.", "Half: ", HIGH, ".")
    session_id = new_id()
    events = streaming.send(session_id, "Smile.")
    assert events[-1][0] == "done"
    assert events[-1][1]["answer"] == "Half: \ufffd."
    turns.model.script = lambda asked: says(f"You said: {asked.said}")
    assert streaming.send(session_id, "And now?")[-1][1].get("answer") == "You said: And now?"
    assert turns.model.refusals == []


def test_a_response_of_reasoning_alone(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = lambda _: thinks()
    session_id = new_id()
    answer = one.invoke(ask(session_id, "Think.")).answer
    assert (answer["status"], answer.get("code")) == (502, "no_answer")
    items = turns.assert_goes_on(one, session_id)
    assert "reasoning" not in kinds(items)


def test_a_response_of_nothing(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: Reply(())
    session_id = new_id()
    answer = either.invoke(ask(session_id, "Well?")).answer
    assert (answer["status"], answer.get("code")) == (502, "no_answer")
    turns.assert_goes_on(either, session_id)


def test_reasoning_before_tools_and_answers_is_kept_with_them(turns: TurnStage, one: Emulator) -> None:
    turns.model.script = by_turn(thinks() + calls("pay", amount=1), thinks() + says("Paid."))
    session_id = new_id()
    assert one.invoke(ask(session_id, "Pay.")).answer["answer"] == "Paid."
    turns.assert_goes_on(one, session_id)


@pytest.mark.parametrize("arguments", ["{broken", "", "[1]", "null", '"text"', '{"key": NaN}'])
def test_arguments_that_are_no_json_object(turns: TurnStage, either: Emulator, arguments: str) -> None:
    turns.model.script = by_turn(calls_with("look_up", arguments), says("I could not look it up."))
    session_id = new_id()
    answer = either.invoke(ask(session_id, "Look it up.")).answer
    assert (answer["status"], answer.get("answer")) == (200, "I could not look it up.")
    turns.assert_goes_on(either, session_id, mended=True)


def test_a_model_is_told_that_there_is_no_such_tool(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = by_turn(calls("no_such_tool") + calls("pay", amount=1), says("Then I cannot."))
    session_id = new_id()
    assert either.invoke(ask(session_id, "Use it.")).answer.get("answer") == "Then I cannot."
    assert turns.effects.of("pay") == 1
    turns.assert_goes_on(either, session_id)


def test_a_refusal_is_an_answer_and_the_session_goes_on(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: refuses("I will not do that.")
    session_id = new_id()
    answer = either.invoke(ask(session_id, "Do it.")).answer
    assert (answer["status"], answer.get("code")) == (200, "refused")
    assert answer["answer"] == "I will not do that."
    assert said(turns.assert_goes_on(either, session_id)) == ["Do it.", "And now?"]


def test_a_full_context_window_has_its_own_status_and_stores_nothing_twice(turns: TurnStage, either: Emulator) -> None:
    session_id = new_id()
    for number in range(5):
        assert either.invoke(ask(session_id, f"{number} " + "long " * 200)).answer["status"] == 200
    turns.model.most_tokens = 700
    for _ in range(2):
        full = either.invoke(ask(session_id, "And now?")).answer
        assert (full["status"], full.get("code")) == (413, "context_full")
    assert said(history(either, session_id)).count("And now?") <= 1
    turns.model.most_tokens = None
    assert either.invoke(ask(session_id, "And now?")).answer["status"] == 200
    assert said(history(either, session_id)).count("And now?") == 1
    turns.assert_goes_on(either, session_id)


def test_the_history_limit_of_the_service_cures_a_full_context_window(turns: TurnStage, either: Emulator) -> None:
    session_id = new_id()
    turns.model.script = by_turn(calls("look_up", key="x"), says("It is 42. " + "long " * 200))
    for number in range(5):
        assert either.invoke(ask(session_id, f"{number} " + "long " * 100)).answer["status"] == 200
    turns.model.most_tokens = 700
    assert either.invoke(ask(session_id, "And now?")).answer["status"] == 413
    with turns.environment(HISTORY_LIMIT="5") as limited:
        turns.model.script = lambda asked: says(f"You said: {asked.said}")
        answer = limited.invoke(ask(session_id, "And now?")).answer
        assert (answer["status"], answer.get("answer")) == (200, "You said: And now?")
    assert all(error.code == "context_length_exceeded" for error in turns.model.refusals)


@pytest.mark.parametrize("before", ["offline", "openai", "compatible"])
@pytest.mark.parametrize("after", PROVIDERS)
def test_a_conversation_goes_on_with_another_provider(
    turns: TurnStage, environments: dict[str, Emulator], before: str, after: str
) -> None:
    turns.reset()
    turns.model.script = by_turn(
        thinks() + says("Let me see.") + calls("look_up", key="x"), thinks() + says("It is 42.")
    )
    session_id = new_id()
    if before == "offline":
        with turns.stage.environment() as offline:
            for message in ("My name is Ada.", "What is 6 * 7?"):
                assert offline.invoke(ask(session_id, message)).answer["status"] == 200
    else:
        assert environments[before].invoke(ask(session_id, "Look it up.")).answer["status"] == 200
    turns.assert_goes_on(environments[after], session_id)
    assert turns.model.refusals == []


def test_a_step_whose_model_fails_next_is_kept_for_the_next_turn(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = each(
        says("Let me see.") + calls("pay", amount=1) + calls("look_up", key="x"), strict_faults.SERVER_ERROR
    )
    session_id = new_id()
    assert either.invoke(ask(session_id, "Pay.")).answer["status"] == 502
    turns.assert_goes_on(either, session_id)
    assert turns.effects.of("pay") == 1


def test_a_history_is_readable_that_holds_half_a_pair_from_before(turns: TurnStage, either: Emulator) -> None:
    turns.model.script = lambda _: says(f"half {HIGH}")
    session_id = new_id()
    either.invoke(ask(session_id, "Hello"))
    answer = either.invoke({"session_id": session_id, "action": "history"}).answer
    assert answer["status"] == 200
    assert invoke_when_free(either, {"session_id": session_id, "action": "clear"})["cleared"]


def test_a_stream_divides_text_and_tools_alike(turns: TurnStage, streaming: Client) -> None:
    turns.reset()
    turns.model.script = by_turn(says("Let me compute.") + calls("calculate", expression="6*7"), says("It is 42."))
    session_id = new_id()
    events: list[Any] = streaming.send(session_id, "What is 6 * 7?")
    assert streamed_text(events) == "Let me compute.It is 42."
    assert turns.model.refusals == []
