"""Who sends an event, by its form; and an HTTP request out of each of HTTP's four forms.

=================  ====================================================================  ==========================
``Shape``          sent by                                                               an answer is
=================  ====================================================================  ==========================
``DIRECT``         whoever invokes the function                                          returned, with its status
``HTTP``           an HTTP API or a Function URL (payload 2.0)                           an HTTP response
``REST``           a REST API, or an HTTP API with payload 1.0                           an HTTP response
``BALANCER``       an Application Load Balancer                                          an HTTP response
``QUEUE``          SQS                                                                   which messages failed
``TOPIC``, ``BUS``  SNS; EventBridge                                                     nobody's: only failing counts
``PING``           a scheduler or a plug-in that keeps the function warm                 that it is warm
``FOREIGN``        S3, streams, pipes, others, whose records say nothing to an agent     nobody's: only failing counts
=================  ====================================================================  ==========================
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote

from .errors import RequestError

RESOURCE = "sessions"
BEHIND = ("approvals", "edit", "regenerate", "stop", "fork", "rewind")
"""What there is behind a session's id."""

PINGS = ("warmer", "warmup", "ping")
"""Members that only an event has which keeps a function warm; so has the source ``serverless-plugin-warmup``."""


FOREIGN = frozenset({"awslogs", "eventSource", "deliveryStreamArn", "alarmData", "invokingEvent", "CodePipeline.job"})
"""Members by which is known what CloudWatch's logs and alarms, Kafka and MQ, Firehose, Config and CodePipeline send."""


class Shape(Enum):
    """The form of an event."""

    DIRECT = "direct"
    HTTP = "http"
    REST = "rest"
    BALANCER = "balancer"
    QUEUE = "queue"
    TOPIC = "topic"
    BUS = "bus"
    PING = "ping"
    FOREIGN = "foreign"

    @property
    def is_http(self) -> bool:
        """Whether it wants an HTTP response."""
        return self in (Shape.HTTP, Shape.REST, Shape.BALANCER)


@dataclass(frozen=True)
class HttpRequest:
    """What an HTTP event asks.

    Attributes:
        method: Such as POST.
        session_id: The id in its path, decoded; empty for all sessions, None if the path names no such resource.
        behind: What of the session is meant, one of ``BEHIND``; empty for the session itself.
        headers: By their names in lower case.
        parameters: Those of its query, by name.
        body: The body as it came, decoded from base64.
    """

    method: str
    session_id: str | None
    behind: str
    headers: Mapping[str, str]
    parameters: Mapping[str, str]
    body: bytes | str


def shape_of(event: Any) -> Shape:
    """The form of an event."""
    if not isinstance(event, dict):
        return Shape.FOREIGN if isinstance(event, list) and event else Shape.DIRECT
    if event.keys() & FOREIGN:
        return Shape.FOREIGN
    if "requestContext" in event:
        return _http_shape(event)
    if isinstance(records := event.get("Records"), list):
        return _records_shape(records)
    if "detail-type" in event and "detail" in event:
        scheduled = event["detail-type"] == "Scheduled Event" and event["detail"] in ({}, "{}", "", None)
        return Shape.PING if scheduled else Shape.BUS
    if event.get("source") == "serverless-plugin-warmup" or any(event.get(name) is True for name in PINGS):
        return Shape.PING
    return Shape.DIRECT


def _http_shape(event: Mapping[str, Any]) -> Shape:
    context = event["requestContext"]
    if isinstance(context, dict) and "elb" in context:
        return Shape.BALANCER
    if isinstance(context, dict) and "functionArn" in context:  # a destination of an asynchronous invocation
        return Shape.FOREIGN
    return Shape.REST if "httpMethod" in event else Shape.HTTP


def _records_shape(records: list[Any]) -> Shape:
    first = records[0] if records else {"eventSource": "aws:sqs"}  # an empty batch has nothing that could fail
    source = (first.get("eventSource") or first.get("EventSource")) if isinstance(first, dict) else None
    return {"aws:sqs": Shape.QUEUE, "aws:sns": Shape.TOPIC}.get(str(source), Shape.FOREIGN)


def http_request(event: Mapping[str, Any], shape: Shape) -> HttpRequest:
    """Read an HTTP event.

    Raises:
        RequestError: It is no event of its form.
    """
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, dict) and shape is Shape.HTTP else event
    method = http.get("method" if shape is Shape.HTTP else "httpMethod") if isinstance(http, dict) else None
    path = event.get("rawPath" if shape is Shape.HTTP else "path")
    if not isinstance(method, str) or not isinstance(path, str) or not isinstance(context, dict):
        raise RequestError(400, "this is not an HTTP event of payload format 1.0 or 2.0, nor one of a load balancer")
    session_id, behind = _resource(event, shape, path, context)
    headers = {name.lower(): value for name, value in _texts(event, "headers").items()}
    return HttpRequest(method, session_id, behind, headers, _query(event, shape), _body(event))


def _resource(event: Mapping[str, Any], shape: Shape, path: str, context: Mapping[str, Any]) -> tuple[str | None, str]:
    """The session's id, and what of the session is meant.

    A route of the gateway says both. Without one the path does: a stage or a domain's mapping may stand before it.
    """
    route = str(event.get("routeKey" if shape is Shape.HTTP else "resource") or "")
    if session_id := _texts(event, "pathParameters").get("session_id"):
        # An HTTP API has decoded it already.
        behind = route.rpartition("/")[2]
        return (session_id if shape is Shape.HTTP else unquote(session_id)), behind if behind in BEHIND else ""
    segments = path.split("/")[1:]
    if segments[:1] == [str(context.get("stage"))]:
        segments = segments[1:]
    if RESOURCE not in segments:
        return None, ""
    inner = segments[segments.index(RESOURCE) + 1 :]
    if inner[-1:] == [""]:
        inner = inner[:-1]
    behind = inner[-1] if len(inner) > 1 and inner[-1] in BEHIND else ""
    session_id = unquote("/".join(inner[:-1] if behind else inner))
    return (None if inner and not session_id else session_id), behind


def _query(event: Mapping[str, Any], shape: Shape) -> dict[str, str]:
    query = _texts(event, "queryStringParameters")
    many = event.get("multiValueQueryStringParameters")
    for name, values in (many if isinstance(many, dict) else {}).items():
        if isinstance(values, list) and values and isinstance(values[-1], str):
            query.setdefault(name, values[-1])
    return {name: unquote(value) for name, value in query.items()} if shape is Shape.BALANCER else query


def _texts(event: Mapping[str, Any], name: str) -> dict[str, str]:
    """A member that is an object of texts; what is none is left out, a list of a header's values becomes the last."""
    found = event.get(name)
    if found is None and name == "headers" and isinstance(many := event.get("multiValueHeaders"), dict):
        found = {key: values[-1] for key, values in many.items() if isinstance(values, list) and values}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _body(event: Mapping[str, Any]) -> bytes | str:
    body = event.get("body")
    if not isinstance(body, str):
        return ""
    if event.get("isBase64Encoded") is not True:
        return body
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise RequestError(400, "the body is not JSON") from None


def response(
    event: Mapping[str, Any], shape: Shape, status: int, headers: Mapping[str, str], body: Mapping[str, Any]
) -> dict[str, Any]:
    """An HTTP response in the form that its event asks for."""
    text = json.dumps(body, ensure_ascii=False)
    answer: dict[str, Any] = {"statusCode": status, "headers": dict(headers), "body": text}
    if shape is Shape.BALANCER:
        from http import HTTPStatus

        answer |= {"statusDescription": f"{status} {HTTPStatus(status).phrase}", "isBase64Encoded": False}
        if "multiValueHeaders" in event:
            answer["multiValueHeaders"] = {name: [value] for name, value in answer.pop("headers").items()}
    return answer
