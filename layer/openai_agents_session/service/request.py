"""The shapes of a request, direct and over HTTP, made one; and the answer, in the shape of its request.

    direct                                                           HTTP
    {"session_id": ..., "message": ...}                              POST /sessions/{session_id} {"message": ...}
    the same and "durable": true, to be answered by a durable run    the same and "durable": true
    {"session_id": ..., "action": "continue"}                        POST /sessions/{session_id} {"continue": true}
    {"session_id": ..., "action": "edit", "position": ...,           POST /sessions/{session_id}/edit
        "message": ...}                                                  {"position": ..., "message": ...}
    {"session_id": ..., "action": "regenerate"}                      POST /sessions/{session_id}/regenerate {}
    {"session_id": ..., "action": "stop"}                            POST /sessions/{session_id}/stop {}
    {"session_id": ..., "action": "history", "limit": ...,           GET /sessions/{session_id}?limit=...&before=...
        "before": ...}
    {"session_id": ..., "action": "rewind", "keep": ...}             POST /sessions/{session_id}/rewind {"keep": ...}
    {"session_id": ..., "action": "fork", "keep": ...,               POST /sessions/{session_id}/fork
        "copy_id": ..., "title": ...}                                    {"keep": ..., "copy_id": ..., "title": ...}
    {"session_id": ..., "action": "update", "title": ...,            PATCH /sessions/{session_id}
        "metadata": ...}                                                 {"title": ..., "metadata": ...}
    {"session_id": ..., "action": "clear"}                           DELETE /sessions/{session_id}
    {"action": "list", "limit": ..., "cursor": ...,                  GET /sessions?limit=...&cursor=...&search=...
        "search": ...}
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
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from .errors import RequestError
from .fitting import fitted
from .message import Message, checked
from .sendable import clean
from .shapes import Shape, http_request, response, shape_of

# fmt: off
Action = Literal[
    "message", "continue", "edit", "regenerate", "approve", "reject", "discard", "stop",
    "approvals", "history", "list", "update", "fork", "rewind", "clear",
]
# fmt: on

DECISIONS: frozenset[Action] = frozenset({"approve", "reject", "discard"})
"""What can be decided on a run that waits."""

MAX_SESSION_ID_BYTES = 1_024
MAX_NAME_CHARACTERS = 1_024
MAX_CALLS = 100
DEFAULT_HISTORY_LIMIT = 100
MAX_HISTORY_LIMIT = 1_000
DEFAULT_LIST_LIMIT = 30
MAX_LIST_LIMIT = 200
MAX_CURSOR_CHARACTERS = 8_192
MAX_POSITION = 2**53

_LIST: dict[str, Action] = {"GET": "list"}
_ROUTES: dict[str, dict[str, Action]] = {
    "": {"POST": "message", "GET": "history", "PATCH": "update", "DELETE": "clear"},
    "approvals": {"POST": "approve", "GET": "approvals"},
    "edit": {"POST": "edit"},
    "regenerate": {"POST": "regenerate"},
    "stop": {"POST": "stop"},
    "fork": {"POST": "fork"},
    "rewind": {"POST": "rewind"},
}
"""What is behind /sessions/{session_id}, by method."""

_ASKED: dict[Action, tuple[str, ...]] = {
    "history": ("limit", "before"),
    "list": ("limit", "cursor", "search"),
}
"""Parameters of a query."""

_SAID: dict[Action, tuple[str, ...]] = {
    "edit": ("position", "message"),
    "fork": ("keep", "copy_id", "title"),
    "rewind": ("keep",),
    "update": ("title", "metadata"),
}
"""Members of a body."""


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
        before: The position that a page of the history ends before; None for the newest items.
        cursor: Where a page of the list begins; None for the first.
        search: Words that titles in the list must have; empty for all.
        position: The message that is edited.
        keep: How many items stay, or are copied; None for all.
        copy_id: The id of a copy; empty for a new one.
        durable: Whether a durable run is to answer the message.
        changes: What becomes of ``title`` and ``metadata``: those that are named.
    """

    action: Action
    session_id: str
    message: Message = ""
    limit: int = DEFAULT_HISTORY_LIMIT
    owner: str | None = None
    idempotency_key: str | None = None
    run_id: str = ""
    call_ids: tuple[str, ...] = ()
    on_behalf_of: str | None = None
    before: int | None = None
    cursor: str | None = None
    search: str = ""
    position: int = 0
    keep: int | None = None
    copy_id: str = ""
    durable: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)


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
        session_id=_session_id(fields) if action != "list" else "",
        message=checked(fields.get("message")) if action in ("message", "edit") else "",
        limit=_limit(fields.get("limit"), action),
        owner=_name(fields, "owner"),
        on_behalf_of=_name(fields, "on_behalf_of"),
        idempotency_key=_name(fields, "idempotency_key"),
        run_id=_text(fields, "run_id") if deciding else "",
        call_ids=_call_ids(fields.get("call_ids")) if deciding else (),
        durable=_durable(fields, action),
        **_about_conversations(action, fields),
    )


def _durable(fields: Mapping[str, Any], action: str) -> bool:
    wanted = fields.get("durable")
    if wanted is not None and not isinstance(wanted, bool):
        raise RequestError(400, "durable must be true or false")
    if wanted and action != "message":
        raise RequestError(400, f"durable is for messages: {action} is answered at once")
    return wanted is True


def _about_conversations(action: Action, fields: Mapping[str, Any]) -> dict[str, Any]:
    match action:
        case "history":
            return {"before": _optional_position(fields, "before")}
        case "list":
            return {"cursor": _name(fields, "cursor", MAX_CURSOR_CHARACTERS), "search": _optional(fields, "search")}
        case "edit":
            return {"position": _position(fields, "position")}
        case "rewind":
            return {"keep": _position(fields, "keep")}
        case "fork":
            keep, changes = _optional_position(fields, "keep"), _changes(fields, "title")
            copy_id = _session_id(fields, "copy_id") if fields.get("copy_id") is not None else ""
            return {"keep": keep, "copy_id": copy_id, "changes": changes}
        case "update":
            changes = _changes(fields, "title", "metadata")
            if not changes:
                raise RequestError(400, "say what becomes of title or metadata")
            return {"changes": changes}
    return {}


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
    answer: dict[str, Any] = fitted(clean({"status": status, **body}))
    if not shape.is_http:
        return answer
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if "retry_after" in body:
        headers["retry-after"] = str(body["retry_after"])
    if "allow" in body:
        headers["allow"] = ", ".join(body["allow"])
    return response(event, shape, status, headers, answer)


def _http_fields(event: dict[str, Any], shape: Shape) -> dict[str, Any]:
    request = http_request(event, shape)
    if request.session_id is None:
        behind = ", ".join(name for name in _ROUTES if name)
        raise RequestError(404, f"the only resources are /sessions, /sessions/{{session_id}} and its {behind}")
    actions = _ROUTES[request.behind] if request.session_id else _LIST
    if request.method not in actions:
        raise RequestError(405, f"use one of {', '.join(actions)}", allow=list(actions))
    action = actions[request.method]
    fields: dict[str, Any] = {
        "action": action,
        "session_id": request.session_id,
        "idempotency_key": request.headers.get("idempotency-key"),
    }
    if request.method in ("POST", "PATCH"):
        body = _json_object(request.body)
        fields |= {"durable": body.get("durable")} | _posted(action, body)
    if request.behind == "approvals" and "owner" in request.parameters:
        fields["on_behalf_of"] = request.parameters["owner"]
    return fields | {name: request.parameters[name] for name in _ASKED.get(action, ()) if name in request.parameters}


def _posted(action: Action, body: dict[str, Any]) -> dict[str, Any]:
    """What a body asks for. Who asks is not for the body to say."""
    if action == "message":
        return {"action": "continue"} if body.get("continue") is True else {"message": body.get("message")}
    if action != "approve":
        return {name: body[name] for name in _SAID.get(action, ()) if name in body}
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


def _session_id(fields: Mapping[str, Any], name: str = "session_id") -> str:
    session_id = _text(fields, name)
    if len(session_id.encode()) > MAX_SESSION_ID_BYTES:
        raise RequestError(400, f"{name} exceeds {MAX_SESSION_ID_BYTES} bytes")
    return session_id


def _name(fields: Mapping[str, Any], name: str, most: int = MAX_NAME_CHARACTERS) -> str | None:
    if fields.get(name) is None:
        return None
    text = _text(fields, name)
    if len(text) > most:
        raise RequestError(400, f"{name} exceeds {most} characters")
    return text


def _optional(fields: Mapping[str, Any], name: str) -> str:
    """A text that may be empty."""
    return _name(fields, name) or "" if fields.get(name) not in (None, "") else ""


def _optional_position(fields: Mapping[str, Any], name: str) -> int | None:
    return None if fields.get(name) is None else _position(fields, name)


def _position(fields: Mapping[str, Any], name: str) -> int:
    number = _whole_number(fields.get(name))
    if number is None or not 0 <= number <= MAX_POSITION:
        raise RequestError(400, f"{name} must be a whole number: a position in the history, from 0")
    return number


def _changes(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What becomes of a title, null to take it away, and of metadata; the library judges what they hold."""
    changes = {name: fields[name] for name in names if name in fields}
    if changes.get("title") is not None:
        _text(changes, "title")
    if not isinstance(changes.get("metadata", {}), dict):
        raise RequestError(400, 'metadata must be a JSON object such as {"folder": "travel"}')
    return changes


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


def _limit(value: Any, action: str) -> int:
    default, most = (
        (DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT) if action == "list" else (DEFAULT_HISTORY_LIMIT, MAX_HISTORY_LIMIT)
    )
    limit = default if value is None else _whole_number(value)
    if limit is None or not 1 <= limit <= most:
        raise RequestError(400, f"limit must be a whole number from 1 to {most}")
    return limit


def _whole_number(value: Any) -> int | None:
    try:
        return int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        return None
