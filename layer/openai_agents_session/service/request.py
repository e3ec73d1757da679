"""The shapes of a request, direct and over HTTP, made one; and the answer, in the shape of its request.

    direct                                                           HTTP
    {"session_id": ..., "message": ...}                              POST /sessions/{session_id} {"message": ...}
    {"session_id": ..., "action": "continue"}                        POST /sessions/{session_id} {"continue": true}
    {"session_id": ..., "action": "history", "limit": ...}           GET /sessions/{session_id}?limit=...
    {"session_id": ..., "action": "clear"}                           DELETE /sessions/{session_id}
    {"session_id": ..., "action": "approvals"}                       GET /sessions/{session_id}/approvals
    {"session_id": ..., "action": "approve", "run_id": ...}          POST /sessions/{session_id}/approvals
                                                                         {"decision": "approve", "run_id": ...}
    the same with "reject" and "discard"                             the same with "reject" and "discard"

A direct request may state an "owner" and an "idempotency_key"; over HTTP the authorizer and a header do. Who invokes
the function asynchronously and wants to know of a refusal says "asynchronous": true, and the invocation fails. What
sends HTTP, and what else may come: see `shapes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from .errors import RequestError
from .message import Message, checked
from .sendable import clean
from .shapes import Shape, http_request, response, shape_of

Action = Literal["message", "continue", "approve", "reject", "discard", "approvals", "history", "clear"]

DECISIONS: frozenset[Action] = frozenset({"approve", "reject", "discard"})
"""What can be decided on a run that waits."""

MAX_SESSION_ID_BYTES = 1_024
MAX_NAME_CHARACTERS = 1_024
MAX_CALLS = 100
DEFAULT_HISTORY_LIMIT = 100
MAX_HISTORY_LIMIT = 1_000
# Lambda answers with at most 6 MB, to which JSON inside JSON adds its escapes.
MAX_ANSWER_BYTES = 4_000_000
MAX_DATA_CHARACTERS = 1_000

_SESSION_ACTIONS: dict[str, Action] = {"POST": "message", "GET": "history", "DELETE": "clear"}
_APPROVAL_ACTIONS: dict[str, Action] = {"POST": "approve", "GET": "approvals"}


@dataclass(frozen=True)
class Request:
    """What the caller wants.

    Attributes:
        action: What to do.
        session_id: The conversation; the session library judges whether it is a good id.
        message: What the user says, a text or content parts; empty unless that is the action.
        limit: How many of the newest items of the history to return.
        owner: Whose session it is, if anybody's.
        on_behalf_of: The owner of the session, if the caller decides for somebody else.
        idempotency_key: What names this delivery, if it is to be served once.
        run_id: The run to decide on; empty unless that is the action.
        call_ids: Which of its calls to decide on; none for all.
        asynchronous: Whether nobody waits for the answer, so that only failing is noticed.
    """

    action: Action
    session_id: str
    message: Message = ""
    limit: int = DEFAULT_HISTORY_LIMIT
    owner: str | None = None
    idempotency_key: str | None = None
    run_id: str = ""
    call_ids: tuple[str, ...] = ()
    asynchronous: bool = False
    on_behalf_of: str | None = None


def parse(event: Any, shape: Shape, caller: Callable[[Mapping[str, Any]], str | None] = lambda _: None) -> Request:
    """Read a request from an event that one caller sent.

    Args:
        event: The event, direct or over HTTP.
        shape: Its form.
        caller: Tells who sends an HTTP event.

    Raises:
        RequestError: It is not a request that this function serves.
    """
    if not isinstance(event, dict):
        raise RequestError(400, "the event must be a JSON object")
    fields = _http_fields(event, shape) | {"owner": caller(event)} if shape.is_http else event
    action = fields.get("action", "message")
    if action not in get_args(Action):
        raise RequestError(400, f"action must be one of {', '.join(get_args(Action))}")
    deciding = action in DECISIONS
    return Request(
        action=cast(Action, action),
        session_id=_session_id(fields),
        message=checked(fields.get("message")) if action == "message" else "",
        limit=_limit(fields.get("limit", DEFAULT_HISTORY_LIMIT)),
        owner=_name(fields, "owner"),
        on_behalf_of=_name(fields, "on_behalf_of"),
        idempotency_key=_name(fields, "idempotency_key"),
        run_id=_text(fields, "run_id") if deciding else "",
        call_ids=_call_ids(fields.get("call_ids")) if deciding else (),
        asynchronous=fields.get("asynchronous") is True,
    )


def direct(message: Any, delivery: str) -> Any:
    """The direct request in a message of a queue, a topic or a bus, whose delivery names it.

    Raises:
        RequestError: The message is none. One of HTTP's form has its answer, its caller and its name elsewhere.
    """
    if not isinstance(message, dict) or shape_of(message) is not Shape.DIRECT:
        raise RequestError(400, 'a message must be a direct request, such as {"session_id": ..., "message": ...}')
    return message | {"idempotency_key": delivery}


def respond(event: Any, shape: Shape, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Give an answer the shape in which the event asked for it.

    Args:
        event: The event that is answered.
        shape: Its form.
        status: The HTTP status; a direct invocation finds it in the answer's `status`.
        body: The answer.
    """
    answer: dict[str, Any] = clean({"status": status, **body})
    if not shape.is_http:
        return answer
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if "retry_after" in body:
        headers["retry-after"] = str(body["retry_after"])
    if "allow" in body:
        headers["allow"] = ", ".join(body["allow"])
    return response(event, shape, status, headers, answer)


def newest_that_fit(items: list[Any], max_bytes: int = MAX_ANSWER_BYTES) -> list[Any]:
    """The newest items of a history whose JSON together stays within a size in bytes.

    Of an item that alone has half of that, such as a message with an image, the data is left out.
    """
    kept: list[Any] = []
    for item in reversed(items):
        size = len(json.dumps(item))
        if size > max_bytes // 2:
            item = _without_data(item)
            size = len(json.dumps(item))
        max_bytes -= size
        if max_bytes < 0:
            break
        kept.append(item)
    return kept[::-1]


def _without_data(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_data(member) for name, member in value.items()}
        case list():
            return [_without_data(member) for member in value]
        case str() if value.startswith("data:") and len(value) > MAX_DATA_CHARACTERS:
            return f"(left out: {len(value)} characters of {value.partition(';')[0]})"
    return value


def _http_fields(event: dict[str, Any], shape: Shape) -> dict[str, Any]:
    request = http_request(event, shape)
    if not request.session_id:
        raise RequestError(404, "the only resources are /sessions/{session_id} and its /approvals")
    actions = _APPROVAL_ACTIONS if request.about_approvals else _SESSION_ACTIONS
    if request.method not in actions:
        raise RequestError(405, f"use one of {', '.join(actions)}", allow=list(actions))
    action = actions[request.method]
    fields: dict[str, Any] = {
        "action": action,
        "session_id": request.session_id,
        "idempotency_key": request.headers.get("idempotency-key"),
    }
    if request.method == "POST":
        fields |= _posted(action, _json_object(request.body))
    if request.about_approvals and "owner" in request.parameters:
        fields["on_behalf_of"] = request.parameters["owner"]
    return fields | {"limit": request.parameters["limit"]} if "limit" in request.parameters else fields


def _posted(action: Action, body: dict[str, Any]) -> dict[str, Any]:
    """What a body asks for. Who asks is not for the body to say."""
    if action == "message":
        return {"action": "continue"} if body.get("continue") is True else {"message": body.get("message")}
    if body.get("decision") not in sorted(DECISIONS):
        raise RequestError(400, f"decision must be one of {', '.join(sorted(DECISIONS))}")
    fields = {"action": body["decision"], "run_id": body.get("run_id"), "call_ids": body.get("call_ids")}
    return fields | {"on_behalf_of": body.get("owner")}


def _json_object(text: bytes | str) -> dict[str, Any]:
    try:
        body = json.loads(text or "null")
    except (ValueError, RecursionError):  # not UTF-8, or not JSON
        raise RequestError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestError(400, 'the body must be a JSON object such as {"message": "Hello"}')
    return body


def _session_id(fields: Mapping[str, Any]) -> str:
    session_id = _text(fields, "session_id")
    if len(session_id.encode()) > MAX_SESSION_ID_BYTES:
        raise RequestError(400, f"session_id exceeds {MAX_SESSION_ID_BYTES} bytes")
    return session_id


def _name(fields: Mapping[str, Any], name: str) -> str | None:
    if fields.get(name) is None:
        return None
    text = _text(fields, name)
    if len(text) > MAX_NAME_CHARACTERS:
        raise RequestError(400, f"{name} exceeds {MAX_NAME_CHARACTERS} characters")
    return text


def _call_ids(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CALLS or not all(isinstance(v, str) for v in value):
        raise RequestError(400, f"call_ids must be a list of 1 to {MAX_CALLS} ids of calls")
    return tuple(value)


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
