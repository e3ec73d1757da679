"""The reference agent as a Lambda function: parse, call, respond."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from events import Action, Request, RequestError, newest_that_fit, parse, respond
from openai_agents_session import environment
from openai_agents_session.errors import ContentionError, InvalidInputError, UnavailableError
from settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()
tracer = Tracer(auto_patch=False)

environment.environment.register_snapstart_hooks()
if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in ("snap-start", "provisioned-concurrency"):
    import agent  # noqa: F401 - no caller waits for such a start: leave nothing to import for the first request


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Serve one request; what the caller did wrong is answered, what is wrong here is raised."""
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    try:
        request = parse(event)
        logger.append_keys(session_id=request.session_id, action=request.action)
        body = environment.run(ACTIONS[request.action](request))
        return respond(event, 200, body)
    except RequestError as error:
        return refuse(event, error.status, error.reason, error)
    except InvalidInputError as error:
        return refuse(event, 400, str(error), error)
    except (UnavailableError, ContentionError) as error:
        return refuse(event, 503, "the session store is busy; try again", error)


def refuse(event: dict[str, Any], status: int, reason: str, error: Exception) -> dict[str, Any]:
    """Answer with a reason, and log it with what caused it."""
    metrics.add_metric("RequestsRefused", MetricUnit.Count, 1)
    logger.warning("request refused", status=status, reason=reason, exc_info=error.__cause__)
    return respond(event, status, {"error": reason})


async def send_message(request: Request) -> dict[str, Any]:
    """Let the agent answer a message."""
    from agent import take_turn

    started = time.perf_counter()
    session = await environment.open_session(request.session_id)
    turn = await take_turn(Settings.from_environ(), session, request.message)
    metrics.add_metric("Turns", MetricUnit.Count, 1)
    metrics.add_metric("TurnLatency", MetricUnit.Milliseconds, (time.perf_counter() - started) * 1000)
    metrics.add_metric("InputTokens", MetricUnit.Count, turn.input_tokens)
    metrics.add_metric("OutputTokens", MetricUnit.Count, turn.output_tokens)
    return {"session_id": request.session_id, "answer": turn.answer, "tools": turn.tools, "model": turn.model}


async def read_history(request: Request) -> dict[str, Any]:
    """Return the newest items of a session's history."""
    session = await environment.open_session(request.session_id)
    items = newest_that_fit(await session.get_items(request.limit))
    return {"session_id": request.session_id, "items": items}


async def clear_history(request: Request) -> dict[str, Any]:
    """Forget a session."""
    session = await environment.open_session(request.session_id)
    await session.clear_session()
    return {"session_id": request.session_id, "cleared": True}


ACTIONS: dict[Action, Callable[[Request], Coroutine[Any, Any, dict[str, Any]]]] = {
    "message": send_message,
    "history": read_history,
    "clear": clear_history,
}
