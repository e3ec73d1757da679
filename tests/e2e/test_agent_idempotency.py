"""A turn happens once, however often its event is delivered, and to however many environments at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.agent import Stage, body, calling, event
from tools.emulation.model import FakeModel
from tools.emulation.rie import Emulator


@pytest.fixture(scope="module")
def two(stage: Stage, server: FakeModel) -> Iterator[tuple[Emulator, Emulator]]:
    variables = {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": server.base_url, "LEASE_WAIT_SECONDS": "0.2"}
    with stage.environment(**variables) as one, stage.environment(**variables) as other:
        for number, environment in enumerate((one, other)):
            assert environment.invoke(delivery(f"warm-{number}", "up", "w")).answer["status"] == 200
        yield one, other


def delivery(session_id: str, message: str, key: str, **changes: Any) -> Any:
    return event("owned_turn", session_id=session_id, message=message, idempotency_key=key) | changes


def user_messages(environment: Emulator, session_id: str, owner: str = "ada@example.com") -> list[str]:
    request = {"session_id": session_id, "action": "history", "owner": owner}
    items = environment.invoke(request).answer["items"]
    return [item["content"] for item in items if item.get("role") == "user"]


def test_what_is_delivered_again_gets_the_same_answer_from_any_environment(
    two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    one, other = two
    first = one.invoke(delivery("twice", "Hello", "k1")).answer
    assert first["answer"] == "You said: Hello"
    assert other.invoke(delivery("twice", "Hello", "k1")).answer == first
    assert len(model.seen) == 1
    assert user_messages(one, "twice") == ["Hello"]
    assert other.invoke(delivery("twice", "Hello", "k2")).answer["status"] == 200
    assert user_messages(one, "twice") == ["Hello", "Hello"]


def test_two_deliveries_at_once_are_one_run(two: tuple[Emulator, Emulator], model: FakeModel) -> None:
    one, other = two
    model.delay_seconds = 1
    with calling(one, delivery("at once", "Hello", "k")) as running:
        model.wait_for(1)
        meanwhile = other.invoke(delivery("at once", "Hello", "k")).answer
    assert (meanwhile["status"], meanwhile["error"]) == (409, "the same request is being served")
    assert meanwhile["retry_after"] >= 1
    assert other.invoke(delivery("at once", "Hello", "k")).answer == running.result()
    assert len(model.seen) == 1
    assert user_messages(one, "at once") == ["Hello"]


def test_a_key_is_for_one_request_of_one_caller_in_one_session(
    two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    one, other = two
    one.invoke(delivery("mine", "Hello", "k"))
    misused = other.invoke(delivery("mine", "Something else", "k")).answer
    assert (misused["status"], misused["error"]) == (422, "this idempotency key was used for another request")
    assert other.invoke(delivery("mine", "Mallory here", "k", owner="mallory")).answer["status"] == 200
    assert other.invoke(delivery("another", "Hello", "k")).answer["status"] == 200
    assert user_messages(one, "mine") == ["Hello"]
    assert user_messages(one, "mine", "mallory") == ["Mallory here"]
    assert len(model.seen) == 3


def test_over_http_the_key_is_a_header(two: tuple[Emulator, Emulator], model: FakeModel) -> None:
    one, other = two
    first = one.invoke(event("http_refund")).answer
    again = other.invoke(event("http_refund")).answer
    assert (again["statusCode"], body(again)) == (first["statusCode"], body(first))
    assert first["statusCode"] == 200
    assert body(first)["answer"].startswith("You said: Please refund")
    assert len(model.seen) == 1


def test_what_failed_may_be_delivered_again(two: tuple[Emulator, Emulator], model: FakeModel) -> None:
    one, other = two
    model.refuse = True
    assert one.invoke(delivery("failed", "Hello", "k")).answer["status"] == 502
    model.refuse = False
    assert other.invoke(delivery("failed", "Hello", "k")).answer["status"] == 200
    assert user_messages(one, "failed") == ["Hello"]


def test_what_was_cleared_is_recognised_for_a_day_and_nothing_of_what_was_said_is_kept(
    stage: Stage, two: tuple[Emulator, Emulator], model: FakeModel
) -> None:
    one, other = two
    secret = "my secret plan"
    assert one.invoke(delivery("cleared", secret, "k")).answer["status"] == 200
    assert one.invoke(delivery("cleared", "x", "c", action="clear")).answer["cleared"]
    for _ in range(2):  # also when the session has begun anew meanwhile
        again = other.invoke(delivery("cleared", secret, "k")).answer
        assert (again["status"], again["code"]) == (410, "cleared")
        assert other.invoke(delivery("cleared", "Hello", "new")).answer["status"] == 200
    kept = [item for item in stage.items() if item["session_id"]["S"].endswith("#~done")]
    assert len(kept) == 1
    assert 86_000 < int(kept[0]["ttl"]["N"]) - time.time() <= 86_400
    assert secret not in str(stage.items())
    assert user_messages(one, "cleared") == ["Hello"]
