"""The agent over HTTP, its answers streamed as they come into being: server-sent events, one a step.

A POST that accepts ``text/event-stream`` is answered by these, everything else as the other function answers it::

    started         {}                                the session is held and the agent is at work
    text            {"delta": "Hel"}
    tool_started    {"call_id", "tool", "arguments"}
    tool_finished   {"call_id", "output"}
    approval        {"run_id", "approvals", ...}      the run waits for a decision
    done            the answer, as it is given unstreamed
    error           {"status", "error", ...}          in place of done

What is refused before the agent is at work has its HTTP status. So has what is answered of a durable run, which goes on
elsewhere. Comments keep the connection open while nothing happens. On Lambda this runs behind the Lambda Web Adapter,
which turns invocations into HTTP requests; on any other machine it is a plain web server. The request is served by
`AgentService.serve`, as the other function's are.

**A client that goes away** changes nothing: the turn goes on to its end or its deadline, and what it brings is stored.
Where the environment is frozen or ended before that, the lease runs out and the next turn puts the history in order.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..environment import environment
from . import page
from .ending import begin_anew, inherited
from .errors import RequestError
from .observe import log_failure, logger, metrics, store_observer
from .request import respond
from .sendable import clean
from .service import refuse, started
from .shapes import Shape
from .threads import are_exhausted

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from starlette.requests import Request as HttpRequest
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .service import AgentService
    from .steps import Watch
    from .tokens import Tokens

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
        issuer: Whose tokens say who the caller is; empty: the adapter does.
        audiences: For whom a token may be.
        heartbeat_seconds: After how long a silence a comment is sent.
        local_owner: Whose requests those are that come from this machine; None for nobody's. Without an owner there is
            no list of conversations.
        in_lambda: Whether the requests come from the Lambda Web Adapter, which nobody but Lambda reaches: only then is
            it believed what they say about the caller and the time.
    """

    serve_page: bool = False
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    heartbeat_seconds: float = 10.0
    local_owner: str | None = None
    in_lambda: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read SERVE_PAGE, HEARTBEAT_SECONDS, JWT_ISSUER, JWT_AUDIENCE and, outside Lambda, LOCAL_OWNER.

        Raises:
            ValueError: There is an issuer and no audience.
        """
        issuer, audience = environ.get("JWT_ISSUER") or "", environ.get("JWT_AUDIENCE") or ""
        audiences = tuple(name.strip() for name in audience.split(",") if name.strip())
        if issuer and not audiences:
            raise ValueError("JWT_ISSUER needs JWT_AUDIENCE: a token for another application would be accepted")
        in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environ
        return cls(
            serve_page=environ.get("SERVE_PAGE") == "true",
            issuer=issuer,
            audiences=audiences,
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
    tokens = _tokens(settings)

    async def resources(request: HttpRequest) -> Response:
        event = event_of(request, await request.body(), settings)
        if tokens is not None:
            try:
                claims = await asyncio.to_thread(tokens.claims, request.headers)
            except RequestError as refusal:
                return _response(refuse(event, refusal))
            event["requestContext"]["authorizer"] = {"jwt": {"claims": claims}}
        serving = Serving(service, event, invocation_of(request.headers, in_lambda=settings.in_lambda))
        if request.method in ("POST", "PATCH") and not _is(request, "content-type", "application/json"):
            # A page of another site may send plain text to anyone, but JSON only to those who allow it.
            return _response(respond(event, Shape.HTTP, 415, {"error": "the content type must be application/json"}))
        if request.method == "POST" and _is(request, "accept", "text/event-stream") and not _is_durable(event):
            return await serving.stream(settings.heartbeat_seconds)
        return _response(await serving.answer())

    async def sign_in() -> dict[str, str]:
        return await asyncio.to_thread(_sign_in, tokens)

    async def health(_: HttpRequest) -> Response:
        return JSONResponse({"status": 200}, headers={"cache-control": "no-store"})

    start = page.routes(sign_in) if settings.serve_page else [Route("/", health, methods=["GET"])]
    # A page of another site may have a name that leads here: it is then of the same origin, but not of this name.
    here = [] if settings.in_lambda else [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])]
    routes = [*start, Route("/{path:path}", resources, methods=["GET", "POST", "PATCH", "DELETE"])]
    return Starlette(middleware=here, routes=routes)


class Serving:
    """One request, served on a thread while its coroutine runs on this event loop.

    Args:
        service: What answers it.
        event: The request as a Lambda event.
        context: Its invocation.
    """

    _threads = ThreadPoolExecutor(MOST_REQUESTS, thread_name_prefix="serving")
    under_way: ClassVar[set[asyncio.Future[Answer]]] = set()
    """What is being served; who asked may have gone away."""

    def __init__(self, service: AgentService, event: dict[str, Any], context: Invocation) -> None:
        self._service = service
        self._event = event
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[Step | Answer] = asyncio.Queue()

    async def answer(self) -> Answer:
        """The whole answer at once."""
        return await self._begin()

    async def stream(self, heartbeat_seconds: float) -> Response:
        """The answer step by step, or at once if it is refused before there is any, or the turn goes on elsewhere."""
        serving = self._begin(self._watch)
        serving.add_done_callback(lambda done: self._steps.put_nowait(done.result()))
        first = await self._steps.get()
        if isinstance(first, dict) and (first["statusCode"] >= 400 or "durable" in json.loads(first["body"])):
            return _response(first)
        return EventSourceResponse(self._events(first), ping=cast(int, heartbeat_seconds), headers=STREAM_HEADERS)

    def _begin(self, watch: Watch | None = None) -> asyncio.Future[Answer]:
        serving = self._loop.run_in_executor(self._threads, partial(self._serve, watch))
        self.under_way.add(serving)
        serving.add_done_callback(self.under_way.discard)
        return serving

    def _watch(self, name: str, data: dict[str, Any]) -> None:
        # What a tool returned, or a model called it with, may hold half of a surrogate pair, which cannot be sent.
        self._steps.put_nowait(Step(name, json.dumps(clean(data), ensure_ascii=False)))

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


class EndsWhenExhausted:
    """Tells when the process should end: tools hold too many of its threads, and everybody has their answer.

    Args:
        app: The web application.
        end: Called when it should.
    """

    def __init__(self, app: ASGIApp, end: Callable[[], object]) -> None:
        self._app, self._end = app, end
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        self._answering += scope["type"] == "http"
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering -= scope["type"] == "http"
            if not self._answering and not Serving.under_way and are_exhausted():
                self._end()


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


def _tokens(settings: StreamSettings) -> Tokens | None:
    """What verifies tokens, where any are wanted."""
    if not settings.issuer:
        return None
    from .tokens import Tokens  # which loads cryptography

    return Tokens(settings.issuer, settings.audiences)


def _sign_in(tokens: Tokens | None) -> dict[str, str]:
    """What the page needs to sign people in; nothing where nobody has to."""
    try:
        return tokens.sign_in if tokens is not None else {}
    except (OSError, ValueError, KeyError) as error:
        log_failure("the tokens' issuer does not say how to sign in", error)
        return {}


def _response(answer: Answer) -> Response:
    return Response(answer["body"], answer["statusCode"], answer["headers"])


def _is_durable(event: Mapping[str, Any]) -> bool:
    """Whether a message is for a durable run: there are no steps to tell."""
    try:
        body = json.loads(base64.b64decode(event["body"]) or b"null")
    except (ValueError, RecursionError):  # it is refused later
        return False
    return isinstance(body, dict) and body.get("durable") is True


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
    listening = inherited() or socket.create_server(("127.0.0.1", int(os.environ.get("PORT") or 8080)))

    def end() -> None:
        config.timeout_graceful_shutdown = None  # who has connected in the meantime is served to the end
        server.should_exit = True

    app = EndsWhenExhausted(build_app(service, StreamSettings.from_environ()), end)
    config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    environment.run(server.serve(sockets=[listening.dup()]))  # which it closes, and with it no connection that waits
    if are_exhausted():
        begin_anew(listening)
