"""Whether a client's methods can be awaited. Nothing else is checked: tests pass clients of their own."""

from __future__ import annotations

import inspect
from typing import Any

from .errors import InvalidInputError

_OPERATIONS = ("get_item", "put_item")

_WANTED = (
    "an aiobotocore DynamoDB client is needed: `async with aiobotocore.session.get_session().create_client('dynamodb') "
    "as client`; DynamoDBSession.connect(session_id, table_name) makes one itself"
)


def checked_client(client: Any) -> Any:
    """The client, if it looks like a DynamoDB client whose calls can be awaited.

    Args:
        client: What the caller passed as ``dynamodb_client``.

    Raises:
        InvalidInputError: It is something else, such as a client of boto3; the message says what, and what is needed.
    """
    if (wrong := _what_is_wrong(client)) is not None:
        raise InvalidInputError(f"dynamodb_client is {wrong}; {_WANTED}")
    return client


def _what_is_wrong(client: Any) -> str | None:
    if client is None:
        return "None"
    kind = type(client)
    if inspect.isclass(client):
        return f"the class {client.__name__}, not an object"
    if hasattr(client, "create_client"):
        return f"a session ({kind.__module__}.{kind.__name__}), not a client"
    if hasattr(client, "__aenter__") and not hasattr(client, "meta") and not _has_operations(client):
        return f"not entered yet ({kind.__module__}.{kind.__name__}): its client is what `async with` gives"
    if hasattr(client, "meta") and _is_synchronous(client):
        return f"of boto3 ({kind.__module__}.{kind.__name__}), whose calls cannot be awaited"
    if not _has_operations(client) and kind is not object:  # tests that send nothing pass a bare object()
        return f"no DynamoDB client ({kind.__module__}.{kind.__name__})"
    return None


def _has_operations(client: Any) -> bool:
    return all(callable(getattr(client, name, None)) for name in _OPERATIONS)


def _is_synchronous(client: Any) -> bool:
    """Whether a botocore client, or a boto3 resource, sends its requests without being awaited."""
    inner = getattr(client.meta, "client", client)  # a resource has its client there
    send = getattr(inner, "_make_api_call", None)
    return send is not None and not inspect.iscoroutinefunction(send)
