"""Messages that nobody waits for: what becomes of odd ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openai_agents_session.service import messages, outbox


def record(body: str, number: int = 1) -> dict[str, Any]:
    return {
        "messageId": f"m-{number}",
        "body": body,
        "attributes": {"MessageGroupId": "g"},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue.fifo",
    }


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where messages were sent to."""
    gone: list[str] = []
    monkeypatch.setattr(outbox, "send", lambda arn, *_, **__: gone.append(arn))
    monkeypatch.setenv("DEAD_LETTER_ARN", "dead letters")
    monkeypatch.setenv("REPLY_ARN", "replies")
    return gone


def test_a_message_cannot_ask_to_fail(sent: list[str]) -> None:
    """``asynchronous`` is for who invokes the function; in a message it would have a poison message come again."""
    seen: list[Any] = []

    def serve(request: Any) -> dict[str, Any]:
        seen.append(request)
        return {"status": 400, "error": "it is no request"}

    text = json.dumps({"session_id": "ada", "message": "", "asynchronous": True})
    assert messages.serve_batch({"Records": [record(text)]}, None, serve) == {"batchItemFailures": []}  # type: ignore[arg-type]
    assert "asynchronous" not in seen[0]
    assert sent == ["dead letters", "replies"]


def test_a_message_too_deep_to_be_read_is_dead_once(sent: list[str]) -> None:
    """It goes to the dead letters, its sender is told, and it does not come again."""
    text = "[" * 100_000 + "]" * 100_000
    batch = {"Records": [record(text)]}
    assert messages.serve_batch(batch, None, lambda _: {"status": 400, "error": "deep"}) == {"batchItemFailures": []}  # type: ignore[arg-type]
    assert sent == ["dead letters", "replies"]
