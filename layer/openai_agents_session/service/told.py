"""What is told to a request that takes no turn: the answer it had before, or why not now."""

from __future__ import annotations

import math
from typing import Any

from ..conversations import Conversation
from ..dynamodb import DynamoDBSession
from ..errors import RunNotPendingError
from ..runs import PendingRun, PendingRuns
from ..turns import AlreadyDone, Awaiting, FinishedTurn, Held, Meeting, OtherRequest, Outcome, called, history_of
from . import conversations
from .call import Call, body_of, pending_of, work_of
from .errors import RequestError
from .refusals import LONGEST_RETRY_AFTER_SECONDS


async def told(call: Call, session: DynamoDBSession, met: Meeting) -> dict[str, Any]:
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
            raise awaiting(run if run and run.run_id == met.run_id else None)
    if call.request.action == "continue":
        raise RequestError(409, "there is nothing to continue: the last message has its answer")
    raise RunNotPendingError(call.request.run_id)


def awaiting(run: PendingRun | None) -> RequestError:
    """The refusal of what cannot be done while a run waits."""
    reason = "a run waits for approval; approve, reject or discard it first"
    return RequestError(409, reason, pending=pending_of(run) if run else None)


async def _told_again(call: Call, session: DynamoDBSession, turn: FinishedTurn) -> dict[str, Any]:
    """The answer of a turn that is done, from the history."""
    match turn.outcome:
        case Outcome.ANSWERED | Outcome.REFUSED:
            items = await history_of(session, turn)
            if not items:
                raise RequestError(410, "this was answered, and the answer has been removed since", code="cleared")
            body = body_of(call, called(items)) | await _answer_in(call, session, items)
            body |= {"usage": conversations.usage(turn.usage, Conversation(session))}
            return body | ({"code": "refused"} if turn.outcome is Outcome.REFUSED else {})
        case Outcome.WAITING:
            if run := await PendingRuns(session).get():
                body = body_of(call, called(await history_of(session, turn))) | {
                    "status": 202,
                    "pending": pending_of(run),
                }
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
        return discarded(call)
    raise RequestError(409, "this turn was given up; what it did is in the history", code="abandoned")


async def _answer_in(call: Call, session: DynamoDBSession, items: list[Any]) -> dict[str, Any]:
    """The answer that a turn's items end with."""
    from .answers import answer_of

    return answer_of(await work_of(call).speaker(session), items)


def discarded(call: Call) -> dict[str, Any]:
    """The answer to who gave a run up."""
    return {"session_id": call.request.session_id, "discarded": True}
