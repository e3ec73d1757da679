"""What can go wrong, as one small tree.

::

    SessionError
    ├── InvalidInputError (ValueError)      the caller's argument; nothing was sent
    │   └── InvalidItemError (TypeError)    an item that is not JSON
    ├── SettingError (ValueError)           an environment variable is missing or wrong
    ├── SessionClosedError                  used after close()
    ├── EventLoopError (RuntimeError)       one object used in two event loops at once
    ├── WrongOwnerError                     the session is bound to somebody else
    ├── SessionNotFoundError                there is no such session, or it has expired
    ├── SessionExistsError                  there is one already, and nothing was written over it
    ├── LeaseError
    │   ├── LeaseUnavailableError           another turn of the session is running
    │   └── LeaseLostError                  ours ran out or was ended; nothing was written
    ├── RunNotPendingError                  no such run waits for a decision: decided before, or never parked
    ├── DurableRunError                     a durable run ended without an answer
    │   ├── ReplayMismatchError             it asked for other operations than before: its agent was changed
    │   └── TurnLostError                   the session went on without it: cleared, expired, given up, or written to
    ├── DeadlineError (TimeoutError)        the turn was stopped in time; what it had completed is stored
    ├── CorruptSessionError                 a stored part cannot be read; nothing was overwritten
    ├── ContentionError                     others committed first until the retry budget ended; nothing written
    ├── OutcomeUnknownError                 the write happened once or not at all; which of them is unknown
    └── StorageError                        DynamoDB said no
        ├── TableNotFoundError
        ├── IndexNotFoundError              the table has no index to list conversations by
        ├── AccessDeniedError
        └── UnavailableError                throttled, failing or unreachable until the retry budget ended

The botocore exception, where there is one, is the ``__cause__``.
"""

from __future__ import annotations


class SessionError(Exception):
    """Base of every error this library raises."""


class InvalidInputError(SessionError, ValueError):
    """An argument is not acceptable. Nothing was sent and nothing changed."""


class InvalidItemError(InvalidInputError, TypeError):
    """An item cannot be stored as JSON. The whole batch was refused.

    Attributes:
        index: Position of the item in the batch, from 0.
    """

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class SettingError(SessionError, ValueError):
    """An environment variable is missing or wrong; the message names it. Nothing was sent."""


class SessionClosedError(SessionError):
    """The session object was used after ``close()``."""


class EventLoopError(SessionError, RuntimeError):
    """What belongs to one event loop, as a client does, was used in another, or in another thread. Nothing was sent."""


class WrongOwnerError(SessionError):
    """The stored session is bound to another owner. Answer as if it did not exist."""


class SessionNotFoundError(SessionError):
    """There is no session of this id, or it has expired. Nothing was written."""


class SessionExistsError(SessionError):
    """There is a session of this id, with items. Nothing was written."""


class LeaseError(SessionError):
    """Base of what can go wrong with the lease of a session."""


class LeaseUnavailableError(LeaseError):
    """Another holder has the lease.

    Attributes:
        retry_after: Seconds until the present lease runs out if it is not extended.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LeaseLostError(LeaseError):
    """The lease ran out, was ended by a clear, or was taken over. Nothing was written."""


class RunNotPendingError(SessionError):
    """No such run waits for a decision: somebody else decided first, it was discarded, or it never was."""


class DurableRunError(SessionError):
    """A durable run ended without an answer. What it did is in the history, which is valid for the next turn.

    Attributes:
        reason: The name of the exception that ended it, such as ``"MaxTurnsExceeded"``.
        code: A word for machines, which ``DurableOptions.code_of`` gave; empty where it gave none.
    """

    def __init__(self, message: str, *, reason: str = "", code: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).__name__
        self.code = code


class ReplayMismatchError(DurableRunError):
    """A replay asked for other operations than the run did at first: its agent, tools or input are not the same."""


class TurnLostError(DurableRunError):
    """The session went on without the run: it was cleared, has expired, or others wrote to it. Nothing was written."""


class DeadlineError(SessionError, TimeoutError):
    """The turn was stopped before its time was over. What it had completed is stored, and the history is valid."""


class CorruptSessionError(SessionError):
    """A stored part of the session is missing or cannot be decoded. Nothing was overwritten.

    Attributes:
        session_id: The session.
        part: ``"head"``, or the key of the damaged part.
        intact_items: How many items of the history can still be read, or None when that could not be found out.
        total_items: How many items the history should have, or None when the head itself is damaged.
    """

    def __init__(
        self, session_id: str, part: str, reason: str, *, intact_items: int | None, total_items: int | None
    ) -> None:
        intact = _intact(intact_items, total_items)
        name = part if part == "head" else f"part {part!r}"
        way = (
            "Export what can be read (`openai-agents-session salvage`), delete the session, and import that."
            if part == "head"
            else "Call recover() on the session to go on with the rest."
        )
        super().__init__(
            f"session {session_id!r}: {name} is damaged ({reason}){intact}. Nothing was overwritten. {way}"
        )
        self.session_id = session_id
        self.part = part
        self.intact_items = intact_items
        self.total_items = total_items


def _intact(items: int | None, total: int | None) -> str:
    if items is None:
        return ""
    return f"; {items} items can still be read" if total is None else f"; {items} of {total} items can still be read"


class ContentionError(SessionError):
    """Other writers kept committing first until the retry budget was over. Nothing was written."""


class OutcomeUnknownError(SessionError):
    """An answer was lost, and the head no longer shows what happened: the operation happened once or not at all.

    Read the history before repeating the operation. The error that ended the search, if any, is the ``__cause__``.
    """


class StorageError(SessionError):
    """DynamoDB refused or failed the operation.

    Attributes:
        may_have_landed: Whether a try that the client made before, unseen, may have been carried out. What the library
            raises as this error was not: it says ``OutcomeUnknownError`` instead.
    """

    may_have_landed = False


class TableNotFoundError(StorageError):
    """The table does not exist in this region and account."""


class IndexNotFoundError(StorageError):
    """The table has no index to list conversations by. Everything else works without it."""


class AccessDeniedError(StorageError):
    """The caller's credentials do not allow the action."""


class UnavailableError(StorageError):
    """DynamoDB was throttling, failing or unreachable until the retry budget was over. Nothing was written."""
