"""What botocore can raise becomes one of our errors, with botocore's as the cause."""

from __future__ import annotations

import inspect
from string import Formatter
from typing import Any

import botocore.exceptions
import botocore.parsers
import botocore.session
import pytest
from botocore.exceptions import BotoCoreError, ClientError

import openai_agents_session
from openai_agents_session import (
    AccessDeniedError,
    ContentionError,
    CorruptSessionError,
    DynamoDBSession,
    OutcomeUnknownError,
    SessionError,
    StorageError,
    StorageOptions,
    TableNotFoundError,
    UnavailableError,
)
from tests.support.memory import MemoryClient

OPTIONS = StorageOptions(patience_seconds=0)

THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "LimitExceededException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
}
FAILED = {"InternalServerError", "ServiceUnavailable"}
DENIED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
REFUSED = {
    "ValidationException",
    "ItemCollectionSizeLimitExceededException",
    "ResourceInUseException",
    "SerializationException",
    "UnknownOperationException",
    "SomethingNewException",
}
NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
NEVER_HAD = {"NoCredentialsError", "PartialCredentialsError"}
NO_ANSWER = {
    "ChecksumError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "SSLError",
}


class Client(MemoryClient):
    """Fails each request of one kind."""

    def __init__(self, operation: str, failure: BaseException) -> None:
        super().__init__()
        self.failure = failure
        setattr(self, operation, self.fail)

    async def fail(self, **_: Any) -> Any:
        raise self.failure


def answer(code: str, status: int = 400, **details: Any) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RetryAttempts": details.pop("retries", 0)}
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata, **details}
    return ClientError(response, "PutItem")


async def outcome(operation: str, failure: BaseException, work: str = "add_items") -> SessionError:
    client: Any = Client(operation, failure)
    session = DynamoDBSession("ada", client, "sessions", options=OPTIONS)
    with pytest.raises(SessionError) as raised:
        await (session.get_items() if work == "get_items" else session.add_items([{"role": "user"}]))
    assert client.items == {}
    return raised.value


def made(kind: type[Exception]) -> Exception:
    """An exception of a class whose arguments are the fields of its message."""
    form = getattr(kind, "fmt", "")
    fields = {part[1] for part in Formatter().parse(form) if part[1]}
    unformatted = {"last_response"} if kind is botocore.exceptions.WaiterError else set()
    return kind(**dict.fromkeys(fields | unformatted, "x"))


BOTOCORE = {
    name: kind
    for name, kind in vars(botocore.exceptions).items()
    if inspect.isclass(kind) and issubclass(kind, BotoCoreError)
}


@pytest.mark.parametrize("operation", ["get_item", "put_item"])
@pytest.mark.parametrize("name", BOTOCORE)
async def test_every_exception_of_botocore(name: str, operation: str) -> None:
    """Each class of botocore's becomes an error of ours, and stays its cause.

    Where no answer came, a write may have been made, and a read was not.
    """
    failure = made(BOTOCORE[name])
    error = await outcome(operation, failure)
    assert error.__cause__ is failure
    if name in NO_CREDENTIALS:
        # A client that may have sent the write before, and then lost its credentials, leaves the outcome open.
        is_open = operation == "put_item" and name not in NEVER_HAD
        assert type(error) is (OutcomeUnknownError if is_open else AccessDeniedError)
        assert is_open or "Renew the credentials" in str(error)
    elif name not in NO_ANSWER:
        assert type(error) is StorageError
    else:
        assert type(error) is (UnavailableError if operation == "get_item" else OutcomeUnknownError)


@pytest.mark.parametrize("failure", [TimeoutError(), botocore.parsers.ResponseParserError("?")])
async def test_no_answer_beside_botocore(failure: Exception) -> None:
    """So does what others raise when no answer comes, or none that can be understood."""
    for operation, kind in (("get_item", UnavailableError), ("put_item", OutcomeUnknownError)):
        error = await outcome(operation, failure)
        assert (type(error), error.__cause__) == (kind, failure)


def expected(code: str, operation: str) -> type[SessionError]:
    if code in THROTTLED:
        return UnavailableError
    if code in FAILED:
        return UnavailableError if operation == "get_item" else OutcomeUnknownError
    if code in DENIED:
        return AccessDeniedError
    return TableNotFoundError if code == "ResourceNotFoundException" else StorageError


@pytest.mark.parametrize("operation", ["get_item", "put_item"])
@pytest.mark.parametrize("code", sorted(THROTTLED | FAILED | DENIED | REFUSED | {"ResourceNotFoundException"}))
async def test_every_documented_code(code: str, operation: str) -> None:
    """Each of DynamoDB's documented error codes becomes the error of ours that says what to do."""
    failure = answer(code, status=500 if code in FAILED else 400)
    error = await outcome(operation, failure)
    assert type(error) is expected(code, operation)
    assert error.__cause__ is failure
    if code not in FAILED:
        assert "'sessions'" in str(error)


def test_the_table_of_codes_is_complete() -> None:
    """Every error that botocore's model of DynamoDB knows for the operations in use is in the tables above."""
    model = botocore.session.get_session().get_service_model("dynamodb")
    names = ("GetItem", "PutItem", "DeleteItem", "UpdateItem", "BatchGetItem", "Scan", "DescribeTable")
    codes = {shape.name for name in names for shape in model.operation_model(name).error_shapes}
    known = THROTTLED | FAILED | DENIED | REFUSED | {"ResourceNotFoundException", "ConditionalCheckFailedException"}
    assert codes <= known
    assert set(BOTOCORE) >= NO_ANSWER | NO_CREDENTIALS


@pytest.mark.parametrize("code", sorted(THROTTLED))
async def test_throttled_after_a_retry(code: str) -> None:
    """A throttled write that botocore had sent before may have been made by then."""
    error = await outcome("put_item", answer(code, retries=1))
    assert type(error) is OutcomeUnknownError


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_unknown_failures_of_the_server(status: int) -> None:
    """Whatever comes with a status of 5xx may have been carried out, and is worth trying again."""
    error = await outcome("put_item", answer(str(status), status=status))
    assert type(error) is OutcomeUnknownError


async def test_contention() -> None:
    """A write that others keep from landing until patience runs out is an error that says so."""
    error = await outcome("put_item", answer("ConditionalCheckFailedException"))
    assert type(error) is ContentionError
    assert "nothing was written" in str(error)


@pytest.mark.parametrize("failure", [KeyError("bug"), RuntimeError("bug")])
async def test_bugs_are_not_dressed_up(failure: Exception) -> None:
    """What is no failure of storage comes through as it is."""
    client: Any = Client("get_item", failure)
    with pytest.raises(type(failure)):
        await DynamoDBSession("ada", client, "sessions", options=OPTIONS).get_items()


def test_one_tree() -> None:
    """All that the library raises is a `SessionError`, and what is to be caught is among the public names."""
    for name, value in vars(openai_agents_session.errors).items():
        if inspect.isclass(value) and value.__module__ == openai_agents_session.errors.__name__:
            assert issubclass(value, SessionError)
            assert name in openai_agents_session.__all__


@pytest.mark.parametrize(
    ("part", "intact", "total", "text"),
    [
        ("head", None, None, "head is damaged (why). "),
        ("head", 7, None, "head is damaged (why); 7 items can still be read. "),
        ("ada#~3", 7, 9, "part 'ada#~3' is damaged (why); 7 of 9 items can still be read. "),
    ],
)
def test_damage_says_how_much_is_intact(part: str, intact: int | None, total: int | None, text: str) -> None:
    """The error of a damaged session tells the session, the part, and how much is left."""
    error = CorruptSessionError("ada", part, "why", intact_items=intact, total_items=total)
    assert f"session 'ada': {text}" in str(error)
    assert (error.session_id, error.part, error.intact_items, error.total_items) == ("ada", part, intact, total)
