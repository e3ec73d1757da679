"""Actions about a run that waits for approval: decide on it, give it up, read what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import callbacks
from ..dynamodb import DynamoDBSession
from ..errors import RunNotPendingError
from ..runs import PendingRun, PendingRuns
from ..turns import NOT_RUN, Delivery, Meeting, Outcome, TurnJournal, delivery_of
from . import durable_runs
from .answering import answered, go_on
from .call import Call, asked, pending_of, turn_of, work_of
from .errors import RequestError
from .observe import count
from .told import discarded, told

if TYPE_CHECKING:
    from agents import RunState


async def decide(call: Call) -> dict[str, Any]:
    """Approve or reject the calls that a run waits for, and let the agent go on. Of any number who decide, one does.

    A run is claimed once it is known that it can be resumed: a claimed one never runs again.
    """
    session = await call.session()
    runs = PendingRuns(session)
    if (run := await runs.get()) and run.run_id == call.request.run_id and callbacks.is_durable(run):
        return await _decide_durably(call, session, run)
    from .running import resumable

    run = await _run_to_decide(call, runs)
    state = await resumable(work_of(call), run) if run else None
    async with turn_of(call, session, _decision(call, run), []) as met:
        if not isinstance(met, TurnJournal):
            return await told(call, session, met)
        if run is None or state is None:
            return await go_on(call, session, met, runs)
        return await _resume(call, session, met, runs, run, state)


async def _decide_durably(call: Call, session: DynamoDBSession, run: PendingRun) -> dict[str, Any]:
    """Send the decision to the run's execution, where it goes on."""
    _check_calls(call, run)
    await durable_runs.decide(session, run, _decided(call, run))
    if run.status == "pending":
        _count_decision(call)
    return durable_runs.under_way(call)


async def _resume(
    call: Call, session: DynamoDBSession, journal: TurnJournal, runs: PendingRuns, run: PendingRun, state: RunState[Any]
) -> dict[str, Any]:
    """Claim a run that can be resumed, and let the agent go on."""
    from .running import resume_turn

    await journal.recall()
    try:
        run = await runs.claim(run.run_id, _decided(call, run))
    except RunNotPendingError:
        await journal.end(Outcome.ABANDONED)
        raise
    _count_decision(call)
    try:
        resumed = resume_turn(work_of(call), journal, run, state)
        return await answered(call, session, journal, runs, resumed)
    finally:
        await runs.settle(run.run_id)  # whatever came of it: its tools may have run, it never runs again


async def discard(call: Call) -> dict[str, Any]:
    """Give up a run that waits: its calls do not run, and the conversation can go on without it."""
    session = await call.session()
    run = await _run_to_decide(call, PendingRuns(session), gives_up=True)
    met = await discard_run(call, session, run, _decision(call, run))
    return discarded(call) if met is None else await told(call, session, met)


async def discard_run(
    call: Call, session: DynamoDBSession, run: PendingRun | None, delivery: Delivery
) -> Meeting | None:
    """Give a run up by a delivery that decides on it; or why not."""
    async with turn_of(call, session, delivery, []) as met:
        if not isinstance(met, TurnJournal):
            return met
        await PendingRuns(session).discard()
        await met.close(NOT_RUN)
        await met.end(Outcome.ABANDONED)
    if run is not None:
        await durable_runs.give_up(run)
    return None


async def read_approvals(call: Call) -> dict[str, Any]:
    """Tell what a run waits for, and of one that was decided on whether anybody can still go on with it."""
    run = await PendingRuns(await call.session()).get()
    return {"session_id": call.request.session_id, "pending": await _parked(run) if run else None}


async def _parked(run: PendingRun) -> dict[str, Any]:
    """A run that is parked. One that was decided on and whose execution has ended waits for nothing but a discard."""
    is_over = callbacks.is_durable(run) and run.status == "resuming" and not await durable_runs.goes_on(run)
    return pending_of(run) | ({"status": "ended"} if is_over else {})


async def _run_to_decide(call: Call, runs: PendingRuns, *, gives_up: bool = False) -> PendingRun | None:
    """The run that a decision is about, if it waits for one.

    A durable run that was decided on may be given up all the same: where its execution has ended, nobody goes on.
    """
    run = await runs.get()
    if run is None or run.run_id != call.request.run_id:
        return None
    if run.status != "pending" and not (gives_up and callbacks.is_durable(run)):
        return None
    _check_calls(call, run)
    return run


def _check_calls(call: Call, run: PendingRun) -> None:
    if not set(call.request.call_ids) <= {pending.call_id for pending in run.approvals}:
        raise RequestError(400, f"call_ids must be among those that wait: {[c.call_id for c in run.approvals]}")


def _decided(call: Call, run: PendingRun) -> dict[str, bool]:
    """What the caller decides, by call: about all that wait, unless some are named."""
    calls = call.request.call_ids or tuple(pending.call_id for pending in run.approvals)
    return dict.fromkeys(calls, call.request.action == "approve")


def _decision(call: Call, run: PendingRun | None) -> Delivery:
    return delivery_of(call.delivery, asked(call.request), decides=run.run_id if run else "")


def _count_decision(call: Call) -> None:
    count("Approvals" if call.request.action == "approve" else "Rejections")
