"""Conversation sessions for openai-agents on DynamoDB: no size limit, exactly once, flat cost.

::

    from openai_agents_session import DynamoDBSession

    session = DynamoDBSession("user-42", dynamodb_client, "agent-sessions", ttl_seconds=7 * 86400)
    result = await Runner.run(agent, "Hello", session=session)

In an AWS Lambda handler, see ``openai_agents_session.environment``.
"""

from __future__ import annotations

from pathlib import Path as _Path
from typing import TYPE_CHECKING

from . import _installation
from .dynamodb import DynamoDBSession, Lease, create_table_if_not_exists
from .errors import (
    AccessDeniedError,
    ContentionError,
    CorruptSessionError,
    DeadlineError,
    DurableRunError,
    EventLoopError,
    IndexNotFoundError,
    InvalidInputError,
    InvalidItemError,
    LeaseError,
    LeaseLostError,
    LeaseUnavailableError,
    OutcomeUnknownError,
    ReplayMismatchError,
    RunNotPendingError,
    SessionClosedError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SettingError,
    StorageError,
    TableNotFoundError,
    TurnLostError,
    UnavailableError,
    WrongOwnerError,
)
from .events import Event
from .options import StorageOptions
from .storage.description import RecoveryReport, SessionInfo

__all__ = [
    "AccessDeniedError",
    "ContentionError",
    "CorruptSessionError",
    "DeadlineError",
    "DurableRunError",
    "DynamoDBSession",
    "Event",
    "EventLoopError",
    "IndexNotFoundError",
    "InvalidInputError",
    "InvalidItemError",
    "Lease",
    "LeaseError",
    "LeaseLostError",
    "LeaseUnavailableError",
    "OutcomeUnknownError",
    "RecoveryReport",
    "ReplayMismatchError",
    "RunNotPendingError",
    "SessionClosedError",
    "SessionError",
    "SessionExistsError",
    "SessionInfo",
    "SessionNotFoundError",
    "SettingError",
    "StorageError",
    "StorageOptions",
    "TableNotFoundError",
    "TurnLostError",
    "UnavailableError",
    "WrongOwnerError",
    "__version__",
    "create_table_if_not_exists",
]

__version__ = _installation.VERSION

_installation.warn_of_other(_Path(__file__).parent)

if not TYPE_CHECKING:  # a type checker would take every name for one that is here

    def __getattr__(name: str) -> object:
        raise _installation.missing(name)
