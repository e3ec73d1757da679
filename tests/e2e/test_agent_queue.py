"""Messages from a FIFO queue: in order, each once, and failures reported one by one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.support.agent import Stage, event
from tools.emulation import engines
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


@pytest.mark.parametrize("name", ["http_message", "rest_message", "sns", "eventbridge", "warm_up"])
def test_a_message_of_another_form_makes_no_turn(environment: Emulator, name: str) -> None:
    """A message of HTTP's form, or any other than a direct request, is refused before anything is done."""
    before = environment.invoke(event("http_history")).answer["body"]
    for _ in range(3):
        assert failed(environment.invoke(batch(("f", event(name)))).answer) == ["f-0"]
    assert environment.invoke(event("http_history")).answer["body"] == before


class Queues:
    """The queues that the function sends to, on an emulated SQS."""

    def __init__(self, endpoint_url: str) -> None:
        options = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        self._client: Any = boto3.client("sqs", endpoint_url=endpoint_url, **options)
        self.variables = {"AWS_ENDPOINT_URL_SQS": endpoint_url}
        self._urls: dict[str, str] = {}

    def make(self, variable: str, name: str) -> None:
        """Make a queue and tell the function of it."""
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self._urls[variable] = self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = self._client.get_queue_attributes(QueueUrl=self._urls[variable], AttributeNames=["QueueArn"])
        self.variables[variable] = found["Attributes"]["QueueArn"]

    def messages(self, variable: str) -> list[dict[str, Any]]:
        """What was sent to a queue, taken from it."""
        taken: list[dict[str, Any]] = []
        while found := self._client.receive_message(
            QueueUrl=self._urls[variable], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            taken += found
            for message in found:
                self._client.delete_message(QueueUrl=self._urls[variable], ReceiptHandle=message["ReceiptHandle"])
        return taken


@pytest.fixture(scope="module")
def queues() -> Iterator[Queues]:
    with engines.start("moto") as moto:
        made = Queues(moto.endpoint_url)
        made.make("DEAD_LETTER_ARN", "dead.fifo")
        made.make("REPLY_ARN", "replies")
        yield made


@pytest.fixture(scope="module")
def sending(stage: Stage, queues: Queues) -> Iterator[Emulator]:
    with stage.environment(**queues.variables) as running:
        yield running


def test_a_poisonous_message_is_put_aside_alone_and_at_once(sending: Emulator, queues: Queues) -> None:
    """What can never be served goes to the dead letters with its reason; those behind it are served in order."""
    messages = batch(
        ("p", {"session_id": "queue-p", "message": "first"}),
        ("p", "not JSON"),
        ("p", {"session_id": "queue-p", "message": ""}),
        ("p", event("http_message")),
        ("p", {"session_id": "queue-p", "action": "approve", "run_id": "unknown"}),
        ("p", {"session_id": "queue-p", "message": "last"}),
    )
    assert failed(sending.invoke(messages).answer) == []
    assert said(sending, "queue-p") == ["first", "last"]
    dead = queues.messages("DEAD_LETTER_ARN")
    assert [message["Body"] for message in dead] == [messages["Records"][number]["body"] for number in (1, 2, 3, 4)]
    assert "message must be" in dead[1]["MessageAttributes"]["reason"]["StringValue"]
    queues.messages("REPLY_ARN")


def test_the_sample_of_a_poisonous_message_holds_nobody_up(sending: Emulator, queues: Queues) -> None:
    assert sending.invoke(event("sqs_poison")).answer == {"batchItemFailures": []}
    assert [message["Body"] for message in queues.messages("DEAD_LETTER_ARN")] == ["not a request"]
    assert said(sending, "grace-hopper")[-1] == "What is my name?"
    queues.messages("REPLY_ARN")


def test_a_message_that_cannot_be_put_aside_comes_again(stage: Stage) -> None:
    """Nothing is lost where the queue of dead letters cannot be reached."""
    gone = {
        "DEAD_LETTER_ARN": "arn:aws:sqs:us-east-1:123456789012:gone.fifo",
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with stage.environment(**gone) as running:
        assert failed(running.invoke(batch(("g", "not JSON"))).answer) == ["g-0"]


def test_a_message_is_replied_to_where_a_queue_for_replies_is_named(sending: Emulator, queues: Queues) -> None:
    """Each message that is served has its reply, also one that is served again, whose turn is not taken again."""
    messages = batch(
        ("r", {"session_id": "queue-r", "message": "My name is Ada."}),
        ("r", {"session_id": "queue-r", "message": ""}),
        ("r", {"session_id": "queue-r", "message": "Please refund 25 euros for order A-17."}),
    )
    for _ in range(2):
        assert failed(sending.invoke(messages).answer) == []
        replies = {reply["in_reply_to"]: reply for reply in map(_read, queues.messages("REPLY_ARN"))}
        assert replies["r-0"]["answer"].startswith("Nice to meet you, Ada.")
        assert {reply["session_id"] for reply in replies.values()} == {"queue-r"}
        assert [replies[f"r-{number}"]["status"] for number in range(3)] == [200, 400, 202]
    assert len(said(sending, "queue-r")) == 2


def test_a_queue_without_an_order_has_failures_one_by_one(environment: Emulator) -> None:
    """In a standard queue no message waits for another."""
    messages = batch(("s", "not JSON"), ("s", {"session_id": "queue-s", "message": "second"}))
    for record in messages["Records"]:
        record["eventSourceARN"] = record["eventSourceARN"].removesuffix(".fifo")
        del record["attributes"]["MessageGroupId"]
    assert failed(environment.invoke(messages).answer) == ["s-0"]
    assert said(environment, "queue-s") == ["second"]


def _read(message: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(message["Body"])
    return read


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
