"""One invocation of a durable function in a process of its own, which may be killed at any point of it.

AWS's test runner stands for the service, in the test's process. Each time that it invokes the function, a process is
forked from a server that has everything imported; what it asks of the service goes through a pipe. It meets a *point*
before and after every checkpoint, store request, model call and tool, and dies by SIGKILL at the one that it was told.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiobotocore.client import AioBaseClient
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.execution import (
    DurableExecutionInvocationInput,
    DurableExecutionInvocationInputWithClient,
)
from aws_durable_execution_sdk_python.lambda_service import DurableServiceClient
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner

from openai_agents_session import StorageOptions, durable
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment
from tests.support import durable_agents
from tests.support.durable_agents import Ledger

_PRELOADED = ["tests.support.durable_worker"]
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """What a function is, in every process.

    Attributes:
        endpoint_url: Of DynamoDB.
        table: The table.
        folder: Where ledgers are.
        agent: The name of a function of ``durable_agents`` that makes the agent.
        session_id: The session.
        options: For ``durable.run``.
        fatal: At which points it dies, counted over all its processes from 0.
        ahead_seconds: How far its clock is ahead.
    """

    endpoint_url: str
    table: str
    folder: Path
    agent: str = "payer"
    session_id: str = "ada"
    options: durable.DurableOptions = durable.DurableOptions()  # noqa: RUF009 - it is frozen
    fatal: frozenset[int] = frozenset()
    ahead_seconds: float = 0.0

    @property
    def effects(self) -> Ledger:
        """What was done."""
        return Ledger(self.folder / "effects")

    @property
    def points(self) -> list[str]:
        """The points that were met."""
        return (self.folder / "points").read_text().splitlines()


class DiedError(Exception):
    """The process died."""


class Points:
    """Counts points over all processes of a job, and dies at those that are fatal."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ledger = Ledger(job.folder / "points")
        self._lock = threading.Lock()

    def __call__(self, point: str) -> None:
        """A point is met."""
        with self._lock:
            self._ledger.note(point)
            if len(self._job.points) - 1 in self._job.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


class PipedService(DurableServiceClient):
    """The service, at the other end of a pipe."""

    def __init__(self, pipe: Connection, points: Points) -> None:
        self._pipe, self._points = pipe, points
        self._lock = threading.Lock()

    def checkpoint(self, *arguments: Any, **named: Any) -> Any:
        """Checkpoint."""
        self._points("checkpoint before")
        answer = self._asked("checkpoint", *arguments, **named)
        self._points("checkpoint after")
        return answer

    def get_execution_state(self, *arguments: Any, **named: Any) -> Any:
        """Read."""
        return self._asked("get_execution_state", *arguments, **named)

    def _asked(self, method: str, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            self._pipe.send((method, arguments, named))
            answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def service_for(handler: Callable[[Any, Any], Any]) -> Iterator[DurableFunctionTestRunner]:
    """AWS's test runner for a function; what it leaves open is closed, too."""
    runner = DurableFunctionTestRunner(handler, poll_interval=0.05)
    try:
        with runner:
            yield runner
    finally:
        runner._scheduler._loop.close()


def invoked_elsewhere(job: Job) -> Callable[[Any, Any], Any]:
    """The function's handler, for AWS's test runner: each invocation is a process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)

    def handler(event: DurableExecutionInvocationInputWithClient, _: Any) -> Any:
        ours, theirs = context.Pipe()
        given = DurableExecutionInvocationInput(
            event.durable_execution_arn,
            event.checkpoint_token,
            event.initial_execution_state,
            updated_operation_ids=event.updated_operation_ids,
        )
        process = context.Process(target=_main, args=(theirs, job, given))
        process.start()
        theirs.close()
        try:
            return _served(ours, event.service_client)
        finally:
            process.join(_PATIENCE_SECONDS)
            process.close()
            ours.close()

    return handler


def _served(pipe: Connection, service: Any) -> Any:
    """Answer what the process asks of the service; its result. Raises ``DiedError`` when it died."""
    while True:
        try:
            method, arguments, named = pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise DiedError("the process was killed") from error
        if method == "over":
            return named
        try:
            answer: Any = getattr(service, method)(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - it is the process's
            answer = error
        pipe.send(answer)


def _main(pipe: Connection, job: Job, given: DurableExecutionInvocationInput) -> None:
    points = Points(job)
    _watch_requests(points)
    event = DurableExecutionInvocationInputWithClient.from_durable_execution_invocation_input(
        given, PipedService(pipe, points)
    )
    handler = handler_of(job, points)
    pipe.send(("over", (), handler(event, LambdaContext())))
    pipe.close()


class LambdaContext:
    """An invocation with a quarter of an hour."""

    aws_request_id = "request"
    seconds = 900.0

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds that are left."""
        return int(self.seconds * 1000)


def handler_of(
    job: Job, points: Callable[[str], None] = lambda _: None, *, environment: ExecutionEnvironment | None = None
) -> Callable[[Any, Any], Any]:
    """The durable function's handler, in this process."""
    here = environment or environment_of(job)
    agent = getattr(durable_agents, job.agent)(job.effects, points)

    @durable_execution
    def handler(event: Any, context: Any) -> Any:
        session = here.run(here.open_session(job.session_id, options=options_of(job)))
        outcome = durable.run(context, agent, event["message"], session=session, environment=here, options=job.options)
        return outcome.to_dict()

    return handler


def environment_of(job: Job) -> ExecutionEnvironment:
    """An environment with the job's table."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    return ExecutionEnvironment(EnvironmentSettings(job.table, "us-east-1", None, job.endpoint_url))


def options_of(job: Job) -> StorageOptions:
    """The store's, with the job's clock."""
    return StorageOptions(clock=lambda: time.time() + job.ahead_seconds)


def _watch_requests(points: Points) -> None:
    """Meet a point before and after every request to DynamoDB."""
    client: Any = AioBaseClient
    call = client._make_api_call

    @functools.wraps(call)
    async def watched(self: Any, operation: str, parameters: Any) -> Any:
        points(f"{operation} before")
        answer = await call(self, operation, parameters)
        await asyncio.sleep(0)
        points(f"{operation} after")
        return answer

    client._make_api_call = watched
