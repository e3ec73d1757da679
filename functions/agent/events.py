"""The two shapes of a request, direct and over HTTP, made one; and the answer, in the shape of its request.

    direct                                                           HTTP
    {"session_id": ..., "message": ...}                              POST /sessions/{session_id} {"message": ...}
    {"session_id": ..., "action": "history", "limit": ...}           GET /sessions/{session_id}?limit=...
    {"session_id": ..., "action": "clear"}                           DELETE /sessions/{session_id}

HTTP comes from an API Gateway HTTP API (payload 2.0) or a Function URL, which send the same event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, cast, get_args
from urllib.parse import unquote

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

Action = Literal["message", "history", "clear"]

MAX_MESSAGE_CHARACTERS = 100_000
DEFAULT_HISTORY_LIMIT = 100
MAX_HISTORY_LIMIT = 1_000
# Lambda answers with at most 6 MB, to which JSON inside JSON adds its escapes.
MAX_ANSWER_BYTES = 4_000_000

_HTTP_ACTIONS: dict[str, Action] = {"POST": "message", "GET": "history", "DELETE": "clear"}


class RequestError(Exception):
    """A request that cannot be served.

    Attributes:
        status: The HTTP status that says why.
        reason: The same for people; it tells nothing that the caller may not know.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """What the caller wants.

    Attributes:
        action: Send a message, read the history, or clear it.
        session_id: The conversation; the session library judges whether it is a good id.
        message: What the user says; empty unless that is the action.
        limit: How many of the newest items of the history to return.
    """

    action: Action
    session_id: str
    message: str = ""
    limit: int = DEFAULT_HISTORY_LIMIT


def is_http(event: Mapping[str, Any]) -> bool:
    """Whether an event came over HTTP."""
    return "requestContext" in event


def parse(event: Mapping[str, Any]) -> Request:
    """Read a request from a Lambda event of either shape.

    Raises:
        RequestError: It is not a request that this function serves.
    """
    if not isinstance(event, dict):
        raise RequestError(400, "the event must be a JSON object")
    fields = _http_fields(event) if is_http(event) else event
    action = fields.get("action", "message")
    if action not in get_args(Action):
        raise RequestError(400, f"action must be one of {', '.join(get_args(Action))}")
    return Request(
        action=cast(Action, action),
        session_id=_text(fields, "session_id"),
        message=_message(fields) if action == "message" else "",
        limit=_limit(fields.get("limit", DEFAULT_HISTORY_LIMIT)),
    )


def respond(event: Mapping[str, Any], status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Give an answer the shape in which the event asked for it.

    Args:
        event: The event that is answered.
        status: The HTTP status; a direct invocation finds it in the answer's `status`.
        body: The answer.
    """
    answer = {"status": status, **body}
    if not (isinstance(event, dict) and is_http(event)):
        return answer
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps(answer, ensure_ascii=False),
    }


def newest_that_fit(items: list[Any], max_bytes: int = MAX_ANSWER_BYTES) -> list[Any]:
    """The newest items of a history whose JSON together stays within a size in bytes."""
    kept: list[Any] = []
    for item in reversed(items):
        max_bytes -= len(json.dumps(item))
        if max_bytes < 0:
            break
        kept.append(item)
    return kept[::-1]


def _http_fields(event: dict[str, Any]) -> dict[str, Any]:
    request = APIGatewayProxyEventV2(event)
    try:
        root, _, encoded_id = request.path.lstrip("/").partition("/")
        action = _HTTP_ACTIONS.get(request.http_method)
        # A gateway's route has decoded the id; a Function URL knows no routes, and gives the path as it was sent.
        session_id = request.path_parameters.get("session_id") or unquote(encoded_id)
        limit = request.query_string_parameters.get("limit")
    except (KeyError, TypeError, AttributeError):
        raise RequestError(400, "this is not an HTTP event of payload format 2.0") from None
    if root != "sessions" or not encoded_id:
        raise RequestError(404, "the only resource is /sessions/{session_id}")
    if action is None:
        raise RequestError(405, f"use one of {', '.join(_HTTP_ACTIONS)}")
    fields: dict[str, Any] = {"action": action, "session_id": session_id}
    if action == "message":
        fields["message"] = _json_object(request).get("message")
    return fields if limit is None else fields | {"limit": limit}


def _json_object(request: APIGatewayProxyEventV2) -> dict[str, Any]:
    try:
        body = request.json_body
    except (ValueError, TypeError, AttributeError, RecursionError):  # not base64, not UTF-8, or not JSON
        raise RequestError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestError(400, 'the body must be a JSON object such as {"message": "Hello"}')
    return body


def _message(fields: Mapping[str, Any]) -> str:
    message = _text(fields, "message")
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"message exceeds {MAX_MESSAGE_CHARACTERS} characters")
    return message


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(400, f"{name} must be a text that is not empty")
    if not value.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise RequestError(400, f"{name} holds half of a surrogate pair, which is not text")
    return value


def _limit(value: Any) -> int:
    try:
        limit = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else 0
    except ValueError:
        limit = 0
    if not 1 <= limit <= MAX_HISTORY_LIMIT:
        raise RequestError(400, f"limit must be a whole number from 1 to {MAX_HISTORY_LIMIT}")
    return limit
