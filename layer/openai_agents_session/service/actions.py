"""What a caller can do with a conversation: each action is one coroutine that takes the call and returns the answer."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import callbacks, environment
from ..conversations import Conversation, State, Usage
from ..dynamodb import DynamoDBSession
from ..errors import RunNotPendingError
from ..options import StorageOptions
from ..runs import PendingRun, PendingRuns
from ..turns import (
    NOT_RUN,
    AlreadyDone,
    Awaiting,
    Changed,
    Delivery,
    FinishedTurn,
    Held,
    InvocationTime,
    Meeting,
    OtherRequest,
    Outcome,
    TurnJournal,
    called,
    delivery_of,
    history_of,
    meeting,
    named_turn,
)
from . import conversations, durable_runs
from .context import TurnContext
from .conversations import WHOLE, Cut
from .errors import RequestError
from .identity import stored_id
from .observe import count, measure, store_observer
from .refusals import LONGEST_RETRY_AFTER_SECONDS
from .request import Action, Request
from .settings import ServiceSettings, Settings
from .setup import Setup
from .threads import part_threads

if TYPE_CHECKING:
    from agents import RunState

    from .running import Turn, Work
    from .steps import Watch

OPTIONS = StorageOptions(observer=store_observer, unowned_only=True)


@dataclass(frozen=True)
class Call:
    """A request on its way through the function.

    Attributes:
        request: What the caller wants.
        delivery: What names it: its idempotency key, or the id of its invocation.
        time: How long there is to do it.
        settings: How the service is set up.
        owner: Whose sessions it is about; None for those that belong to nobody.
        setup: How the agent is made and run.
        watch: Is told what the agent does while it does it.
    """

    request: Request
    delivery: str
    time: InvocationTime
    settings: ServiceSettings
    owner: str | None
    setup: Setup
    watch: Watch | None = None

    async def session(self) -> DynamoDBSession:
        """The stored session."""
        return await stored_session(self.request.session_id, self.owner)


async def stored_session(session_id: str, owner: str | None) -> DynamoDBSession:
    """The session that is stored for an owner under the owner's own name for it."""
    key = stored_id(session_id, owner)
    return await environment.open_session(key, owner=owner, options=OPTIONS, whole_tool_calls=True)


async def send_message(call: Call) -> dict[str, Any]:
    """Let the agent answer a message, or go on where a turn was stopped."""
    session = await call.session()
    continues = call.request.action == "continue"
    delivery = delivery_of(call.delivery, asked(call.request), continues=continues)
    if call.request.durable:
        return await _run_durably(call, session, delivery)
    return await _take(call, session, delivery, [] if continues else said(call.request))


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
    return await _told(call, session, met)


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


async def edit(call: Call) -> dict[str, Any]:
    """Let the agent answer another message in place of an earlier one and all that followed it."""
    session = await call.session()
    cut = await conversations.cut_before(Conversation(session), call.request.position)
    return await _take(call, session, delivery_of(call.delivery, asked(call.request)), said(call.request), cut)


async def regenerate(call: Call) -> dict[str, Any]:
    """Let the agent answer the last message once more, in place of its answer."""
    session = await call.session()
    cut = await conversations.cut_after_last_question(Conversation(session))
    return await _take(call, session, delivery_of(call.delivery, asked(call.request)), [], cut)


def said(request: Request) -> list[Any]:
    """What a turn begins with: the message."""
    return [{"content": request.message, "role": "user"}]


async def _take(
    call: Call, session: DynamoDBSession, delivery: Delivery, message: list[Any], cut: Cut = WHOLE
) -> dict[str, Any]:
    runs = PendingRuns(session)
    async with _turn(call, session, delivery, message, cut) as met:
        if isinstance(met, Changed):
            raise cut.refusal or RequestError(409, "the conversation has changed meanwhile: read it", code="changed")
        if not isinstance(met, TurnJournal):
            return await _told(call, session, met)
        if met.is_interrupted and (waiting := await _run_that_waits(runs)):
            return await _wait(call, met, waiting)
        return await _go_on(call, session, met, runs)


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
    state = await resumable(_work(call), run) if run else None
    async with _turn(call, session, _decision(call, run), []) as met:
        if not isinstance(met, TurnJournal):
            return await _told(call, session, met)
        if run is None or state is None:
            return await _go_on(call, session, met, runs)
        return await _resume(call, session, met, runs, run, state)


async def _decide_durably(call: Call, session: DynamoDBSession, run: PendingRun) -> dict[str, Any]:
    """Send the decision to the run's execution, where it goes on."""
    _check_calls(call, run)
    calls = call.request.call_ids or tuple(pending.call_id for pending in run.approvals)
    await durable_runs.decide(session, run, dict.fromkeys(calls, call.request.action == "approve"))
    if run.status == "pending":
        _count_decision(call)
    return durable_runs.under_way(call)


def _count_decision(call: Call) -> None:
    count("Approvals" if call.request.action == "approve" else "Rejections")


async def discard(call: Call) -> dict[str, Any]:
    """Give up a run that waits: its calls do not run, and the conversation can go on without it."""
    session = await call.session()
    run = await _run_to_decide(call, PendingRuns(session), gives_up=True)
    met = await _discarded_run(call, session, run, _decision(call, run))
    return _discarded(call) if met is None else await _told(call, session, met)


async def _discarded_run(
    call: Call, session: DynamoDBSession, run: PendingRun | None, delivery: Delivery
) -> Meeting | None:
    """Give a run up by a delivery that decides on it; or why not."""
    async with _turn(call, session, delivery, []) as met:
        if not isinstance(met, TurnJournal):
            return met
        await PendingRuns(session).discard()
        await met.close(NOT_RUN)
        await met.end(Outcome.ABANDONED)
    if run is not None:
        await durable_runs.give_up(run)
    return None


def _discarded(call: Call) -> dict[str, Any]:
    return {"session_id": call.request.session_id, "discarded": True}


def asked(request: Request) -> str:
    """What tells one request from another."""
    parts: list[Any] = [request.action, request.message, request.run_id, request.call_ids]
    parts += [request.position] if request.action == "edit" else []
    return json.dumps([*parts, "durable"] if request.durable else parts)


def _work(call: Call) -> Work:
    from .running import Work

    context = TurnContext(call.request.session_id, call.owner, call.delivery, call.time)
    return Work(call.setup, Settings.from_environ(), context, call.watch)


def _turn(
    call: Call, session: DynamoDBSession, delivery: Delivery, message: list[Any], cut: Cut = WHOLE
) -> AbstractAsyncContextManager[TurnJournal | Meeting]:
    from agents.memory import SessionSettings

    # A model reads no more of the session than the settings say.
    session.session_settings = SessionSettings(limit=call.settings.history_limit)
    part_threads()
    options: Any = {
        "without_effects": call.setup.without_effects,
        "wait_seconds": call.settings.lease_wait_seconds,
        "keep": cut.keep,
        "revision": cut.revision,
    }
    return named_turn(session, call.time, delivery, message, **options)


async def stop(call: Call) -> dict[str, Any]:
    """End the turn that is running, whoever runs it. What it has stored stays.

    A durable run is given up for good: else its execution would take the session again, and go on.
    """
    session = await call.session()
    stopped = await Conversation(session).stop()
    if call.settings.durable_function is not None:
        stopped = await _given_up(call, session) or stopped
    return {"session_id": call.request.session_id, "stopped": stopped}


async def _given_up(call: Call, session: DynamoDBSession) -> bool:
    """Give up the durable run that is under way, decided on a moment ago, or between two environments."""
    name = uuid.uuid4().hex  # of this stop alone: the caller's may be that of a turn
    run = await PendingRuns(session).get()
    if run and run.status != "pending" and callbacks.is_durable(run):
        delivery = delivery_of(name, asked(call.request), decides=run.run_id)
        if await _discarded_run(call, session, run, delivery) is None:
            return True
    if not await durable_runs.is_open(session):
        return False
    async with _turn(call, session, delivery_of(name, asked(call.request), continues=True), []) as met:
        if isinstance(met, TurnJournal):
            await met.close()
            await met.end(Outcome.ABANDONED)
    return True


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


def _decision(call: Call, run: PendingRun | None) -> Delivery:
    return delivery_of(call.delivery, asked(call.request), decides=run.run_id if run else "")


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
        raise _awaiting(run)
    return _body(call, journal.tools) | {"status": 202, "pending": _pending(run)}


async def _go_on(call: Call, session: DynamoDBSession, journal: TurnJournal, runs: PendingRuns) -> dict[str, Any]:
    """Let the agent answer what is stored."""
    from .running import take_turn

    if journal.is_interrupted:
        await _run_that_waits(runs)
        await journal.go_on()
    journal.is_resumed = False  # a run of its own: what one that waited had used is not in its usage
    return await _answered(call, session, journal, runs, take_turn(_work(call), journal))


async def _resume(
    call: Call, session: DynamoDBSession, journal: TurnJournal, runs: PendingRuns, run: PendingRun, state: RunState[Any]
) -> dict[str, Any]:
    """Claim a run that can be resumed, and let the agent go on."""
    from .running import resume_turn

    await journal.recall()
    calls = call.request.call_ids or tuple(pending.call_id for pending in run.approvals)
    try:
        run = await runs.claim(run.run_id, dict.fromkeys(calls, call.request.action == "approve"))
    except RunNotPendingError:
        await journal.end(Outcome.ABANDONED)
        raise
    _count_decision(call)
    try:
        resumed = resume_turn(_work(call), journal, run, state)
        return await _answered(call, session, journal, runs, resumed)
    finally:
        await runs.settle(run.run_id)  # whatever came of it: its tools may have run, it never runs again


async def _answered(
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
        brought: dict[str, Any] = {"status": 202, "pending": _pending(run)}
    else:
        if not journal.is_ended:
            await journal.end(Outcome.REFUSED if taken.refused else Outcome.ANSWERED, usage=taken.usage)
        brought = taken.answer | ({"code": "refused"} if taken.refused else {})
    conversation = Conversation(session)
    _measure_tokens(conversation.usage_seen.beyond(before))
    return _body(call, journal.tools) | brought | {"usage": conversations.usage(taken.usage, conversation)}


def _measure_tokens(used: Usage) -> None:
    """What the session has used more than before the turn: of a run that was resumed, what it has used since."""
    count("InputTokens", used.input_tokens)
    count("OutputTokens", used.output_tokens)


def _body(call: Call, tools: list[str]) -> dict[str, Any]:
    model = Settings.from_environ().model
    return {"session_id": call.request.session_id, "tools": tools, "model": model}


# --- what is told where no turn is taken ------------------------------------------------------------------------------


async def _told(call: Call, session: DynamoDBSession, met: Meeting) -> dict[str, Any]:
    """The answer to a delivery that gets no turn of its own."""
    match met:
        case AlreadyDone():
            return await _told_again(call, session, met.turn)
        case Held():
            reason = "the same request is being served" if met.is_same else "another turn of this session is running"
            seconds = max(1, min(math.ceil(met.seconds), LONGEST_RETRY_AFTER_SECONDS))
            raise RequestError(409, reason, retry_after=seconds)
        case OtherRequest():
            raise RequestError(422, "this idempotency key was used for another request")
        case Awaiting():
            run = await PendingRuns(session).get()
            raise _awaiting(run if run and run.run_id == met.run_id else None)
    if call.request.action == "continue":
        raise RequestError(409, "there is nothing to continue: the last message has its answer")
    raise RunNotPendingError(call.request.run_id)


def _awaiting(run: PendingRun | None) -> RequestError:
    reason = "a run waits for approval; approve, reject or discard it first"
    return RequestError(409, reason, pending=_pending(run) if run else None)


async def _told_again(call: Call, session: DynamoDBSession, turn: FinishedTurn) -> dict[str, Any]:
    """The answer of a turn that is done, from the history."""
    match turn.outcome:
        case Outcome.ANSWERED | Outcome.REFUSED:
            items = await history_of(session, turn)
            if not items:
                raise RequestError(410, "this was answered, and the answer has been removed since", code="cleared")
            body = _body(call, called(items)) | await _answer_in(call, session, items)
            body |= {"usage": conversations.usage(turn.usage, Conversation(session))}
            return body | ({"code": "refused"} if turn.outcome is Outcome.REFUSED else {})
        case Outcome.WAITING:
            if run := await PendingRuns(session).get():
                body = _body(call, called(await history_of(session, turn))) | {"status": 202, "pending": _pending(run)}
                return body | {"usage": conversations.usage(turn.usage, Conversation(session))}
            raise RequestError(409, "the run that this request waited for was decided on", code="decided")
        case Outcome.INPUT_BLOCKED | Outcome.OUTPUT_BLOCKED:
            from .failures import input_blocked, output_blocked

            raise input_blocked() if turn.outcome is Outcome.INPUT_BLOCKED else output_blocked()
        case Outcome.CLEARED:
            raise RequestError(410, "this was served before the session was cleared", code="cleared")
        case Outcome.MAX_TURNS | Outcome.CONTEXT_FULL | Outcome.FAILED:
            from .failures import failure_again

            raise failure_again(turn.outcome)
    if call.request.action == "discard":
        return _discarded(call)
    raise RequestError(409, "this turn was given up; what it did is in the history", code="abandoned")


async def _answer_in(call: Call, session: DynamoDBSession, items: list[Any]) -> dict[str, Any]:
    """The answer that a turn's items end with."""
    from .answers import answer_of

    return answer_of(await _work(call).speaker(session), items)


async def read_approvals(call: Call) -> dict[str, Any]:
    """Tell what a run waits for."""
    run = await PendingRuns(await call.session()).get()
    return {"session_id": call.request.session_id, "pending": _pending(run) if run else None}


async def clear_history(call: Call) -> dict[str, Any]:
    """Forget a session, with the run that waits in it. A turn that is running ends."""
    session = await call.session()
    runs = PendingRuns(session)
    run = await runs.get() if call.settings.durable_function else None
    await runs.discard()
    await session.clear_turns()
    if run is not None:
        await durable_runs.give_up(run)
    return {"session_id": call.request.session_id, "cleared": True}


ACTIONS: dict[Action, Callable[[Call], Coroutine[Any, Any, dict[str, Any]]]] = {
    "message": send_message,
    "continue": send_message,
    "edit": edit,
    "regenerate": regenerate,
    "approve": decide,
    "reject": decide,
    "discard": discard,
    "approvals": read_approvals,
    "stop": stop,
    "history": conversations.read_history,
    "list": conversations.list_sessions,
    "update": conversations.update,
    "fork": conversations.fork,
    "rewind": conversations.rewind,
    "clear": clear_history,
}


async def _timed(running: Coroutine[Any, Any, Turn]) -> Turn:
    began = time.perf_counter()
    try:
        return await running
    finally:
        measure("TurnLatency", time.perf_counter() - began)


def _pending(run: PendingRun) -> dict[str, Any]:
    calls = [{"call_id": call.call_id, "tool": call.tool, "arguments": call.arguments} for call in run.approvals]
    return {"run_id": run.run_id, "status": run.status, "created": run.created, "approvals": calls}
