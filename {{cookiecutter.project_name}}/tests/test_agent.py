"""What the agent says, as Lambda calls it: on a table in memory, without AWS and without a key."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

Say = Callable[..., dict[str, Any]]

TABLE = "sessions"


@dataclass(frozen=True)
class Context:
    """What Lambda tells a handler about an invocation."""

    aws_request_id: str
    function_name: str = "agent"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:agent"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation ends."""
        return 60_000


@pytest.fixture(scope="session")
def say() -> Iterator[Say]:
    """A function that sends the agent a message, or another request, in a session."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as variables:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://{host}:{port}",
            "SESSION_TABLE": TABLE,
            "MODEL_PROVIDER": "offline",  # rules in place of a model; the template's default too
            "POWERTOOLS_SERVICE_NAME": "agent",
            "POWERTOOLS_METRICS_NAMESPACE": "tests",
            "POWERTOOLS_TRACE_DISABLED": "true",
        }.items():
            variables.setenv(name, value)
        client = boto3.client("dynamodb", region_name="eu-central-1", endpoint_url=f"http://{host}:{port}")
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        handler = importlib.import_module("app").handler

        def say(session_id: str, message: str | None = None, **request: Any) -> dict[str, Any]:
            event = {"session_id": session_id, **request} | ({"message": message} if message else {})
            answer: dict[str, Any] = handler(event, Context(uuid.uuid4().hex))
            return answer

        yield say
    server.stop()


def test_it_remembers(say: Say) -> None:
    """What was said in one invocation is known in the next."""
    assert say("ada", "Hello, my name is Ada.")["status"] == 200
    assert "Ada" in say("ada", "What is my name?")["answer"]


def test_it_uses_its_tools(say: Say) -> None:
    """A calculation is made by the tool for it."""
    answer = say("sums", "What is 17.5 * 2340 / 100?")
    assert answer["tools"] == ["calculate"]
    assert "409.5" in answer["answer"]


def test_money_waits_for_a_person(say: Say) -> None:
    """A refund is made once somebody has approved it, and not before."""
    asked = say("refunds", "Refund 25 euros for order A-17")
    assert asked["status"] == 202
    done = say("refunds", action="approve", run_id=asked["pending"]["run_id"])
    assert "Refunded 25.00 euros" in done["answer"]
