"""Messages from a FIFO queue: in order, each once, and failures reported one by one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.agent import Stage, event
from tools.emulation.rie import Emulator


@pytest.fixture(scope="module")
def environment(stage: Stage) -> Iterator[Emulator]:
    with stage.environment() as running:
        yield running


def batch(*messages: tuple[str, Any]) -> Any:
    """A batch of (message group, body)s."""
    template = event("sqs_fifo")["Records"][0]
    records = []
    for number, (group, content) in enumerate(messages):
        record = copy.deepcopy(template)
        record["messageId"] = f"{group}-{number}"
        record["attributes"]["MessageGroupId"] = group
        record["body"] = content if isinstance(content, str) else json.dumps(content)
        records.append(record)
    return {"Records": records}


def said(environment: Emulator, session_id: str) -> list[str]:
    items = environment.invoke({"session_id": session_id, "action": "history"}).answer["items"]
    return [item["content"] for item in items if item.get("role") == "user"]


def failed(answer: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_the_sample_is_served_in_order_and_once(environment: Emulator) -> None:
    for _ in range(2):  # SQS may deliver a batch again
        assert environment.invoke(event("sqs_fifo")).answer == {"batchItemFailures": []}
    assert said(environment, "grace-hopper") == ["Hello, my name is Grace.", "What is my name?"]
    assert said(environment, "alan-turing") == ["Hello, my name is Alan."]
    history = environment.invoke({"session_id": "grace-hopper", "action": "history"}).answer["items"]
    assert "Your name is Grace." in str(history[-1])


def test_a_failure_holds_up_its_own_group_only(environment: Emulator) -> None:
    messages = batch(
        ("a", {"session_id": "queue-a", "message": "first"}),
        ("b", {"session_id": "queue-b", "message": ""}),
        ("a", {"session_id": "queue-a", "message": "second"}),
        ("b", {"session_id": "queue-b", "message": "after the failure"}),
    )
    assert failed(environment.invoke(messages).answer) == ["b-1", "b-3"]
    assert said(environment, "queue-a") == ["first", "second"]
    assert said(environment, "queue-b") == []


@pytest.mark.parametrize("content", ["not JSON", "[]", "null", '"text"', "{}", '{"session_id": "queue-c"}'])
def test_what_cannot_be_served_ends_in_the_dead_letter_queue(environment: Emulator, content: str) -> None:
    assert failed(environment.invoke(batch(("c", content))).answer) == ["c-0"]


def test_a_message_that_waits_for_approval_is_served(environment: Emulator) -> None:
    refund = {"session_id": "queue-d", "message": "Please refund 25 euros for order A-17."}
    messages = batch(("d", refund), ("d", {"session_id": "queue-d", "message": "Well?"}))
    assert failed(environment.invoke(messages).answer) == ["d-1"]  # comes again once it was decided, or too often
    pending = environment.invoke(event("approvals", session_id="queue-d")).answer["pending"]
    assert pending["status"] == "pending"


def test_a_message_states_its_owner(environment: Emulator) -> None:
    message = {"session_id": "queue-e", "owner": "ada", "message": "mine"}
    assert failed(environment.invoke(batch(("e", message))).answer) == []
    assert said(environment, "queue-e") == []
    items = environment.invoke({"session_id": "queue-e", "owner": "ada", "action": "history"}).answer["items"]
    assert items[0]["content"] == "mine"
