"""What a caller can do with a conversation: each action is one coroutine that takes the call and returns the answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from .. import callbacks
from ..conversations import Conversation
from ..dynamodb import DynamoDBSession
from ..runs import PendingRuns
from ..turns import Outcome, TurnJournal, delivery_of
from . import conversations, durable_runs
from .answering import edit, regenerate, send_message
from .call import Call, asked, turn_of
from .decisions import decide, discard, discard_run, read_approvals
from .request import Action


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
        if await discard_run(call, session, run, delivery) is None:
            return True
    if not await durable_runs.is_open(session):
        return False
    async with turn_of(call, session, delivery_of(name, asked(call.request), continues=True), []) as met:
        if isinstance(met, TurnJournal):
            await met.close()
            await met.end(Outcome.ABANDONED)
    return True


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
