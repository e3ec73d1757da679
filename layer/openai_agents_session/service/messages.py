"""Messages that nobody waits for: of an SQS queue, an SNS topic, an EventBridge bus. Each is a direct request.

What becomes of a message is one of three things:

- **served**, or refused in a way that comes again if the message does (`SETTLED`), such as by a guardrail. Where
  replies are asked for, one is sent;
- **never to be served**, such as a message that is no request. It goes to the dead letters alone and at once, with the
  reason, and those behind it in its group are served in their order;
- **not served now**, such as when the model is down. It is reported as failed, with those after it of the same group,
  and comes again; after the queue's last attempt it goes to the dead letters.

A topic and a bus know failing alone: the invocation fails, and Lambda's retries and its destination do the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)

from . import outbox
from .errors import NotServedError, RequestError
from .observe import count, logger
from .request import direct

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    Serve = Callable[[Any], Mapping[str, Any]]

SETTLED = frozenset(
    {"input_blocked", "output_blocked", "tool_blocked", "max_turns", "context_full", "abandoned", "cleared"}
)
"""Refusals that come again if the message does: it counts as served, and the metric of its status tells of it."""

NEVER = frozenset({400, 401, 403, 404, 413, 422})
"""Statuses of requests that no repetition makes better."""

NOT_PENDING = "not_pending"

DEAD_LETTERS = "DEAD_LETTER_ARN"
REPLIES = "REPLY_ARN"


def serve_batch(event: dict[str, Any], context: LambdaContext, serve: Serve) -> Any:
    """Serve the messages of a queue's batch, each as a direct invocation whose idempotency key is the message's id.

    Args:
        event: The batch.
        context: The Lambda context.
        serve: Serves one direct event and returns its answer, with its status.

    Returns:
        Which messages failed, in the form that SQS asks for (ReportBatchItemFailures).
    """
    if not event["Records"]:
        return {"batchItemFailures": []}
    # Made for each batch: it remembers which groups have failed.
    in_order = str(event["Records"][0].get("eventSourceARN", "")).endswith(".fifo")
    processor = SqsFifoPartialProcessor(skip_group_on_error=True) if in_order else BatchProcessor(EventType.SQS)
    processor.raise_on_entire_batch_failure = False  # the answer says the same, without the look of a crash
    handler = _of_queue(serve)
    return process_partial_response(event=event, record_handler=handler, processor=processor, context=context)


def _of_queue(serve: Serve) -> Callable[[SQSRecord], None]:
    def serve_record(record: SQSRecord) -> None:
        answer = _served(serve, record.body, record.message_id)
        if _is_never_served(answer) and (arn := os.environ.get(DEAD_LETTERS)):
            count("DeadMessages")
            logger.warning("a message can never be served", message_id=record.message_id, status=answer["status"])
            outbox.send(arn, record.body, group=_group(record), name=record.message_id, reason=str(answer.get("error")))
        elif not _is_settled(answer):
            raise NotServedError(f"message {record.message_id}: {answer['status']} {answer.get('error')}")
        if arn := os.environ.get(REPLIES):
            reply = outbox.fitting({"in_reply_to": record.message_id, "session_id": _session(record.body)} | answer)
            outbox.send(arn, reply, group=_group(record), name=record.message_id)

    return serve_record


def serve_topic(event: dict[str, Any], serve: Serve) -> None:
    """Serve the messages of a topic.

    Raises:
        NotServedError: One was not served.
    """
    for record in event["Records"]:
        notification = record.get("Sns") if isinstance(record, dict) else None
        found = notification if isinstance(notification, dict) else {}
        _require(_served(serve, str(found.get("Message")), str(found.get("MessageId"))), "the topic's message")


def serve_bus(event: dict[str, Any], serve: Serve) -> None:
    """Serve an event of a bus, whose detail is a direct request. Raises as ``serve_topic``."""
    _require(_served(serve, json.dumps(event["detail"]), str(event.get("id"))), "the bus's event")


def _served(serve: Serve, text: str, delivery: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict):
        message.pop("asynchronous", None)  # it is told by its answer whether it was served, as all here are
    try:
        return dict(serve(direct(message, delivery)))
    except RequestError as refusal:
        return {"status": refusal.status, "error": refusal.reason}


def _require(answer: Mapping[str, Any], what: str) -> None:
    if not _is_settled(answer):
        raise NotServedError(f"{what}: {answer['status']} {answer.get('error')}")


def _is_settled(answer: Mapping[str, Any]) -> bool:
    return answer["status"] < 400 or answer.get("code") in SETTLED


def _is_never_served(answer: Mapping[str, Any]) -> bool:
    return not _is_settled(answer) and (answer["status"] in NEVER or answer.get("code") == NOT_PENDING)


def _group(record: SQSRecord) -> str:
    return str(record.raw_event.get("attributes", {}).get("MessageGroupId") or record.message_id)


def _session(text: str) -> Any:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message.get("session_id") if isinstance(message, dict) else None
