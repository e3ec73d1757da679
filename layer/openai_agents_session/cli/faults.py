"""What went wrong, as a line for an operator and an exit code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from ..errors import (
    CorruptSessionError,
    InvalidInputError,
    LeaseUnavailableError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    WrongOwnerError,
)
from ..storage.record import UnknownFormatError
from .recognise import NotOursError
from .store import CredentialsError
from .transfer import TransferError
from .words import printable


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    PROBLEMS = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong.

    Attributes:
        text: In words, with what to do.
        kind: The name of the error.
        code: The exit code.
    """

    text: str
    kind: str
    code: Exit


EXPECTED = (
    SessionError,
    CredentialsError,
    NotOursError,
    TransferError,
    BotoCoreError,
    ClientError,
    OSError,
    ValueError,  # an endpoint that is not a URL
)
"""What may go wrong. Anything else is a fault of this command."""

_PROBLEMS = (
    CorruptSessionError,
    WrongOwnerError,
    LeaseUnavailableError,
    SessionExistsError,
    SessionNotFoundError,
    TransferError,
    NotOursError,
)

_GET = "Set AWS_PROFILE or --profile, or AWS_ACCESS_KEY_ID and the like"
_RENEW = "Renew them: aws sso login, or however you got them"
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "AuthFailure",
    "NotAuthorized",
    "OptInRequired",
}
_UNSIGNED = {
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "IncompleteSignatureException",
}
_SKEWED = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_OTHER_KEY = re.compile(
    r"key element|number of conditions|required keys was not given|type mismatch for key", re.IGNORECASE
)
"""How AWS, and the engines that stand in for it, say that a request's key is not the table's."""
_OFF_TIME = re.compile(r"signature (expired|not yet current)|too skewed|is now (earlier|later) than", re.IGNORECASE)


def fault(error: BaseException) -> Fault:
    """What to say of an error."""
    return Fault(_said(error), _kind(error), _code(error))


def _code(error: BaseException) -> Exit:
    if isinstance(error, InvalidInputError):
        return Exit.USAGE
    return Exit.PROBLEMS if isinstance(error, _PROBLEMS) else Exit.UNAVAILABLE


def _kind(error: BaseException) -> str:
    return "InvalidInputError" if isinstance(error, InvalidInputError) else type(error).__name__


def _said(error: BaseException) -> str:
    if isinstance(error, CorruptSessionError):
        return _corrupt(error)
    why = next((said for cause in _causes(error) if (said := _of_aws(cause)) is not None), None)
    if isinstance(error, CredentialsError) and why is None:
        why = _unobtained(error)
    return one_line(why or _plain(error))


def _unobtained(error: CredentialsError) -> str:
    if error.__cause__ is None:
        return f"no AWS credentials. {_GET}"
    reason = _plain(error.__cause__).rstrip(". ")
    return f"the AWS credentials cannot be had: {reason}. See --profile, AWS_PROFILE and ~/.aws/config"


def _plain(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the output could not be written'}: {error.strerror}"
    return str(error) or type(error).__name__


def one_line(text: str) -> str:
    """Text on one line, with nothing in it that a terminal obeys."""
    return printable(" ".join(line.strip() for line in text.splitlines()))


def _intact(error: CorruptSessionError) -> str:
    return one_line(str(error).partition(" Nothing was overwritten.")[0].rstrip("."))


def _corrupt(error: CorruptSessionError) -> str:
    if isinstance(error.__cause__, UnknownFormatError):
        return one_line(f"session {error.session_id!r}: {error.__cause__}")
    if error.part == "head":
        reason = str(error.__cause__ or "it cannot be read")
        return one_line(
            f"session {error.session_id!r}: head is damaged ({reason}). Nothing was overwritten. What can still be "
            "read: openai-agents-session salvage"
        )
    return (
        f"{_intact(error)}. Nothing was overwritten. To save these: openai-agents-session salvage. To go on with these "
        "alone: openai-agents-session repair"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_aws(error: BaseException) -> str | None:
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, (SSOError, TokenRetrievalError)):
        return f"the profile has no valid SSO token ({error}). Log in: aws sso login"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return f"no AWS credentials: {str(error).rstrip('.')}. {_GET}"
    if isinstance(error, ProfileNotFound):
        return f"{error}: see --profile, AWS_PROFILE and ~/.aws/config"
    if isinstance(error, NoRegionError):
        return f"{error} Say which: --region or AWS_REGION"
    return None


def _answered(error: ClientError) -> str | None:
    answer: Any = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message") or answer.get("message") or "")
    if code in _EXPIRED:
        return f"the AWS credentials have expired ({code}). {_RENEW}"
    if code in _SKEWED or (code in _UNSIGNED and _OFF_TIME.search(message)):
        return f"this machine's clock and AWS's differ too much ({message or code}). Check the clock"
    if code in _UNSIGNED:
        return f"the AWS secret key does not fit the access key ({code}). {_RENEW}"
    if code in _UNKNOWN:
        return f"AWS does not know these credentials ({code}). {_RENEW}"
    if code.startswith("AccessDenied") or code == "UnauthorizedOperation":
        return f"these credentials lack a permission: {message or code}"
    if _OTHER_KEY.search(message):
        return f"this is no table of sessions: its key is not 'session_id' (String) alone ({message})"
    return None
