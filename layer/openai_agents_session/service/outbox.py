"""What the function sends by itself: replies to messages, and messages that can never be served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

MAX_BYTES = 250_000
"""Of a message: a topic takes 256 KB with its attributes, a queue more."""


def send(arn: str, body: str, *, group: str, name: str, reason: str = "") -> None:
    """Send a message to a queue or a topic, of whichever kind.

    Args:
        arn: The queue's or the topic's.
        body: The message.
        group: The message group, if it keeps an order.
        name: What names the message: one that is sent again within five minutes is dropped by what keeps an order.
        reason: Why it is sent, as an attribute of the message.
    """
    _, _, kind, _, account, resource = arn.split(":", 5)
    options: dict[str, Any] = {"MessageGroupId": group, "MessageDeduplicationId": name} if arn.endswith(".fifo") else {}
    if reason:
        options["MessageAttributes"] = {"reason": {"DataType": "String", "StringValue": reason[:1_000]}}
    client = _client(kind)
    if kind == "sns":
        client.publish(TopicArn=arn, Message=body, **options)
    else:
        url = f"{client.meta.endpoint_url.rstrip('/')}/{account}/{resource}"
        client.send_message(QueueUrl=url, MessageBody=body, **options)


def fitting(answer: Mapping[str, Any]) -> str:
    """An answer as a message; one that is too large says so in place of what was said."""
    text = json.dumps(answer, ensure_ascii=False)
    if len(text.encode()) <= MAX_BYTES:
        return text
    left_out = {name: value for name, value in answer.items() if name not in ("answer", "output", "items", "pending")}
    return json.dumps(left_out | {"too_large": True}, ensure_ascii=False)


@cache
def _client(kind: str) -> Any:
    import boto3

    return boto3.client(kind)
