"""The same delivery gives the same answer, from any environment, whatever the answer's size, with its effects once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.turns import TurnStage, ask, history, invoke_when_free, new_id, said
from tools.emulation.rie import Emulator
from tools.emulation.strict_script import by_turn, calls, says

LARGE = "All work and no play. " * 30_000  # 660 KB, over what an item of DynamoDB holds


@pytest.fixture(scope="module")
def two(turns: TurnStage) -> Iterator[tuple[Emulator, Emulator]]:
    with turns.warm(turn_seconds=60) as one, turns.warm(turn_seconds=60) as other:
        yield one, other


@pytest.fixture(autouse=True)
def _fresh(turns: TurnStage, two: tuple[Emulator, Emulator]) -> None:
    turns.reset()


def delivery(message: str, session_id: str | None = None, **more: Any) -> dict[str, Any]:
    return ask(session_id or new_id(), message, idempotency_key="k", **more)


def test_two_deliveries_at_once_have_one_turn(turns: TurnStage, two: tuple[Emulator, Emulator]) -> None:
    for _ in range(5):
        turns.reset()
        turns.model.script = by_turn(calls("pay", amount=1) + calls("slow", seconds=0.3), says("Paid."))
        request = delivery("Pay.")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda environment: invoke_when_free(environment, request), two))  # noqa: B023
        assert [answer["status"] for answer in answers] == [200, 200]
        assert answers[0] == answers[1]
        assert (turns.effects.of("pay"), turns.effects.of("slow")) == (1, 1)
        assert said(history(two[0], request["session_id"])) == ["Pay."]


def test_an_answer_of_any_size_is_given_again(turns: TurnStage, two: tuple[Emulator, Emulator]) -> None:
    one, other = two
    turns.model.script = by_turn(calls("pay", amount=1), says(LARGE))
    request = delivery("Pay, and tell me all about it.")
    first = one.invoke(request).answer
    assert (first["status"], first["answer"]) == (200, LARGE)
    assert invoke_when_free(other, request, 3) == first
    assert turns.effects.of("pay") == 1
    assert len(turns.model.seen) == 2


def test_a_pending_approval_is_given_again(turns: TurnStage, two: tuple[Emulator, Emulator]) -> None:
    one, other = two
    turns.model.script = by_turn(calls("pay", amount=1) + calls("refund", order="A-1"), says("Done."))
    request = delivery("Pay, and refund.")
    first = one.invoke(request).answer
    assert first["status"] == 202
    assert other.invoke(request).answer == first
    assert turns.effects.of("pay") == 1
    assert len(turns.model.seen) == 1


def test_a_delivery_that_comes_again_after_a_clear_has_no_effects_again(
    turns: TurnStage, two: tuple[Emulator, Emulator]
) -> None:
    one, other = two
    turns.model.script = by_turn(calls("pay", amount=1), says("Paid."))
    request = delivery("Pay.")
    assert one.invoke(request).answer["status"] == 200
    assert one.invoke({"session_id": request["session_id"], "action": "clear"}).answer["cleared"]
    assert other.invoke(request).answer["status"] == 410
    assert turns.effects.of("pay") == 1


def test_a_key_of_another_request_is_refused(turns: TurnStage, two: tuple[Emulator, Emulator]) -> None:
    request = delivery("Pay.")
    assert two[0].invoke(request).answer["status"] == 200
    assert two[1].invoke(request | {"message": "Pay more."}).answer["status"] == 422
