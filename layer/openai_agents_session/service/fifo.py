"""Messages from an SQS FIFO queue whose message group is the session: in order, each once, failures one by one.

A message that cannot be served is reported as failed, with those after it of the same group, and comes again; after the
queue's last attempt it goes to the dead-letter queue. What a guardrail blocked, or the model cannot take, does not come
again: the next attempt would end as this one did, and hold up the group.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


SETTLED = frozenset(
    {"input_blocked", "output_blocked", "tool_blocked", "max_turns", "context_full", "abandoned", "cleared"}
)
"""Refusals that come again if the message does: it counts as served, and the metric of its status tells of it."""


class NotServedError(Exception):
    """A message was not served and shall come again."""


def serve_batch(event: dict[str, Any], context: LambdaContext, serve: Callable[[Any], Mapping[str, Any]]) -> Any:
    """Serve the messages of a batch, each as a direct invocation whose idempotency key is the message's id.

    Args:
        event: The batch.
        context: The Lambda context.
        serve: Serves one direct event and returns its answer, with its status.

    Returns:
        Which messages failed, in the form that SQS asks for (ReportBatchItemFailures).
    """

    def serve_record(record: SQSRecord) -> None:
        answer = serve(_direct(record))
        if answer["status"] >= 400 and answer.get("code") not in SETTLED:
            raise NotServedError(f"message {record.message_id}: {answer['status']} {answer.get('error')}")

    # Made for each batch: it remembers which groups have failed.
    processor = SqsFifoPartialProcessor(skip_group_on_error=True)
    processor.raise_on_entire_batch_failure = False  # the answer says the same, without the look of a crash
    return process_partial_response(event=event, record_handler=serve_record, processor=processor, context=context)


def _direct(record: SQSRecord) -> Any:
    try:
        request = json.loads(record.body)
    except ValueError:
        return None
    return request | {"idempotency_key": record.message_id} if isinstance(request, dict) else request
