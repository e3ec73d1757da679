"""What a caller can do with a conversation: each action is one coroutine that takes the call and returns the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from events import Action, Request, RequestError, newest_that_fit
from identity import stored_id
from observe import count, measure, store_observer
from openai_agents_session import DynamoDBSession, RunNotPendingError, StorageOptions, environment
from openai_agents_session.runs import PendingRun, PendingRuns
from openai_agents_session.turns import InvocationTime, close_open_calls, open_calls, turn
from sendable import clean
from settings import ServiceSettings, Settings

if TYPE_CHECKING:
    from agent import Turn
    from steps import Watch

OPTIONS = StorageOptions(observer=store_observer)
LAST_TURN_ITEMS = 100


@dataclass(frozen=True)
class Call:
    """A request on its way through the function.

    Attributes:
        request: What the caller wants.
        time: How long there is to do it.
        settings: How the service is set up.
        owner: Whose sessions it is about; None for those that belong to nobody.
        watch: Is told what the agent does while it does it.
    """

    request: Request
    time: InvocationTime
    settings: ServiceSettings
    owner: str | None
    watch: Watch | None = None

    async def session(self) -> DynamoDBSession:
        """The stored session."""
        key = stored_id(self.request.session_id, self.owner)
        return await environment.open_session(key, owner=self.owner, options=OPTIONS, whole_tool_calls=True)


async def send_message(call: Call) -> dict[str, Any]:
    """Let the agent answer a message, or go on where a turn was stopped."""
    from agent import take_turn

    session = await call.session()
    runs = PendingRuns(session)
    async with turn(session, call.time, wait_seconds=call.settings.lease_wait_seconds):
        unanswered = await _settled_history(session, runs)
        if call.request.action == "continue" and unanswered is None:
            raise RequestError(409, "there is nothing to continue: the last message has its answer")
        # A message that was stored and not answered, because its turn was stopped or failed, is not stored again.
        repeated = call.request.action == "continue" or unanswered == call.request.message
        message: str | list[Any] = [] if repeated else call.request.message
        try:
            taken = await _timed(take_turn(Settings.from_environ(), _read_by_model(call, session), message, call.watch))
        except RequestError as refusal:
            if refusal.details.get("code") == "input_blocked":
                await _forget_blocked(session)
            raise
        return await _answer(call, taken, runs)


def _read_by_model(call: Call, session: DynamoDBSession) -> DynamoDBSession:
    """The session, of which a model reads no more than the settings say."""
    from agents.memory import SessionSettings

    session.session_settings = SessionSettings(limit=call.settings.history_limit)
    return session


async def _forget_blocked(session: DynamoDBSession) -> None:
    """Take back the message that a guardrail blocked: the model must not read it in the next turn."""
    items: list[Any] = list(await session.get_items(1))
    if items and items[-1].get("role") == "user":
        await session.pop_item()


async def decide(call: Call) -> dict[str, Any]:
    """Approve or reject the calls that a run waits for, and let the agent go on. Of any number who decide, one does."""
    from agent import resume_turn

    request = call.request
    session = await call.session()
    runs = PendingRuns(session)
    async with turn(session, call.time, wait_seconds=call.settings.lease_wait_seconds):
        run = await runs.get()
        if run is None:
            raise RunNotPendingError(request.run_id)
        calls = request.call_ids or tuple(pending.call_id for pending in run.approvals)
        run = await runs.claim(request.run_id, dict.fromkeys(calls, request.action == "approve"))
        count("Approvals" if request.action == "approve" else "Rejections")
        try:
            taken = await _timed(resume_turn(Settings.from_environ(), _read_by_model(call, session), run, call.watch))
            return await _answer(call, taken, runs)
        finally:
            await runs.settle(run.run_id)  # whatever came of it: its tools may have run, it never runs again


async def read_approvals(call: Call) -> dict[str, Any]:
    """Tell what a run waits for."""
    run = await PendingRuns(await call.session()).get()
    return {"session_id": call.request.session_id, "pending": _pending(run) if run else None}


async def read_history(call: Call) -> dict[str, Any]:
    """Return the newest items of a session's history."""
    session = await call.session()
    items = newest_that_fit(clean(await session.get_items(call.request.limit)))
    return {"session_id": call.request.session_id, "items": items}


async def clear_history(call: Call) -> dict[str, Any]:
    """Forget a session, with the run that waits in it. A turn that is running ends."""
    session = await call.session()
    await PendingRuns(session).discard()
    await session.clear_session()
    return {"session_id": call.request.session_id, "cleared": True}


ACTIONS: dict[Action, Callable[[Call], Coroutine[Any, Any, dict[str, Any]]]] = {
    "message": send_message,
    "continue": send_message,
    "approve": decide,
    "reject": decide,
    "approvals": read_approvals,
    "history": read_history,
    "clear": clear_history,
}


async def _settled_history(session: DynamoDBSession, runs: PendingRuns) -> str | None:
    """See to it that a turn can follow on the history.

    Returns:
        The last message, if it is still to be answered.

    Raises:
        RequestError: A run waits for approval.
    """
    items: list[Any] = list(await session.get_items(LAST_TURN_ITEMS))
    if open_calls(items):
        run = await runs.get()
        if run and run.status == "pending":
            raise RequestError(409, "a run waits for approval; approve or reject it first", pending=_pending(run))
        if run:  # we hold the lease, so whoever was resuming it is dead
            await runs.discard()
        await close_open_calls(session)
    return _unanswered(items)


def _unanswered(items: list[Any]) -> str | None:
    for item in reversed(items):
        if item.get("role") == "assistant":
            return None
        if item.get("role") == "user":
            return str(item["content"])
    return None


async def _timed(running: Coroutine[Any, Any, Turn]) -> Turn:
    began = time.perf_counter()
    try:
        return await running
    finally:
        measure("TurnLatency", time.perf_counter() - began)


async def _answer(call: Call, taken: Turn, runs: PendingRuns) -> dict[str, Any]:
    """The answer that a turn brought, or what it waits for."""
    count("Turns")
    count("InputTokens", taken.input_tokens)
    count("OutputTokens", taken.output_tokens)
    body: dict[str, Any] = {"session_id": call.request.session_id, "tools": taken.tools, "model": taken.model}
    if not taken.pending:
        return body | {"answer": taken.answer} | ({"code": "refused"} if taken.refused else {})
    run = await runs.park(taken.state, taken.pending)
    return body | {"status": 202, "pending": _pending(run)}


def _pending(run: PendingRun) -> dict[str, Any]:
    calls = [{"call_id": call.call_id, "tool": call.tool, "arguments": call.arguments} for call in run.approvals]
    return {"run_id": run.run_id, "status": run.status, "created": run.created, "approvals": calls}
