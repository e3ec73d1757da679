"""One event loop and one DynamoDB client for as long as a Lambda execution environment lives.

Lambda calls a synchronous handler many times in the same process. `asyncio.run` would give each invocation an event
loop of its own, and a client is bound to the loop that made it: every invocation would load DynamoDB's service model
and open a connection again, or fail with "Event loop is closed" on the client that it kept. Here both outlive the
invocation:

    from openai_agents_session.environment import open_session, run

    def handler(event, context):
        return run(turn(event))

    async def turn(event):
        session = await open_session(event["session_id"])
        result = await Runner.run(agent, event["message"], session=session)
        return {"answer": result.final_output}

What it needs to know it reads from environment variables, at the first use and not at import:

    SESSION_TABLE              the table's name (required)
    SESSION_TTL_SECONDS        seconds after its last write at which a session expires; empty or 0: never
    AWS_REGION                 set by Lambda; AWS_DEFAULT_REGION is read where it is missing
    AWS_ENDPOINT_URL_DYNAMODB  another endpoint than AWS's own; empty counts as unset
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import logging
import os
import random
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiobotocore.session import AioSession

from . import _whole  # noqa: F401 - first of all: it raises where another library wrote over this one
from ._loops import close_runner
from .client import OwnedClient
from .dynamodb import DynamoDBSession
from .errors import EventLoopError, SettingError
from .storage.receipts import renew_writers
from .storage.retry import reseed

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["EnvironmentSettings", "ExecutionEnvironment", "client", "environment", "open_session", "run"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_lasting: contextvars.ContextVar[bool] = contextvars.ContextVar("lasting", default=False)
"""Whether a task that is made now belongs to the environment. Tasks inherit it from the task that makes them."""

# What an invocation left running is cancelled, and may take this long to clean up before the invocation ends.
_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class EnvironmentSettings:
    """Where sessions are kept.

    Attributes:
        table_name: The DynamoDB table.
        region_name: The table's AWS region.
        ttl_seconds: Seconds after its last write at which a session expires; None: never.
        endpoint_url: Another endpoint than AWS's own, such as a local engine.
    """

    table_name: str
    region_name: str
    ttl_seconds: int | None = None
    endpoint_url: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from environment variables.

        Args:
            environ: The variables; the process's own when left out.

        Returns:
            The settings.

        Raises:
            SettingError: A variable is missing or wrong; the message names it.
        """
        variables = os.environ if environ is None else environ
        return cls(
            table_name=_required(variables, "SESSION_TABLE"),
            region_name=_required(variables, "AWS_REGION", "AWS_DEFAULT_REGION"),
            ttl_seconds=_optional_seconds(variables, "SESSION_TTL_SECONDS"),
            endpoint_url=variables.get("AWS_ENDPOINT_URL_DYNAMODB") or None,
        )


class ExecutionEnvironment:
    """The event loop and the client that all invocations in this process share.

    Most code uses this module's `run`, `open_session` and `client`, which share one instance. Make another only for
    other settings.

    Args:
        settings: Where sessions are kept; read from the environment variables at first use when left out.
    """

    def __init__(self, settings: EnvironmentSettings | None = None) -> None:
        self._settings = settings
        self._state: _State | None = None
        self._running = (os.getpid(), threading.Lock())

    @property
    def settings(self) -> EnvironmentSettings:
        """Where sessions are kept.

        Raises:
            SettingError: They were to be read from environment variables, and one is missing or wrong.
        """
        if self._settings is None:
            self._settings = EnvironmentSettings.from_environ()
        return self._settings

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the environment's event loop.

        As with `asyncio.run`, tasks that the coroutine started and did not await are cancelled: nothing of one
        invocation goes on in the next, even where an exception out of a signal handler tore it off in the middle.

        Args:
            coroutine: The work of one invocation.

        Returns:
            What the coroutine returns.

        Raises:
            EventLoopError: An event loop is already running in this thread; await the coroutine there instead. Or
                another thread runs an invocation in this environment; make an `ExecutionEnvironment` for each thread.
        """
        if _loop_is_running():
            coroutine.close()
            raise EventLoopError("an event loop is already running here: await the coroutine instead of calling run()")
        running = self._own_lock()
        if not running.acquire(blocking=False):
            coroutine.close()
            raise EventLoopError(
                "another thread is running an invocation in this environment, whose event loop and client are its own: "
                "make an ExecutionEnvironment for each thread"
            )
        try:
            state = self._own_state()
            state.cancel_leftovers()
            try:
                # A copy, so that context variables set in one invocation do not reach the next.
                return state.runner.run(coroutine, context=contextvars.copy_context())
            finally:
                state.cancel_leftovers()
        finally:
            running.release()

    async def client(self) -> DynamoDBClient:
        """The environment's DynamoDB client, made at the first call.

        Returns:
            The client. It belongs to the environment: do not close it.

        Raises:
            EventLoopError: The calling coroutine does not run under this environment's `run`.
            SettingError: An environment variable is missing or wrong.
        """
        state = self._own_state()
        if asyncio.get_running_loop() is not state.runner.get_loop():
            raise EventLoopError(
                "the client belongs to another event loop: start the coroutine with the environment's run()"
            )
        return await state.client(self.settings)

    async def open_session(self, session_id: str, **options: Any) -> DynamoDBSession:
        """A session in the environment's table.

        Args:
            session_id: The session's id.
            **options: Passed to `DynamoDBSession`; `table_name` and `ttl_seconds` replace the environment's.

        Returns:
            The session. It needs no closing.

        Raises:
            EventLoopError: The calling coroutine does not run under this environment's `run`.
            InvalidInputError: The id is wrong.
            SettingError: An environment variable is.
        """
        settings = self.settings
        arguments = {"table_name": settings.table_name, "ttl_seconds": settings.ttl_seconds} | options
        return DynamoDBSession(session_id, await self.client(), **arguments)

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        """Tasks made in this block, and those that they make, belong to the environment and outlive the invocation.

        For connections with tasks of their own, such as those to MCP servers. Lambda freezes them between invocations.
        """
        self._own_state().note_lasting_tasks()
        token = _lasting.set(True)
        try:
            yield
        finally:
            _lasting.reset(token)

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed with the client: at the environment's end, and after a restore from a snapshot.

        Args:
            close: Called once, on the environment's event loop.
        """
        self._own_state().closers.append(close)

    def warm(self) -> None:
        """Make the client now, so that the first invocation (or a snapshot) finds the service model loaded."""
        self.run(self.client())

    def renew(self) -> None:
        """Take other connections, credentials and random numbers, after the process was restored from a snapshot.

        The snapshot's connections are dead, its credentials are those of the time it was taken, and every environment
        restored from it would draw the same random numbers, so that their retries would collide again and again.
        The service model stays loaded.
        """
        random.seed()
        reseed()
        renew_writers()
        if self._state is not None:
            self.run(self._state.close_client())

    def register_snapstart_hooks(self) -> bool:
        """Have Lambda SnapStart call `warm` before it takes a snapshot and `renew` after it restored one.

        Returns:
            Whether the runtime has SnapStart's hooks; without them nothing is registered.
        """
        try:
            import snapshot_restore_py
        except ImportError:
            return False
        snapshot_restore_py.register_before_snapshot(self.warm)
        snapshot_restore_py.register_after_restore(self.renew)
        return True

    def close(self) -> None:
        """Close the client and the event loop. The environment can be used again: it then makes new ones."""
        running = self._own_lock()
        if not running.acquire(blocking=False):
            raise EventLoopError("an invocation is running in this environment: close it when that has ended")
        try:
            state, self._state = self._state, None
            if state is not None and state.pid == os.getpid():
                state.close()
        finally:
            running.release()

    def _own_lock(self) -> threading.Lock:
        """Held while an invocation runs. A forked child has its own: nobody there would release its parent's."""
        if self._running[0] != os.getpid():
            self._running = (os.getpid(), threading.Lock())
        return self._running[1]

    def _own_state(self) -> _State:
        # A forked child shares its parent's sockets: it must neither use nor close them, so it leaves them behind.
        if self._state is None or self._state.pid != os.getpid():
            self._state = _State()
        return self._state


class _State:
    """What one process keeps between invocations."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runner = asyncio.Runner()
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self._lasting: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._notes_lasting = False
        self._making = asyncio.Lock()
        self._owned: OwnedClient | None = None
        self._loader: Any = None

    async def client(self, settings: EnvironmentSettings) -> DynamoDBClient:
        async with self._making:
            if self._owned is None:
                self._owned = await OwnedClient.open(settings.region_name, settings.endpoint_url, self._session())
            return self._owned.client

    def _session(self) -> AioSession:
        """A new session, hence new credentials, on the service models that were loaded before."""
        session = AioSession()
        if self._loader is None:
            self._loader = session.get_component("data_loader")
        else:
            session.register_component("data_loader", self._loader)
        return session

    def note_lasting_tasks(self) -> None:
        """Have the event loop tell lasting tasks from others when they are made: later, nothing tells."""
        if self._notes_lasting:
            return
        self._notes_lasting = True

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
            context = options.get("context")
            if context.get(_lasting, False) if context is not None else _lasting.get():
                self._lasting.add(task)
            return task

        self.runner.get_loop().set_task_factory(make)

    async def close_client(self) -> None:
        closers, self.closers = self.closers, []
        for close in closers:
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - what is left must be closed, too
                logger.warning("something of the environment could not be closed: %s", type(error).__name__)
        owned, self._owned = self._owned, None
        if owned:
            await owned.close()

    def cancel_leftovers(self) -> None:
        self._cancel(asyncio.all_tasks(self.runner.get_loop()) - set(self._lasting))

    def _cancel(self, tasks: set[asyncio.Task[Any]]) -> None:
        if not tasks:
            return
        for task in tasks:
            task.cancel("the invocation that started this task has ended")
        _, still_running = self.runner.run(asyncio.wait(tasks, timeout=_GRACE_SECONDS))
        for task in still_running:
            logger.warning("a task outlives the invocation that started it: %s", task.get_name())

    def close(self) -> None:
        self.cancel_leftovers()
        self.runner.run(self.close_client())
        self._cancel(asyncio.all_tasks(self.runner.get_loop()))
        close_runner(self.runner)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _required(variables: Mapping[str, str], name: str, *others: str) -> str:
    for candidate in (name, *others):
        if value := variables.get(candidate):
            return value
    raise SettingError(f"the environment variable {name} is not set")


def _optional_seconds(variables: Mapping[str, str], name: str) -> int | None:
    text = variables.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise SettingError(f"the environment variable {name} must be a whole number of seconds, not {text!r}")
    return int(text) or None


environment = ExecutionEnvironment()
"""The environment that this module's functions use."""

run = environment.run
"""`ExecutionEnvironment.run` of this process."""

open_session = environment.open_session
"""`ExecutionEnvironment.open_session` of this process."""

client = environment.client
"""`ExecutionEnvironment.client` of this process."""

# Lambda ends the process without this; elsewhere it spares the warnings about a client that was never closed.
atexit.register(environment.close)
