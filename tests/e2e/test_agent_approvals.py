"""A tool that needs approval: asked for in one environment, decided in another, run once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.agent import Stage, body, calling, event, until
from tools.emulation.model import FakeModel, tool_then_answer
from tools.emulation.rie import Emulator


@pytest.fixture(scope="module")
def two(stage: Stage) -> Iterator[tuple[Emulator, Emulator]]:
    with stage.environment() as one, stage.environment() as other:
        yield one, other


def ask_for_refund(environment: Emulator, session_id: str) -> str:
    """Ask, and return the id of the run that waits."""
    pending = environment.invoke(event("refund", session_id=session_id)).answer
    assert pending["status"] == 202
    return str(pending["pending"]["run_id"])


def decision(name: str, session_id: str, run_id: str) -> Any:
    return event(name, session_id=session_id, run_id=run_id)


def refunds(*environments: Emulator) -> int:
    return sum(environment.log.count("refund issued") for environment in environments)


def kinds(environment: Emulator, session_id: str) -> list[str]:
    items = environment.invoke({"session_id": session_id, "action": "history"}).answer["items"]
    return [item.get("type", item.get("role")) for item in items]


WHOLE = ["user", "function_call", "function_call_output", "message"]


def test_it_waits_in_the_table_for_a_decision_in_another_environment(two: tuple[Emulator, Emulator]) -> None:
    one, other = two
    before = refunds(*two)
    asked = one.invoke(event("refund", session_id="approved")).answer
    assert asked["status"] == 202
    assert "answer" not in asked
    waiting = other.invoke(event("approvals", session_id="approved")).answer["pending"]
    assert waiting == asked["pending"]
    assert waiting["approvals"] == [
        {"call_id": "offline_refund_1", "tool": "issue_refund", "arguments": '{"order":"A-17","amount":25.0}'}
    ]
    assert refunds(*two) == before
    answer = other.invoke(decision("approve", "approved", waiting["run_id"])).answer
    assert answer["status"] == 200
    assert "Refunded 25.00 euros for order A-17." in answer["answer"]
    assert refunds(*two) == before + 1
    assert one.invoke(event("approvals", session_id="approved")).answer["pending"] is None
    assert kinds(one, "approved") == WHOLE


def test_concurrent_approvals_run_the_tool_once(two: tuple[Emulator, Emulator]) -> None:
    before = refunds(*two)
    for number in range(5):
        session_id = f"concurrent-{number}"
        approve = decision("approve", session_id, ask_for_refund(two[number % 2], session_id))
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda environment: environment.invoke(approve).answer, two))  # noqa: B023
        assert sorted(answer["status"] for answer in answers) == [200, 409]
        assert refunds(*two) == before + number + 1
        assert kinds(two[0], session_id) == WHOLE


def test_an_approval_and_a_rejection_at_once_have_one_outcome(two: tuple[Emulator, Emulator]) -> None:
    before = refunds(*two)
    run_id = ask_for_refund(two[0], "disputed")
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(environment.invoke, decision(name, "disputed", run_id))
            for environment, name in zip(two, ("approve", "reject"), strict=True)
        ]
        approved, rejected = (future.result().answer["status"] for future in futures)
    assert sorted([approved, rejected]) == [200, 409]
    assert refunds(*two) - before == (approved == 200)


def test_what_is_rejected_does_not_happen(two: tuple[Emulator, Emulator]) -> None:
    before = refunds(*two)
    run_id = ask_for_refund(two[0], "rejected")
    answer = two[1].invoke(decision("reject", "rejected", run_id)).answer
    assert answer["status"] == 200
    assert "Refunded" not in answer["answer"]
    late = two[0].invoke(decision("approve", "rejected", run_id)).answer
    assert (late["status"], late["error"]) == (409, "no such run waits for a decision")
    assert refunds(*two) == before
    assert kinds(two[0], "rejected") == WHOLE


def test_a_message_has_to_wait_for_the_decision(two: tuple[Emulator, Emulator]) -> None:
    run_id = ask_for_refund(two[0], "patient")
    refused = two[1].invoke({"session_id": "patient", "message": "Well?"}).answer
    assert (refused["status"], refused["pending"]["run_id"]) == (409, run_id)
    two[0].invoke(decision("reject", "patient", run_id))
    assert two[1].invoke({"session_id": "patient", "message": "Well?"}).answer["status"] == 200


@pytest.mark.parametrize("calls", [["offline_refund_2"], ["offline_refund_1", "x"]])
def test_a_decision_is_about_calls_that_wait(two: tuple[Emulator, Emulator], calls: list[str]) -> None:
    run_id = ask_for_refund(two[0], session_id := f"precise-{len(calls)}")
    refused = two[1].invoke(decision("approve", session_id, run_id) | {"call_ids": calls}).answer
    assert refused["status"] == 400
    assert two[1].invoke(event("approvals", session_id=session_id)).answer["pending"]["status"] == "pending"


def test_over_http_it_is_the_same(two: tuple[Emulator, Emulator]) -> None:
    asked = two[0].invoke(event("http_refund")).answer
    assert asked["statusCode"] == 202
    pending = body(two[1].invoke(event("http_approvals")).answer)["pending"]
    assert pending == body(asked)["pending"]
    reject = event("http_reject")
    reject["body"] = reject["body"].replace("0123456789abcdef", pending["run_id"])
    assert two[1].invoke(reject).answer["statusCode"] == 200
    approve = event("http_approve")
    assert two[1].invoke(approve).answer["statusCode"] == 409


def test_to_forget_a_session_is_to_forget_what_waits_in_it(stage: Stage, two: tuple[Emulator, Emulator]) -> None:
    run_id = ask_for_refund(two[0], "forgotten")
    assert any("forgotten" in item["session_id"]["S"] for item in stage.items())
    two[1].invoke({"session_id": "forgotten", "action": "clear"})
    left = [item["session_id"]["S"] for item in stage.items() if "forgotten" in item["session_id"]["S"]]
    assert left == ["forgotten#~done"]  # the names of its turns, for a day
    assert two[0].invoke(decision("approve", "forgotten", run_id)).answer["status"] == 409


def test_who_dies_resuming_never_runs_the_tool_again(stage: Stage) -> None:
    with FakeModel() as model:
        model.reply = tool_then_answer("issue_refund", order="A-17", amount=25)
        variables = {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": model.base_url, "LEASE_WAIT_SECONDS": "15"}
        with stage.environment(timeout_seconds=10, **variables) as one, stage.environment(**variables) as other:
            run_id = ask_for_refund(one, "died")
            model.delay_seconds = 60
            with calling(one, decision("approve", "died", run_id)):
                model.wait_for(2)  # the tool has run, and the model is asked for the answer
                issued = until(5, lambda: refunds(one))
                one.kill()
            model.delay_seconds = 0
            model.reply = lambda messages: {"role": "assistant", "content": f"after {messages[-2]['role']}"}
            assert other.invoke({"session_id": "died", "message": "What now?"}).answer["status"] == 200
            assert other.invoke(decision("approve", "died", run_id)).answer["status"] == 409
            assert issued == 1
            assert refunds(other) == 0
            assert kinds(other, "died") == [*WHOLE[:3], "user", "message"]
