"""Turns that outlive their invocation: started here, run by the durable function, decided on through callbacks.

::

    POST {"message", "durable": true} ──▶ start ──▶ Lambda invokes the durable function ──▶ answer, at once: 202
                                                       durable_function.py ──▶ durable.run ──▶ the session
    the same again                    ──▶ what the session knows of the turn: under way (202), waiting, or its answer
    GET                               ──▶ the history, which grows with each step

The turn has the request's name, so it is one turn however often it is asked for, and so is the execution, whose name is
made of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from enum import Enum
from typing import TYPE_CHECKING, Any

from .. import callbacks
from ..conversations import Conversation
from ..errors import RunNotPendingError
from ..turns import delivery_of, open_turn
from .call import Call, asked
from .errors import RequestError
from .identity import stored_id
from .observe import log_failure
from .request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..dynamodb import DynamoDBSession
    from ..runs import PendingRun

_CLOSED = ("CallbackTimeoutException", "ResourceNotFoundException", "InvalidParameterValueException")
_BUSY = ("TooManyRequestsException", "ServiceException", "ThrottlingException")

STARTED, RUNNING = "started", "running"


def under_way(call: Call, state: str = RUNNING) -> dict[str, Any]:
    """The answer while nobody knows the agent's: ask for the same again, or for the history."""
    return {"status": 202, "session_id": call.request.session_id, "durable": state}


async def start(call: Call) -> bool:
    """Have the durable function take a turn. Of the same request any number of times: once.

    Returns:
        Whether the execution that takes it goes on, as far as that is known.

    Raises:
        RequestError: There is no such function; the request's name was used for another one; it is too large.
    """
    function = call.settings.durable_function
    if function is None:
        reason = "there is no durable function here: leave durable out, or deploy one"
        raise RequestError(400, reason, code="no_durable")
    session_id, owner, turn_id = call.request.session_id, call.owner, call.delivery
    event = {"session_id": session_id, "message": call.request.message, "owner": owner, "idempotency_key": turn_id}
    name = execution_name(stored_id(session_id, owner), turn_id)
    execution = await asyncio.to_thread(_invoke, function, name, json.dumps(event, sort_keys=True).encode())
    return await _execution(execution) is not _Execution.ENDED


def execution_name(stored: str, turn_id: str) -> str:
    """What the execution of a turn is called: with it Lambda starts one, however often it is asked to.

    Args:
        stored: The session's stored id.
        turn_id: The turn's name: the idempotency key, or what stands for it.
    """
    return hashlib.sha256(json.dumps([stored, turn_id]).encode()).hexdigest()


async def is_open(session: DynamoDBSession) -> bool:
    """Whether the turn that is not done is a durable run's, which goes on although nobody holds the session."""
    found = await open_turn(session)
    if found is None:
        return False
    first, digests = found
    page = await Conversation(session).history(before=first + 1, limit=1)
    contents = [item.get("content", "") for item in page.items if isinstance(item, dict)]
    requests = (Request("message", session.session_id, message=content, durable=True) for content in contents)
    return any(delivery_of("", asked(request)).digest in digests for request in requests)


def _invoke(function: str, name: str, event: bytes) -> str | None:
    """Start an execution, or find the one that has the name; its ARN."""
    from botocore.exceptions import BotoCoreError, ClientError

    request = {"FunctionName": function, "InvocationType": "Event", "DurableExecutionName": name, "Payload": event}
    try:
        started: str | None = callbacks.lambda_client().invoke(**request).get("DurableExecutionArn")
    except (BotoCoreError, ClientError) as error:
        raise _refusal(_code_of(error)) from error
    return started


def ended(run_id: str | None = None) -> RequestError:
    """The refusal of a request whose execution ended without its turn: its time was over, or it failed too often.

    Args:
        run_id: The run that waits there and can be discarded, if it had come so far.
    """
    then = "ask under another idempotency key" if run_id is None else "discard it"
    reason = f"the durable run has ended without an answer, its execution says why: {then}"
    return RequestError(409, reason, code="run_ended", **({} if run_id is None else {"run_id": run_id}))


class _Execution(Enum):
    """What Lambda says of an execution."""

    RUNNING = "it has not ended"
    ENDED = "it has"
    ABSENT = "there is none of that name: not yet, or not any more"
    UNKNOWN = "it has no name, Lambda cannot be reached, or nobody may ask"


async def _execution(name: str | None) -> _Execution:
    from botocore.exceptions import BotoCoreError, ClientError

    if name is None:
        return _Execution.UNKNOWN
    try:
        return _Execution.RUNNING if await callbacks.is_running(name) else _Execution.ENDED
    except (BotoCoreError, ClientError) as error:
        return _Execution.ABSENT if _code_of(error) == "ResourceNotFoundException" else _Execution.UNKNOWN


async def decide(session: DynamoDBSession, run: PendingRun, decisions: Mapping[str, bool]) -> None:
    """Send decisions to the run's execution. One that was sent before is not sent again where it goes on.

    Raises:
        RequestError: It has ended; or it cannot be reached.
        RunNotPendingError: The run was decided on otherwise, or its time for that is over.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        await callbacks.decide(session, run.run_id, decisions)
    except (BotoCoreError, ClientError) as error:
        if _code_of(error) not in _CLOSED:
            reason = "the decision is kept, and could not be sent: send it again"
            raise RequestError(503, reason, code="not_sent", retry_after=1) from error
        if await _execution(callbacks.execution_of(run)) is not _Execution.RUNNING:
            raise ended(run.run_id) from error
        if run.status == "pending":
            raise RunNotPendingError(f"run {run.run_id!r} was decided on meanwhile, or not in time") from error


async def give_up(run: PendingRun) -> None:
    """Let the execution of a run that was discarded end. The session is free of it already, whatever comes of this."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        await callbacks.give_up(run)
    except (BotoCoreError, ClientError) as error:
        log_failure("the execution of a run that was discarded could not be told so", error)


def _code_of(error: Exception) -> str:
    """What Lambda, or the way to it, said."""
    response = getattr(error, "response", None)
    return str(response["Error"]["Code"]) if response else type(error).__name__


async def goes_on(run: PendingRun) -> bool:
    """Whether the execution of a run that was decided on has not ended, as far as that is known.

    One that Lambda does not know any more has: it is kept for longer than it runs.
    """
    return await _execution(callbacks.execution_of(run)) not in (_Execution.ENDED, _Execution.ABSENT)


def _refusal(code: str) -> RequestError:
    if code in _BUSY:
        return RequestError(503, "the durable function is busy; try again", retry_after=1)
    match code:
        case "DurableExecutionAlreadyStartedException":
            return RequestError(422, "this idempotency key was used for another request")
        case "RequestTooLargeException" | "RequestEntityTooLargeException":
            return RequestError(413, "the message is too large for a durable run: at most 1 MB", code="too_large")
    return RequestError(502, "the durable function could not be started: the log here says why", code="not_started")
