"""Actions that let the agent answer: a message, another one in its place, the last one again, or where it stopped."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..conversations import Conversation, State, Usage
from ..dynamodb import DynamoDBSession
from ..runs import PendingRun, PendingRuns
from ..turns import AlreadyDone, Changed, Delivery, Held, Outcome, TurnJournal, delivery_of, meeting
from . import conversations, durable_runs
from .call import Call, asked, body_of, pending_of, said, turn_of, work_of
from .cut import WHOLE, Cut, cut_after_last_question, cut_before
from .errors import RequestError
from .observe import count, measure
from .told import awaiting, told

if TYPE_CHECKING:
    from .running import Turn


async def send_message(call: Call) -> dict[str, Any]:
    """Let the agent answer a message, or go on where a turn was stopped."""
    session = await call.session()
    continues = call.request.action == "continue"
    delivery = delivery_of(call.delivery, asked(call.request), continues=continues)
    if call.request.durable:
        return await _run_durably(call, session, delivery)
    return await _take(call, session, delivery, [] if continues else said(call.request))


async def edit(call: Call) -> dict[str, Any]:
    """Let the agent answer another message in place of an earlier one and all that followed it."""
    session = await call.session()
    cut = await cut_before(Conversation(session), call.request.position)
    return await _take(call, session, delivery_of(call.delivery, asked(call.request)), said(call.request), cut)


async def regenerate(call: Call) -> dict[str, Any]:
    """Let the agent answer the last message once more, in place of its answer."""
    session = await call.session()
    cut = await cut_after_last_question(Conversation(session))
    return await _take(call, session, delivery_of(call.delivery, asked(call.request)), [], cut)


async def _take(
    call: Call, session: DynamoDBSession, delivery: Delivery, message: list[Any], cut: Cut = WHOLE
) -> dict[str, Any]:
    runs = PendingRuns(session)
    async with turn_of(call, session, delivery, message, cut) as met:
        if isinstance(met, Changed):
            raise cut.refusal or RequestError(409, "the conversation has changed meanwhile: read it", code="changed")
        if not isinstance(met, TurnJournal):
            return await told(call, session, met)
        if met.is_interrupted and (waiting := await _run_that_waits(runs)):
            return await _wait(call, met, waiting)
        return await go_on(call, session, met, runs)


async def _run_durably(call: Call, session: DynamoDBSession, delivery: Delivery) -> dict[str, Any]:
    """Start a durable run that answers the message; or tell how it stands with the one that does."""
    met = await meeting(session, delivery)
    is_begun = isinstance(met, Held) and met.is_same
    if isinstance(met, Held) and is_begun and met.seconds:
        return durable_runs.under_way(call)
    if met is None or isinstance(met, Held):
        if await durable_runs.start(call):
            return durable_runs.under_way(call, durable_runs.RUNNING if is_begun else durable_runs.STARTED)
        met = await meeting(session, delivery)  # since it was read, the turn may have been done
        if met is None or isinstance(met, Held):
            raise durable_runs.ended()
    if isinstance(met, AlreadyDone) and met.turn.outcome is Outcome.WAITING and await _goes_on(session):
        return durable_runs.under_way(call)
    return await told(call, session, met)


async def _goes_on(session: DynamoDBSession) -> bool:
    """Whether a durable run that waited was decided on, and has not come to its end since.

    Raises:
        RequestError: It was decided on, and its execution has ended without it.
    """
    run = await PendingRuns(session).get()
    if run is None:
        return (await Conversation(session).history(limit=1)).state is not State.IDLE
    if run.status == "pending":
        return False
    if not await durable_runs.goes_on(run):
        raise durable_runs.ended(run.run_id)
    return True


async def _run_that_waits(runs: PendingRuns) -> PendingRun | None:
    """The run that an interrupted turn had parked. One that was being resumed is given up: its tools may have run."""
    run = await runs.get()
    if run and run.status == "resuming":
        await runs.discard()
    return run if run and run.status == "pending" else None


async def _wait(call: Call, journal: TurnJournal, run: PendingRun) -> dict[str, Any]:
    """End a turn, which had parked its run and came no further, as one that waits."""
    await journal.end(Outcome.WAITING, waiting=run.run_id)
    if not journal.is_taken_up or call.request.action == "continue":
        raise awaiting(run)
    return body_of(call, journal.tools) | {"status": 202, "pending": pending_of(run)}


async def go_on(call: Call, session: DynamoDBSession, journal: TurnJournal, runs: PendingRuns) -> dict[str, Any]:
    """Let the agent answer what is stored."""
    from .running import take_turn

    if journal.is_interrupted:
        await _run_that_waits(runs)
        await journal.go_on()
    journal.is_resumed = False  # a run of its own: what one that waited had used is not in its usage
    return await answered(call, session, journal, runs, take_turn(work_of(call), journal))


async def answered(
    call: Call, session: DynamoDBSession, journal: TurnJournal, runs: PendingRuns, running: Coroutine[Any, Any, Turn]
) -> dict[str, Any]:
    """What a run brings; the turn is then done, unless it failed and can be gone on with."""
    before = Conversation(session).usage_seen
    try:
        taken = await _timed(running)
    except RequestError as refusal:
        if refusal.details.get("code") == "input_blocked":
            await journal.block()
        elif refusal.details.get("code") == "output_blocked":
            await journal.end(Outcome.OUTPUT_BLOCKED)
        raise
    count("Turns")
    if taken.pending:
        run = await runs.park(taken.state, taken.pending)
        await journal.end(Outcome.WAITING, waiting=run.run_id, usage=taken.usage)
        brought: dict[str, Any] = {"status": 202, "pending": pending_of(run)}
    else:
        if not journal.is_ended:
            await journal.end(Outcome.REFUSED if taken.refused else Outcome.ANSWERED, usage=taken.usage)
        brought = taken.answer | ({"code": "refused"} if taken.refused else {})
    conversation = Conversation(session)
    _measure_tokens(conversation.usage_seen.beyond(before))
    return body_of(call, journal.tools) | brought | {"usage": conversations.usage(taken.usage, conversation)}


async def _timed(running: Coroutine[Any, Any, Turn]) -> Turn:
    began = time.perf_counter()
    try:
        return await running
    finally:
        measure("TurnLatency", time.perf_counter() - began)


def _measure_tokens(used: Usage) -> None:
    """What the session has used more than before the turn: of a run that was resumed, what it has used since."""
    count("InputTokens", used.input_tokens)
    count("OutputTokens", used.output_tokens)
