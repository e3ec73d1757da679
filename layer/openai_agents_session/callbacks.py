"""Decisions on the tool calls of a durable run that waits: they are sent to AWS's callbacks.

The run is parked beside its session, as any run is (``runs.PendingRuns``), and its state says which callback of AWS's
it waits for. To decide is to claim the run, of which one of any number who try is capable, and to send the decisions to
the callback. Whoever claims it and dies before they are sent leaves the decisions in the table: to decide the same
again sends them.

Nothing here needs AWS's durable execution SDK: who decides is another function than the one that runs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from .errors import InvalidInputError, RunNotPendingError
from .runs import PendingRun, PendingRuns

if TYPE_CHECKING:
    from .dynamodb import DynamoDBSession

Send = Callable[[str, bytes], Any]
"""Sends a result to a callback, given its id."""

_KIND = "durable"


def state_of(callback_id: str, execution: str) -> str:
    """What is parked of a durable run: AWS has the rest."""
    return json.dumps({"kind": _KIND, "callback": callback_id, "execution": execution})


def is_durable(run: PendingRun) -> bool:
    """Whether a run that waits is a durable one, to be decided with ``decide``."""
    return _state(run) is not None


async def decide(
    session: DynamoDBSession, run_id: str, decisions: Mapping[str, bool], *, send: Send | None = None
) -> None:
    """Decide on calls that a durable run of the session waits for. The run goes on in an invocation of its own.

    Args:
        session: The session.
        run_id: The run, as ``PendingRuns(session).get()`` names it.
        decisions: True to approve or False to reject, by call id. What is left undecided is asked for again.
        send: How a result is sent to a callback; with boto3's Lambda client when left out, which needs the permission
            ``lambda:SendDurableExecutionCallbackSuccess``.

    Raises:
        InvalidInputError: The run is not a durable one, or a decision is about a call that does not wait.
        RunNotPendingError: It is not pending, and was not decided like this.
    """
    runs = PendingRuns(session)
    run = await runs.get()
    if run is None or run.run_id != run_id:
        raise RunNotPendingError(f"no run {run_id!r} waits for a decision: it was decided, discarded or never parked")
    state = _state(run)
    if state is None:
        raise InvalidInputError(f"run {run_id!r} is not a durable one: claim it and resume it (PendingRuns.claim)")
    if run.status == "pending" or dict(run.decisions) != dict(decisions):
        run = await runs.claim(run_id, decisions)
    result = json.dumps(dict(decisions)).encode()
    await asyncio.to_thread(send or _sent_by_boto3, state["callback"], result)


async def is_running(execution: str) -> bool:
    """Whether a durable execution has not ended. Needs the permission ``lambda:GetDurableExecution``.

    Args:
        execution: Its ARN.
    """
    return await asyncio.to_thread(_status_by_boto3, execution) == "RUNNING"


def execution_of(run: PendingRun) -> str | None:
    """The ARN of the execution that a run waits in; None for a run that is no durable one."""
    state = _state(run)
    return state["execution"] if state else None


async def give_up(run: PendingRun) -> None:
    """End the execution of a durable run that waited and was discarded: nobody decides on it any more.

    An execution that is not told so waits until its approval's time is over, and ends then. Does nothing for a run that
    is no durable one. Needs the permission ``lambda:SendDurableExecutionCallbackFailure``.

    Args:
        run: The run, as it waited.
    """
    state = _state(run)
    if state is not None:
        await asyncio.to_thread(_failed_by_boto3, state["callback"])


def _sent_by_boto3(callback_id: str, result: bytes) -> None:
    lambda_client().send_durable_execution_callback_success(CallbackId=callback_id, Result=result)


def _failed_by_boto3(callback_id: str) -> None:
    error = {"ErrorType": "Discarded", "ErrorMessage": "the run was discarded"}
    lambda_client().send_durable_execution_callback_failure(CallbackId=callback_id, Error=error)


def _status_by_boto3(execution: str) -> str:
    return str(lambda_client().get_durable_execution(DurableExecutionArn=execution)["Status"])


@cache
def lambda_client() -> Any:
    """A client of Lambda's API, which gives up in less time than an API's caller waits."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": 2}
    return boto3.client("lambda", config=Config(connect_timeout=3, read_timeout=8, retries=retries))


def _state(run: PendingRun) -> dict[str, Any] | None:
    try:
        state = json.loads(run.state)
    except ValueError:
        return None
    return state if isinstance(state, dict) and state.get("kind") == _KIND else None
