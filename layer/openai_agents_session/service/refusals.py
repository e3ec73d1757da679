"""What a caller is told when a session's operation fails."""

from __future__ import annotations

import math

from ..errors import (
    ContentionError,
    DeadlineError,
    InvalidInputError,
    LeaseLostError,
    LeaseUnavailableError,
    OutcomeUnknownError,
    RunNotPendingError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    UnavailableError,
    WrongOwnerError,
)
from .errors import RequestError

LONGEST_RETRY_AFTER_SECONDS = 5
"""A lease is held for as long as its invocation may last; most turns give it back long before."""

CONTINUE = 'send the same message again, or {"continue": true}'


def refusal_for(error: SessionError) -> RequestError | None:
    """What to tell the caller about a session's error; None when it is the function's own trouble."""
    match error:
        case InvalidInputError():
            refusal = RequestError(400, str(error))
        case WrongOwnerError() | SessionNotFoundError():
            refusal = RequestError(404, "there is no such session")
        case SessionExistsError():
            refusal = RequestError(409, "there is a conversation of that id already", code="exists")
        case LeaseUnavailableError():
            seconds = max(1, min(math.ceil(error.retry_after), LONGEST_RETRY_AFTER_SECONDS))
            refusal = RequestError(409, "another turn of this session is running", retry_after=seconds)
        case LeaseLostError():
            refusal = RequestError(409, "the session was cleared, stopped or taken over while this turn was running")
        case RunNotPendingError():
            refusal = RequestError(409, "no such run waits for a decision", code="not_pending")
        case DeadlineError():
            refusal = RequestError(504, "the time was over; what was completed is stored", to_continue=CONTINUE)
        case UnavailableError() | ContentionError():
            refusal = RequestError(503, "the session store is busy; try again", retry_after=1)
        case OutcomeUnknownError():
            refusal = RequestError(503, "an answer of the session store was lost; read the history", retry_after=1)
        case _:
            return None
    refusal.__cause__ = error
    return refusal
