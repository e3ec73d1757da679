"""One turn at a time, over in time, in several execution environments on one table."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.agent import Stage, body, calling, event, until
from tools.emulation.model import FakeModel, tool_then_answer
from tools.emulation.rie import Emulator, FunctionError


@contextmanager
def warm(stage: Stage, server: FakeModel, **settings: Any) -> Iterator[Emulator]:
    """An environment that has served a turn: what follows is not about importing."""
    variables = {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": server.base_url, "LEASE_WAIT_SECONDS": "0.2"}
    with stage.environment(**(variables | settings)) as environment:
        assert until(20, lambda: environment.invoke(ask(uuid.uuid4().hex, "warm up")).answer["status"] == 200)
        server.reset()
        yield environment


@pytest.fixture(scope="module")
def two(stage: Stage, server: FakeModel) -> Iterator[tuple[Emulator, Emulator]]:
    with warm(stage, server) as one, warm(stage, server) as other:
        yield one, other


def ask(session_id: str, message: str) -> dict[str, str]:
    return {"session_id": session_id, "message": message}


def history(environment: Emulator, session_id: str) -> list[Any]:
    items: list[Any] = environment.invoke({"session_id": session_id, "action": "history"}).answer["items"]
    return items


def kinds(items: list[Any]) -> list[str]:
    return [item.get("type", item.get("role")) for item in items]


def test_a_second_turn_at_the_same_time_is_told_when_to_come_again(
    two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    one, other = two
    model.delay_seconds = 2
    hers = {"owner": "jwt:https://login.example.com/ 3f1c2a9e-ada"}
    with calling(one, ask("ada-lovelace", "first") | hers) as first:
        model.wait_for(1)
        refused = other.invoke(ask("ada-lovelace", "second") | hers).answer
        over_http = other.invoke(event("http_message")).answer
        elsewhere = other.invoke(ask("grace", "elsewhere")).answer
        assert other.invoke({"session_id": "ada-lovelace", "action": "history"} | hers).answer["status"] == 200
    assert first.result()["answer"] == "You said: first"
    assert (refused["status"], refused["error"]) == (409, "another turn of this session is running")
    assert 1 <= refused["retry_after"] <= 5
    assert over_http["statusCode"] == 409
    assert over_http["headers"]["retry-after"] == str(body(over_http)["retry_after"])
    assert elsewhere["status"] == 200
    model.delay_seconds = 0
    assert other.invoke(ask("ada-lovelace", "second")).answer["status"] == 200
    assert [item["content"] for item in history(one, "ada-lovelace") if "role" in item and item["role"] == "user"] == [
        "first",
        "second",
    ]


def test_a_turn_waits_for_the_one_before_it(stage: Stage, model: FakeModel) -> None:
    settings = {"LEASE_WAIT_SECONDS": "20"}
    with warm(stage, model, **settings) as one, warm(stage, model, **settings) as other:
        model.delay_seconds = 0.7
        with calling(one, ask("waiting", "first")):
            model.wait_for(1)
            second = other.invoke(ask("waiting", "second")).answer
        assert second["answer"] == "You said: second"
        assert [message["content"] for message in model.seen[1] if message["role"] == "user"] == ["first", "second"]
        assert '"LeaseWaits"' in other.log


def test_at_the_deadline_the_work_done_is_kept_and_the_turn_can_be_continued(stage: Stage, model: FakeModel) -> None:
    model.reply = tool_then_answer("calculate", expression="6 * 7")
    with warm(stage, model, timeout_seconds=6) as one:

        def slow_after_the_tool(messages: list[dict[str, Any]]) -> dict[str, Any]:
            if messages[-1]["role"] == "tool":
                model.delay_seconds = 60
            return tool_then_answer("calculate", expression="6 * 7")(messages)

        model.reply = slow_after_the_tool
        stopped = one.invoke(ask("deadline", "What is 6 * 7?"))
        assert stopped.answer["status"] == 504
        assert "continue" in stopped.answer["to_continue"]
        assert stopped.seconds < 6
        assert kinds(history(one, "deadline")) == ["user", "function_call", "function_call_output"]

        model.delay_seconds, model.reply = 0, tool_then_answer("calculate", expression="6 * 7")
        answer = one.invoke(event("continue", session_id="deadline")).answer
        assert answer["answer"] == "It is 42."
        assert kinds(history(one, "deadline")) == ["user", "function_call", "function_call_output", "message"]
        again = one.invoke(event("continue", session_id="deadline")).answer
        assert (again["status"], again["error"]) == (
            409,
            "there is nothing to continue: the last message has its answer",
        )


def test_a_stopped_turn_is_continued_too_when_the_message_is_sent_again(stage: Stage, model: FakeModel) -> None:
    with warm(stage, model, timeout_seconds=5) as one:
        model.delay_seconds = 60
        assert one.invoke(ask("again", "Hello")).answer["status"] == 504
        model.delay_seconds = 0
        assert one.invoke(ask("again", "Hello")).answer["status"] == 200
        assert one.invoke(ask("again", "Hello")).answer["status"] == 200  # said anew: it had its answer
        assert kinds(history(one, "again")) == ["user", "message", "user", "message"]


def test_a_model_that_fails_leaves_a_turn_that_can_be_repeated(
    two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    one = two[0]
    model.refuse = True
    failed = one.invoke(ask("failing", "Hello")).answer
    assert failed == {
        "status": 502,
        "error": "the model gave no answer: BadRequestError",
        "code": "model_failed",
    }
    model.refuse = False
    assert one.invoke(ask("failing", "Hello")).answer["answer"] == "You said: Hello"
    assert kinds(history(one, "failing")) == ["user", "message"]


def test_a_turn_that_is_killed_frees_its_session_by_the_end_of_its_time(
    stage: Stage, two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    with warm(stage, model, timeout_seconds=6) as one:
        other = two[0]
        model.delay_seconds = 60
        began = time.monotonic()
        with calling(one, ask("killed", "Hello")) as lost:
            model.wait_for(1)
            one.kill()
        with pytest.raises((OSError, FunctionError, ValueError)):
            lost.result()
        model.delay_seconds = 0
        assert other.invoke(ask("killed", "Hello")).answer["status"] == 409
        answer = until(10, lambda: (a := other.invoke(ask("killed", "Hello")).answer)["status"] == 200 and a)
        assert answer["answer"] == "You said: Hello"
        assert time.monotonic() - began < 8
        assert kinds(history(other, "killed")) == ["user", "message"]


def test_to_forget_a_session_ends_its_turn(stage: Stage, two: tuple[Emulator, Emulator], model: FakeModel) -> None:
    one, other = two
    model.delay_seconds = 1
    with calling(one, ask("forgotten", "my secret")) as turn:
        model.wait_for(1)
        assert other.invoke({"session_id": "forgotten", "action": "clear"}).answer["cleared"]
    assert turn.result()["status"] == 409
    assert history(other, "forgotten") == []
    assert "my secret" not in str(stage.items())
