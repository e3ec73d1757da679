"""A turn happens once: the finished answer to a delivery is kept, and given again to whoever delivers it again.

Powertools' idempotency is for synchronous functions, so it stands around the one that runs the turn's coroutine. This
is imported only for requests that carry a key: others need not pay for importing boto3.

::

    first delivery    put "in progress" if absent --> run the turn --> put the answer
    second, meanwhile                          |--> refused: in progress
    second, later                                                      |--> the answer
    the first failed or died                   |--> removed, or expired with its invocation's time: run again

What it cannot see is a turn completed by an environment that died, or lost the table, before it put the answer:
a delivery after that invocation's time runs it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)

from events import RequestError
from observe import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RETRY_SECONDS = 2


@cache
def _store(table_name: str) -> DynamoDBPersistenceLayer:
    return DynamoDBPersistenceLayer(table_name=table_name)


def once(
    run: Callable[[], dict[str, Any]],
    *,
    key: list[str | None],
    payload: dict[str, Any],
    table_name: str,
    seconds: int,
    context: LambdaContext,
) -> dict[str, Any]:
    """Run something unless it was run before.

    Args:
        run: What is to happen once; it returns JSON. If it raises, it may happen again.
        key: What names the delivery: its owner, its session, and the key that the caller gave it.
        payload: What the delivery asks for; the same key with another is refused.
        table_name: Where answers are kept.
        seconds: How long they are.
        context: The Lambda context: a run that dies is over when its invocation's time is.

    Returns:
        What ``run`` returned, now or before.

    Raises:
        RequestError: The same is running (409), the key was used for something else (422), or the table failed (503).
    """
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="payload",
        expires_after_seconds=seconds,
        hash_function="sha256",
        lambda_context=context,
    )

    finished: dict[str, Any] = {}

    def run_once(*, delivery: dict[str, Any]) -> dict[str, Any]:
        finished.update(run())
        return finished

    guarded = idempotent_function(
        run_once,
        data_keyword_argument="delivery",
        persistence_store=_store(table_name),
        config=config,
        key_prefix="turn",
    )
    try:
        answer: dict[str, Any] = guarded(delivery={"key": key, "payload": payload})
    except IdempotencyAlreadyInProgressError as error:
        raise RequestError(409, "the same request is being served", retry_after=RETRY_SECONDS) from error
    except IdempotencyValidationError as error:
        raise RequestError(422, "this idempotency key was used for another request") from error
    except IdempotencyPersistenceLayerError as error:
        if finished:  # the turn has happened, so its caller gets the answer and has no reason to deliver it again
            logger.warning("the answer could not be kept", exc_info=error)
            return finished
        raise RequestError(503, "answers cannot be kept at the moment; try again", retry_after=RETRY_SECONDS) from error
    return answer
