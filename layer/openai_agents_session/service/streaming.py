"""The agent over HTTP, its answers streamed as they come into being: server-sent events, one a step.

A POST that accepts ``text/event-stream`` is answered by these, everything else as the other function answers it::

    started         {}                                the session is held and the agent is at work
    text            {"delta": "Hel"}
    tool_started    {"call_id", "tool", "arguments"}
    tool_finished   {"call_id", "output"}
    approval        {"run_id", "approvals", ...}      the run waits for a decision
    done            the answer, as it is given unstreamed
    error           {"status", "error", ...}          in place of done

What is refused before the agent is at work has its HTTP status. Comments keep the connection open while nothing
happens. On Lambda this runs behind the Lambda Web Adapter, which turns invocations into HTTP requests; on any other
machine it is a plain web server. The request is served by `AgentService.serve`, as the other function's are.

**A client that goes away** changes nothing: the turn goes on to its end or its deadline, and what it brings is stored.
Where the environment is frozen or ended before that, the lease runs out and the next turn puts the history in order.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..environment import environment
from . import page
from .observe import log_failure, logger, metrics, store_observer
from .request import respond
from .service import started
from .shapes import Shape

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from starlette.requests import Request as HttpRequest

    from .service import AgentService
    from .steps import Watch

T = TypeVar("T")

REQUEST_CONTEXT = "x-amzn-request-context"
LAMBDA_CONTEXT = "x-amzn-lambda-context"
SECONDS_OUTSIDE_LAMBDA = 300.0
MOST_REQUESTS = 64
"""Served at a time. On Lambda it is one; a page on one's own machine has a few."""

STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


@dataclass(frozen=True)
class StreamSettings:
    """How the streaming function serves.

    Attributes:
        serve_page: Whether ``GET /`` gives the chat page.
        heartbeat_seconds: After how long a silence a comment is sent.
        local_owner: Whose requests those are that come from this machine; None for nobody's. Without an owner there is
            no list of conversations.
        in_lambda: Whether the requests come from the Lambda Web Adapter, which nobody but Lambda reaches: only then is
            it believed what they say about the caller and the time.
    """

    serve_page: bool = False
    heartbeat_seconds: float = 10.0
    local_owner: str | None = None
    in_lambda: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings from SERVE_PAGE, HEARTBEAT_SECONDS and, outside Lambda, LOCAL_OWNER."""
        in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environ
        return cls(
            serve_page=environ.get("SERVE_PAGE") == "true",
            heartbeat_seconds=float(environ.get("HEARTBEAT_SECONDS") or 10),
            local_owner=None if in_lambda else environ.get("LOCAL_OWNER") or None,
            in_lambda=in_lambda,
        )


@dataclass(frozen=True)
class Invocation:
    """What is used of a Lambda context.

    Attributes:
        aws_request_id: Names the invocation.
        deadline: The Unix second at which it is over.
    """

    aws_request_id: str
    deadline: float

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until it is over."""
        return max(0, int((self.deadline - time.time()) * 1000))


@dataclass(frozen=True)
class Step:
    """One event of a stream."""

    name: str
    data: str


Answer = dict[str, Any]


def build_app(service: AgentService, settings: StreamSettings) -> Starlette:
    """The web application.

    Args:
        service: What answers.
        settings: How it is served.
    """

    async def resources(request: HttpRequest) -> Response:
        event = event_of(request, await request.body(), settings)
        serving = Serving(service, event, invocation_of(request.headers, in_lambda=settings.in_lambda))
        if request.method in ("POST", "PATCH") and not _is(request, "content-type", "application/json"):
            # A page of another site may send plain text to anyone, but JSON only to those who allow it.
            return _response(respond(event, Shape.HTTP, 415, {"error": "the content type must be application/json"}))
        if request.method == "POST" and _is(request, "accept", "text/event-stream"):
            return await serving.stream(settings.heartbeat_seconds)
        return _response(await serving.answer())

    async def health(_: HttpRequest) -> Response:
        return JSONResponse({"status": 200}, headers={"cache-control": "no-store"})

    start = page.routes() if settings.serve_page else [Route("/", health, methods=["GET"])]
    return Starlette(routes=[*start, Route("/{path:path}", resources, methods=["GET", "POST", "PATCH", "DELETE"])])


class Serving:
    """One request, served on a thread while its coroutine runs on this event loop.

    Args:
        service: What answers it.
        event: The request as a Lambda event.
        context: Its invocation.
    """

    _threads = ThreadPoolExecutor(MOST_REQUESTS, thread_name_prefix="serving")

    def __init__(self, service: AgentService, event: dict[str, Any], context: Invocation) -> None:
        self._service = service
        self._event = event
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[Step | Answer] = asyncio.Queue()

    async def answer(self) -> Answer:
        """The whole answer at once."""
        return await self._loop.run_in_executor(self._threads, self._serve)

    async def stream(self, heartbeat_seconds: float) -> Response:
        """The answer step by step, or at once if it is refused before there is any."""
        serving = self._loop.run_in_executor(self._threads, partial(self._serve, self._watch))
        serving.add_done_callback(lambda done: self._steps.put_nowait(done.result()))
        first = await self._steps.get()
        if isinstance(first, dict) and first["statusCode"] >= 400:
            return _response(first)
        return EventSourceResponse(self._events(first), ping=cast(int, heartbeat_seconds), headers=STREAM_HEADERS)

    def _watch(self, name: str, data: dict[str, Any]) -> None:
        self._steps.put_nowait(Step(name, json.dumps(data, ensure_ascii=False)))

    async def _events(self, step: Step | Answer) -> AsyncIterator[ServerSentEvent]:
        while isinstance(step, Step):
            yield ServerSentEvent(event=step.name, data=step.data)
            step = await self._steps.get()
        for last in last_steps(step):
            yield ServerSentEvent(event=last.name, data=last.data)

    def _serve(self, watch: Watch | None = None) -> Answer:
        context = cast("LambdaContext", self._context)
        logger.clear_state()
        logger.append_keys(function_request_id=self._context.aws_request_id)
        try:
            return self._service.serve(self._event, context, run=self._run, watch=watch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told that it is over
            log_failure("the request failed", error)
            return respond(self._event, Shape.HTTP, 500, {"error": "the function failed"})
        finally:
            store_observer.flush()
            metrics.flush_metrics()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def last_steps(answer: Answer) -> list[Step]:
    """The events that end a stream."""
    body = json.loads(answer["body"])
    if answer["statusCode"] >= 400:
        return [Step("error", answer["body"])]
    waiting = [Step("approval", json.dumps(body["pending"], ensure_ascii=False))] if "pending" in body else []
    return [*waiting, Step("done", answer["body"])]


def event_of(request: HttpRequest, body: bytes, settings: StreamSettings) -> dict[str, Any]:
    """A request as the Lambda event that it was, or would be.

    Args:
        request: The request.
        body: Its body.
        settings: They say whether to believe the adapter's headers, and who asks where nobody verifies it.
    """
    path = request.scope["raw_path"].decode("ascii")
    verified = _told(request.headers, REQUEST_CONTEXT) if settings.in_lambda else _local(settings)
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "headers": dict(request.headers),
        "queryStringParameters": dict(request.query_params),
        "requestContext": {"stage": "$default", **verified, "http": {"method": request.method, "path": path}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _local(settings: StreamSettings) -> dict[str, Any]:
    """The caller on one's own machine, in the form in which an authorizer tells of one."""
    if settings.local_owner is None:
        return {}
    return {"authorizer": {"jwt": {"claims": {"iss": "local", "sub": settings.local_owner}}}}


def invocation_of(headers: Mapping[str, str], *, in_lambda: bool) -> Invocation:
    """The invocation that a request is, by the adapter's header; outside Lambda it has a fixed time."""
    told = _told(headers, LAMBDA_CONTEXT) if in_lambda else {}
    deadline = told["deadline"] / 1000 if "deadline" in told else time.time() + SECONDS_OUTSIDE_LAMBDA
    return Invocation(told.get("request_id") or str(uuid.uuid4()), deadline)


def _told(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    """What the adapter says in a header: an object, or nothing."""
    try:
        told = json.loads(headers.get(name, "{}"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _response(answer: Answer) -> Response:
    return Response(answer["body"], answer["statusCode"], answer["headers"])


def _is(request: HttpRequest, header: str, media_type: str) -> bool:
    kinds = request.headers.get(header, "").lower().split(",")
    return any(kind.partition(";")[0].strip() == media_type for kind in kinds)


def serve_http(service: AgentService) -> None:
    """Serve on the port that PORT names, until a signal ends it.

    Args:
        service: What answers.
    """
    service.setup.preload()  # before anybody waits
    started()
    port = int(os.environ.get("PORT") or 8080)
    config = uvicorn.Config(
        build_app(service, StreamSettings.from_environ()),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    environment.run(uvicorn.Server(config).serve())
