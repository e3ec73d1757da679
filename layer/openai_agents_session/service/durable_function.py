"""The durable function: it takes the turns that ``durable_runs.start`` asks for, each in an execution of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .. import environment
from ..errors import DurableRunError, ReplayMismatchError
from ..turns import delivery_of
from .call import asked, said, stored_session
from .context import TurnContext
from .errors import NotServedError, RequestError
from .identity import checked_owner
from .observe import count, log_failure, logger
from .request import Request, parse
from .settings import ServiceSettings, Settings
from .shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import Agent
    from aws_durable_execution_sdk_python import DurableContext

    from ..durable.running import Speaker
    from ..turns import InvocationTime
    from .running import Cast
    from .setup import Setup


_NOBODY_CAN_MEND = {"input_blocked", "output_blocked", "tool_blocked", "max_turns", "context_full"}
"""Codes of ends for which nobody is to be woken: a person's message, or the agent's own rules, led to them."""


def durable_handler(setup: Setup) -> Callable[[Any, Any], Any]:
    """The handler of a durable function, which takes the turns that `start` asks for."""
    from aws_durable_execution_sdk_python import durable_execution

    return durable_execution(partial(_answer, setup))


def _answer(setup: Setup, event: Any, context: DurableContext) -> dict[str, Any]:
    try:
        request = _message(event)
        owner = checked_owner(request, event, Shape.DIRECT, ServiceSettings.from_environ())
        return _run(setup, request, owner, context)
    except RequestError as error:
        raise NotServedError(f"{error.status} {error.reason}") from error


def _message(event: Any) -> Request:
    request = parse(event, Shape.DIRECT)
    if request.action != "message":
        raise RequestError(400, "a durable run answers a message")
    return replace(request, durable=True)


def _run(setup: Setup, request: Request, owner: str | None, context: DurableContext) -> dict[str, Any]:
    from agents.memory import SessionSettings

    from .. import durable
    from .failures import code_of
    from .running import cast_of
    from .spans import SpanHooks

    agents = cast_of(setup, Settings.from_environ())
    turn_id = request.idempotency_key or context.execution_context.durable_execution_arn
    time = cast("InvocationTime", context.lambda_context)
    session = environment.run(stored_session(request.session_id, owner))
    session.session_settings = SessionSettings(limit=ServiceSettings.from_environ().history_limit)
    logger.append_keys(session_id=request.session_id, action=request.action, turn_id=turn_id)
    try:
        with SpanHooks() as hooks:
            outcome = durable.run(
                context,
                agents.start,
                said(request),
                session=session,
                delivery=delivery_of(turn_id, asked(request)),
                speaker=_speaker(setup, agents),
                agent_context=setup.context_for(TurnContext(request.session_id, owner, turn_id, time)),
                hooks=hooks,
                options=durable.DurableOptions(at_least_once=setup.without_effects, code_of=code_of),
                **agents.options,
            )
    except durable.TurnLostError as error:  # somebody wanted it so, and no alarm is due
        logger.warning("the run's turn was given up")
        return {"given_up": str(error)}
    except durable.DurableRunError as error:
        return _failed(error)
    count("Turns")
    count("InputTokens", outcome.usage["input_tokens"])
    count("OutputTokens", outcome.usage["output_tokens"])
    return outcome.to_dict()


def _failed(error: DurableRunError) -> dict[str, Any]:
    """How the execution of a run that failed ends, and what is logged of it.

    Raises:
        DurableRunError: Somebody on duty can mend it: Lambda counts the execution as failed, and logs the error.
    """
    ends_well = error.code in _NOBODY_CAN_MEND
    log_failure("the run failed", None, status=422 if ends_well else 500, reason=error.reason, code=error.code)
    if ends_well:
        return {"failed": error.code}
    if ServiceSettings.from_environ().log_content or isinstance(error, ReplayMismatchError):
        raise error
    # The text quotes what a model's provider or a tool said, and who runs the function wants no such text in the log.
    text = f"{error.reason}, with LogContent=false not in its own words"
    raise DurableRunError(text, reason=error.reason, code=error.code) from None


def _speaker(setup: Setup, agents: Cast) -> Speaker | None:
    """Who begins: the agent that the conversation was handed over to last, with the first one's guardrails."""
    from .handoffs import last_agent

    if len(agents.all) == 1 or not setup.handoffs_last:
        return None

    def speaker(items: list[Any]) -> Agent[Any]:
        agent = last_agent(items, agents.start)
        if agent is agents.start or not agents.start.input_guardrails:
            return agent
        return agent.clone(input_guardrails=[*agents.start.input_guardrails, *agent.input_guardrails])

    return speaker
