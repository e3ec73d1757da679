"""A request on its way through the service: what it is about, the turn that it takes, and how an answer begins."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import callbacks, environment
from ..dynamodb import DynamoDBSession
from ..options import StorageOptions
from ..runs import PendingRun
from ..turns import Delivery, InvocationTime, Meeting, TurnJournal, named_turn
from .context import TurnContext
from .cut import WHOLE, Cut
from .identity import stored_id
from .observe import store_observer
from .request import Request
from .settings import ServiceSettings, Settings
from .setup import Setup
from .threads import part_threads

if TYPE_CHECKING:
    from .running import Work
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


def said(request: Request) -> list[Any]:
    """What a turn begins with: the message."""
    return [{"content": request.message, "role": "user"}]


def asked(request: Request) -> str:
    """What tells one request from another."""
    parts: list[Any] = [request.action, request.message, request.run_id, request.call_ids]
    parts += [request.position] if request.action == "edit" else []
    return json.dumps([*parts, "durable"] if request.durable else parts)


def turn_of(
    call: Call, session: DynamoDBSession, delivery: Delivery, message: list[Any], cut: Cut = WHOLE
) -> AbstractAsyncContextManager[TurnJournal | Meeting]:
    """The turn that a delivery gets, for the time of a with-block; or what it meets instead.

    Args:
        call: The request.
        session: Its stored session.
        delivery: What names the turn.
        message: What it begins with.
        cut: What of the history stays before it.
    """
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


def work_of(call: Call) -> Work:
    """What a run of the agent needs to know of the call."""
    from .running import Work

    context = TurnContext(call.request.session_id, call.owner, call.delivery, call.time)
    return Work(call.setup, Settings.from_environ(), context, call.watch)


def body_of(call: Call, tools: list[str]) -> dict[str, Any]:
    """What the answer of every turn begins with."""
    model = Settings.from_environ().model
    return {"session_id": call.request.session_id, "tools": tools, "model": model}


def pending_of(run: PendingRun) -> dict[str, Any]:
    """What a run waits for, as it is told."""
    calls = [{"call_id": call.call_id, "tool": call.tool, "arguments": call.arguments} for call in run.approvals]
    about = {"run_id": run.run_id, "status": run.status, "created": run.created, "approvals": calls}
    return about | ({"durable": True} if callbacks.is_durable(run) else {})
