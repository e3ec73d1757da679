"""The service as a Lambda function: parse, call, respond."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .. import environment
from ..errors import SessionError
from .actions import ACTIONS
from .call import Call
from .ending import end_after_answer
from .errors import NotServedError, RequestError
from .identity import OwnerOf, caller, checked_owner
from .observe import count, log_answer, log_failure, logger, metrics, store_observer, tracer
from .refusals import refusal_for
from .request import parse, respond
from .settings import ServiceSettings
from .setup import MAX_TURNS, Setup, check_named
from .shapes import Shape, shape_of
from .threads import are_exhausted

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from .setup import BuildAgent, ContextOf, MakeRunConfig
    from .steps import Watch

    Handler = Callable[[Any, LambdaContext], dict[str, Any]]

Run = Callable[[Coroutine[Any, Any, dict[str, Any]]], dict[str, Any]]

API_SECONDS = 29.0
"""An HTTP API gives up after 30 seconds, a REST API after 29 unless its quota was raised."""

BALANCER_SECONDS = 59.0
"""A load balancer's idle timeout is 60 seconds unless it was changed."""

STARTS_AHEAD = ("snap-start", "provisioned-concurrency")
"""Starts for which no caller waits: they leave nothing to import for the first request."""


class AgentService:
    """An agent as a service.

    Args:
        build_agent: Makes the agent from the settings; or its name, as ``"module:function"``, which is imported at the
            first turn: a request for the history then does not wait for the SDK's import.
        run_config: Makes the SDK's settings of a run from the service's, or its name.
        max_turns: How often the model is asked in a turn before it is given up.
        without_effects: Names of tools that may run again without harm: their calls need not be stored before they
            run, which saves a write each.
        handoffs_last: Whether a turn begins with the agent that the conversation was handed over to last. To know it,
            the whole history is read once more if there is more than one agent.
        context_of: Makes the run's context, which tools get, from the turn's; None for the turn's own (`TurnContext`).
        owner_of: Says who sends an HTTP event, from what its authorizer verified; None for the table in `identity`.
            Where it knows nobody, the answer is 401.

    Attributes:
        handler: The function's handler: an HTTP API's requests, a Function URL's, a queue's messages and direct
            invocations.
    """

    def __init__(
        self,
        build_agent: BuildAgent | str,
        *,
        run_config: MakeRunConfig | str | None = None,
        max_turns: int = MAX_TURNS,
        without_effects: Collection[str] = (),
        handoffs_last: bool = True,
        context_of: ContextOf | None = None,
        owner_of: OwnerOf | None = None,
    ) -> None:
        check_named("build_agent", build_agent)
        if run_config is not None:
            check_named("run_config", run_config)
        if isinstance(without_effects, str):
            raise TypeError(f"without_effects must be names of tools, such as {{{without_effects!r}}}, not one text")
        effectless = frozenset(without_effects)
        self.setup = Setup(build_agent, run_config, max_turns, effectless, handoffs_last, context_of, owner_of)
        self.handler: Handler = _observed(self._answer)
        _start(self.setup)

    def durable_handler(self) -> Handler:
        """The handler of a durable function that takes turns of this service: those that are asked for as durable ones.

        The function needs ``DurableConfig`` and the full layer; the service's own function needs its alias's ARN as
        ``DURABLE_FUNCTION``, and the right to invoke it. docs/durable.md.
        """
        from .durable_function import durable_handler

        return _observed(durable_handler(self.setup))

    def serve(
        self, event: Any, context: LambdaContext, *, run: Run = environment.run, watch: Watch | None = None
    ) -> dict[str, Any]:
        """Serve one request; what the caller can act on is answered, what is wrong here is raised.

        Args:
            event: The request.
            context: Its Lambda context.
            run: Runs a coroutine to its end.
            watch: Is told what the agent does while it does it.
        """
        count("Requests")
        settings, shape = ServiceSettings.from_environ(), shape_of(event)
        try:
            request = parse(event, shape, partial(self._owner_of, settings))
            owner = checked_owner(request, event, shape, settings)
            turn_id = request.idempotency_key or context.aws_request_id
            logger.append_keys(session_id=request.session_id, action=request.action, turn_id=turn_id)
            call = Call(request, turn_id, TimeLimit(context, event, shape), settings, owner, self.setup, watch)
            body = run(ACTIONS[request.action](call))
        except RequestError as error:
            return refuse(event, error, content=settings.log_content)
        except SessionError as error:
            if (refusal := refusal_for(error)) is None:
                raise
            return refuse(event, refusal, content=settings.log_content)
        status = body.pop("status", 200)
        log_answer(status, body, content=settings.log_content)
        return respond(event, shape, status, body)

    def _owner_of(self, settings: ServiceSettings, event: Mapping[str, Any]) -> str | None:
        """Who sends an HTTP event."""
        known = caller(event, settings.owner_claims) if self.setup.owner_of is None else self.setup.owner_of(event)
        return known or None

    def _answer(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Serve one request, or messages that nobody waits for."""
        shape = shape_of(event)
        if shape is Shape.PING:
            return {"status": 200, "warm": True}
        if shape is Shape.FOREIGN:
            raise NotServedError("the function serves no such records: it knows those of SQS and SNS")
        if shape not in (Shape.QUEUE, Shape.TOPIC, Shape.BUS):
            return self.serve(event, context)
        from . import messages

        def serve(message: Any) -> dict[str, Any]:
            return self.serve(message, context)

        if shape is Shape.QUEUE:
            failures: dict[str, Any] = messages.serve_batch(event, context, serve)
            return failures
        (messages.serve_topic if shape is Shape.TOPIC else messages.serve_bus)(event, serve)
        return {"status": 200}


def end_if_exhausted() -> None:
    """Have this environment end after its answer if tools hold too many of its threads."""
    if are_exhausted():
        end_after_answer()


def _observed(handle: Handler) -> Handler:
    """A handler with its log, metrics and trace."""

    @logger.inject_lambda_context(clear_state=True)
    @tracer.capture_lambda_handler(capture_response=False)
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
        try:
            return handle(event, context)
        finally:
            end_if_exhausted()
            store_observer.flush()
            started()

    return cast("Handler", handler)


def _start(setup: Setup) -> None:
    """Prepare an execution environment of Lambda's; elsewhere nothing of the process is changed."""
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return
    # Nothing that imports make is garbage, and the collector would look for it a hundred times: a tenth of a cold
    # start. It goes on after the first request, which imports the most.
    gc.disable()
    environment.environment.register_snapstart_hooks()
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in STARTS_AHEAD:
        setup.preload()


def started() -> None:
    """Let the collector go on.

    What is there by now stays for good and is never looked at again: the first collection of all of it would take a
    third of the first turn.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def refuse(event: Mapping[str, Any], refusal: RequestError, *, content: bool = False) -> dict[str, Any]:
    """Answer with a reason, and log it with what caused it; with texts of exceptions only if content may be logged."""
    count("RequestsRefused")
    count(f"Answers{refusal.status}")
    cause, code = refusal.__cause__, refusal.details.get("code")
    log_failure("request refused", cause, content=content, status=refusal.status, reason=refusal.reason, code=code)
    shape = shape_of(event)
    if shape is Shape.DIRECT and isinstance(event, dict) and event.get("asynchronous") is True:
        raise NotServedError(f"{refusal.status} {refusal.reason}")
    return respond(event, shape, refusal.status, {"error": refusal.reason} | refusal.details)


class TimeLimit:
    """The time that a request has: the invocation's, or what waits in front of it grants if that is less."""

    def __init__(self, context: LambdaContext, event: Any, shape: Shape) -> None:
        self._context = context
        self._end = time.monotonic() + waiting_seconds(event, shape)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until nobody waits any more."""
        return int(min(self._context.get_remaining_time_in_millis(), (self._end - time.monotonic()) * 1000))


def waiting_seconds(event: Any, shape: Shape) -> float:
    """For how long an answer is waited for in front of the function."""
    if shape is Shape.BALANCER:
        return BALANCER_SECONDS
    if shape is Shape.REST:
        return API_SECONDS
    # A Function URL waits for as long as the function runs. So does a web server that names no domain: a local one.
    domain = str(event["requestContext"].get("domainName") or "") if shape is Shape.HTTP else ""
    return API_SECONDS if domain and ".lambda-url." not in domain else math.inf
