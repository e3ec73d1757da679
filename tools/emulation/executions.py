"""Durable executions as AWS's own testing package keeps and drives them, for the endpoint in ``durable.py``.

Apart from that one, since the package takes a while to import and most who could have an execution never start one.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import aws_durable_execution_sdk_python_testing as testing
from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationInput
from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.exceptions import UnknownRouteError
from aws_durable_execution_sdk_python_testing.executor import Executor
from aws_durable_execution_sdk_python_testing.invoker import InvokeResponse, LambdaInvoker
from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput
from aws_durable_execution_sdk_python_testing.scheduler import Scheduler
from aws_durable_execution_sdk_python_testing.stores.memory import InMemoryExecutionStore
from aws_durable_execution_sdk_python_testing.web import handlers, routes
from aws_durable_execution_sdk_python_testing.web.models import HTTPRequest
from aws_durable_execution_sdk_python_testing.worker.registry import ExecutionRegistry

REGION, ACCOUNT = "us-east-1", "123456789012"
_EXECUTION_SECONDS = 86_400

_SERVED: Mapping[type[routes.Route], type[handlers.EndpointHandler]] = {
    routes.CheckpointDurableExecutionRoute: handlers.CheckpointDurableExecutionHandler,
    routes.GetDurableExecutionStateRoute: handlers.GetDurableExecutionStateHandler,
    routes.GetDurableExecutionRoute: handlers.GetDurableExecutionHandler,
    routes.CallbackSuccessRoute: handlers.SendDurableExecutionCallbackSuccessHandler,
    routes.CallbackFailureRoute: handlers.SendDurableExecutionCallbackFailureHandler,
    routes.CallbackHeartbeatRoute: handlers.SendDurableExecutionCallbackHeartbeatHandler,
}


@dataclass(frozen=True)
class Answer:
    """What a request is answered with.

    Attributes:
        status: The HTTP status.
        headers: Its headers.
        body: Its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""


class AlreadyStartedError(Exception):
    """The name is that of an execution with another payload."""


class Executions:
    """Executions of one function, for as long as this process lives.

    Args:
        invoke: Has the function invoked with an event; raises whatever it likes when that fails.
    """

    def __init__(self, invoke: Callable[[Any], Any]) -> None:
        # It warns of each invocation that was killed, and calls each execution an error that ended without a result.
        logging.getLogger(testing.__name__).setLevel(logging.CRITICAL)
        store = InMemoryExecutionStore()
        self._scheduler = Scheduler()
        self._registry = ExecutionRegistry(store, self._scheduler)
        processor = CheckpointProcessor(store, self._scheduler)
        self._executor = Executor(
            store, self._scheduler, _Invoker(invoke), processor, registry=self._registry, region=REGION
        )
        self._executor.RETRY_BACKOFF_SECONDS = 0  # nobody learns anything from the 5 s that it would wait
        processor.add_execution_observer(self._executor)
        self._router = routes.Router(list(_SERVED))
        self._handlers = {route: handler(self._executor) for route, handler in _SERVED.items()}
        self._starting = threading.Lock()
        self._started: dict[str, tuple[bytes, str]] = {}
        self._scheduler.start()  # type: ignore[no-untyped-call]

    def start(self, function: str, name: str | None, payload: bytes) -> str:
        """Start an execution, or find the one that was started by the same request.

        Args:
            function: The function's name and qualifier, as "name:live".
            name: The execution's; a new one when left out.
            payload: The function's event, as JSON.

        Returns:
            The execution's ARN, which here is only a name.

        Raises:
            AlreadyStartedError: The name was given with another payload.
        """
        name = name or uuid.uuid4().hex
        with self._starting:
            if name not in self._started:
                self._started[name] = payload, self._new(function, name, payload)
        first, arn = self._started[name]
        if first != payload:
            raise AlreadyStartedError(name)
        return arn

    def _new(self, function: str, name: str, payload: bytes) -> str:
        function_name, _, qualifier = function.partition(":")
        started = self._executor.start_execution(
            StartDurableExecutionInput(
                account_id=ACCOUNT,
                function_name=function_name,
                function_qualifier=qualifier,
                execution_name=name,
                execution_timeout_seconds=_EXECUTION_SECONDS,
                execution_retention_period_days=1,
                input=payload.decode(),
            )
        )
        return str(started.execution_arn)

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """Answer a request about an execution or a callback."""
        try:
            route = self._router.find_route(path, method)
        except UnknownRouteError as error:
            return Answer(404, {"x-amzn-errortype": "ResourceNotFoundException"}, str(error).encode())
        read = HTTPRequest.from_raw_bytes if isinstance(route, routes.BytesPayloadRoute) else HTTPRequest.from_bytes
        request = read(body, method=method, path=route, query_params=parse_qs(query))
        answer = self._handlers[type(route)].handle(route, request)
        kind = {"x-amzn-errortype": answer.body["Type"]} if answer.status_code >= 400 else {}
        return Answer(answer.status_code, answer.headers | kind, answer.body_to_bytes())

    def running(self) -> int:
        """How many executions have not ended."""
        return sum(not self._executor.get_execution(arn).is_complete for _, arn in self._started.values())

    def statuses(self) -> list[str]:
        """What Lambda says of each execution, in the order of their starts: RUNNING, SUCCEEDED, FAILED."""
        return [self._executor.get_execution(arn).current_status().value for _, arn in self._started.values()]

    def stop(self) -> None:
        """End every execution, as an operator does, or its time when it is over."""
        for _, arn in self._started.values():
            self._executor.stop_execution(arn)

    def close(self) -> None:
        """Invoke nothing any more."""
        self._executor.shutdown()
        self._registry.shutdown()
        self._scheduler.stop()  # type: ignore[no-untyped-call]
        self._scheduler._loop.close()  # which it leaves open


class _Invoker(LambdaInvoker):
    """Invokes the function here, and not through an endpoint."""

    def __init__(self, invoke: Callable[[Any], Any]) -> None:
        super().__init__(lambda_client=None)
        self._invoke = invoke

    def invoke(self, function_name: str, input: DurableExecutionInvocationInput, *_: Any, **__: Any) -> InvokeResponse:  # noqa: A002 - its name
        """Invoke the function once."""
        return InvokeResponse.from_output(self._invoke(input.to_json_dict()), uuid.uuid4().hex)
