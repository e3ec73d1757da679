"""The one place where botocore's errors become ours.

A request ends in an answer, or in one of three ways::

    ConditionFailed   DynamoDB looked, and the item was another
    RequestFailed     throttled, failing, or no answer: worth trying again, and a write may have been made
    StorageError      DynamoDB said no, and will again
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from ..errors import AccessDeniedError, IndexNotFoundError, StorageError, TableNotFoundError, UnavailableError
from .head import Attributes
from .retry import RetryBudget

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    }
)
_CANCELED_FOR_NOW = frozenset(
    {"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError", "RequestLimitExceeded"}
)
_FAILED = frozenset({"InternalServerError", "InternalFailure", "ServiceUnavailable", "RequestTimeout", "500", "503"})
_NOT_FOUND = frozenset({"ResourceNotFoundException", "TableNotFoundException"})

_RENEW = "Renew the credentials: they have expired, or are not those of an existing user or role."
_CLOCK = "Check this machine's clock and the secret key: the signature is not accepted."
_ALLOW = "Allow it in the policy of the role or user that makes the request."
_DENIED = {
    "AccessDenied": _ALLOW,
    "AccessDeniedException": _ALLOW,
    "NotAuthorized": _ALLOW,
    "OptInRequired": "Enable the service for this account and region.",
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "InvalidClientTokenId": _RENEW,
    "MissingAuthenticationToken": _RENEW,
    "MissingAuthenticationTokenException": _RENEW,
    "UnrecognizedClientException": _RENEW,
    "IncompleteSignature": _CLOCK,
    "IncompleteSignatureException": _CLOCK,
    "InvalidSignatureException": _CLOCK,
    "SignatureDoesNotMatch": _CLOCK,
}
"""What to do about each refusal of a caller."""

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

# What came back, if anything, was not the answer: the request may have been carried out all the same.
_NO_ANSWER = (
    HTTPClientError,
    BotoConnectionError,
    IncompleteReadError,
    ChecksumError,
    ResponseParserError,
    TimeoutError,
)
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)


class RequestFailed(Exception):
    """The request failed, and may be tried again.

    Attributes:
        cause: botocore's exception, or the time-out.
        may_have_landed: Whether DynamoDB may have carried it out all the same.
    """

    def __init__(self, cause: BaseException, *, may_have_landed: bool) -> None:
        super().__init__(str(cause) or type(cause).__name__)
        self.cause = cause
        self.may_have_landed = may_have_landed


class ConditionFailed(Exception):
    """A condition did not hold.

    Attributes:
        item: What the table holds instead, when DynamoDB said so; None when it holds nothing or did not say.
        told: Whether DynamoDB said what it holds.
        retried: Whether botocore had sent the request before, so that the refusal may be of our own write's making.
    """

    def __init__(self, item: Attributes | None, *, told: bool, retried: bool) -> None:
        super().__init__("the condition did not hold")
        self.item = item
        self.told = told
        self.retried = retried


def translated(table_name: str, error: Exception, *, sent_once: bool) -> Exception:
    """Our error for one of botocore's.

    Args:
        table_name: The table, for the message.
        error: What botocore raised.
        sent_once: Whether the client sends each request once. Otherwise an earlier try may have been carried out.
    """
    if isinstance(error, ClientError):
        return _translated_answer(table_name, error)
    if _is_closed(error):
        closed = f"table {table_name!r}: the client is closed. Open another, or use it only while it is open."
        return _after_a_try(StorageError(closed), sent_once)
    if isinstance(error, _NO_ANSWER):
        return RequestFailed(error, may_have_landed=not (sent_once and isinstance(error, _NOT_SENT)))
    if isinstance(error, _NO_CREDENTIALS):
        never_had = isinstance(error, (NoCredentialsError, PartialCredentialsError))
        return _after_a_try(AccessDeniedError(f"table {table_name!r}: {error}. {_RENEW}"), sent_once or never_had)
    return StorageError(f"table {table_name!r}: the request could not be made: {error}")


def _after_a_try(error: StorageError, is_first: bool) -> StorageError:
    """The error, marked where a client that retries by itself may have sent the request before."""
    error.may_have_landed = not is_first
    return error


def _translated_answer(table_name: str, error: ClientError) -> Exception:
    answer: Any = error.response
    code = answer.get("Error", {}).get("Code", "")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    retried = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(answer.get("Item"), told="Item" in answer, retried=retried)
    if code == "TransactionCanceledException" and (canceled := _canceled(error, retried=retried)) is not None:
        return canceled
    if code in _THROTTLED:
        return RequestFailed(error, may_have_landed=retried)
    if code in _FAILED or status >= 500:
        return RequestFailed(error, may_have_landed=True)
    if retried:
        return RequestFailed(error, may_have_landed=True)
    return refusal(table_name, error)


def _canceled(error: ClientError, *, retried: bool) -> Exception | None:
    """What kept a transaction, whose first write is the head's, from being made; None for what would again."""
    answer: Any = error.response
    reasons = answer.get("CancellationReasons") or [{}]
    codes = {reason.get("Code", "None") for reason in reasons}
    if "ConditionalCheckFailed" in codes:
        head = reasons[0]
        is_of_head = head.get("Code") == "ConditionalCheckFailed"
        return ConditionFailed(head.get("Item"), told=is_of_head and "Item" in head, retried=retried)
    return RequestFailed(error, may_have_landed=retried) if codes & _CANCELED_FOR_NOW else None


def without_index(table_name: str, index_name: str, error: StorageError) -> StorageError:
    """The error for a query of an index, where it is the index that is missing or not ready."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or index_name not in str(cause):
        return error
    if "backfilling" in str(cause).lower():
        return UnavailableError(
            f"table {table_name!r}: its index {index_name!r} is still being built. Try again later."
        )
    if isinstance(error, AccessDeniedError):
        return error
    return IndexNotFoundError(
        f"table {table_name!r} has no index {index_name!r}, which lists the conversations of an owner. Add it: "
        "`openai-agents-session add-index`, the template, or create_table_if_not_exists(..., with_index=True)."
    )


def refusal(table_name: str, error: Exception) -> StorageError:
    """The error of ours for an answer that trying again would not change."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code in _NOT_FOUND:
        return TableNotFoundError(
            f"table {table_name!r} does not exist in this account and region. Deploy the template, or create it with "
            "create_table_if_not_exists()."
        )
    if code in _DENIED:
        return AccessDeniedError(f"table {table_name!r}: {error}. {_DENIED[code]}")
    return StorageError(f"table {table_name!r}: {error}")


def _is_closed(error: Exception) -> bool:
    """Whether the request was not sent because its client is closed: aiohttp and aiobotocore have no error for it."""
    inner = error.kwargs.get("error") if isinstance(error, HTTPClientError) else None
    if isinstance(inner, RuntimeError):
        return "closed" in str(inner)
    return isinstance(inner, AttributeError) and "NoneType" in str(inner)


def unavailable(table_name: str, budget: RetryBudget, failure: RequestFailed) -> UnavailableError:
    """What to raise when a budget ran out over failures."""
    return UnavailableError(
        f"table {table_name!r}: DynamoDB kept failing for {budget.seconds:g} s, last with: {failure}. "
        "Check the table's throttling metrics, the endpoint and, in a VPC, its DynamoDB gateway endpoint."
    )
