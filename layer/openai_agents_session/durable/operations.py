"""Operations of a durable execution, asked for by coroutines.

AWS's SDK is synchronous: a step calls a function and blocks until its result is checkpointed. An agent is a coroutine
that does several things at once. So each operation has a thread of its own, and what it does runs on the event loop
that the agent runs on, too, where its clients and connections belong::

    event loop   agent asks ──▶ ······················ body runs ························ ──▶ agent goes on
    thread                  ──▶ step: checkpoint START ──▶ waits ──▶ checkpoint SUCCEED   ──▶

AWS numbers the operations of a context in the order in which they are asked for. With several tasks that order is a
matter of timing, and a replay has another timing. So each operation has its own numbering, under a name that says what
it is ("model 2", "tool pay call_7"): virtual child contexts, as AWS's own ``parallel`` makes them.

Numbers would have shown that a replay asks for something else. Names do not, so that is checked here: each result is
kept with a digest of what was asked, and a new model call or approval is made only when the replay has asked for
everything that is recorded.

What ends an invocation (a suspension, a lost checkpoint, a mismatch) is never raised inside the agent, whose code could
catch it: the agent is left where it stands, operations under way come to their end, and ``ended`` says why.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from aws_durable_execution_sdk_python import DurableContext, DurableOperationError, StepContext, StepError
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, StepConfig, StepSemantics
from aws_durable_execution_sdk_python.context import Callback
from aws_durable_execution_sdk_python.lambda_service import Operation, OperationStatus
from aws_durable_execution_sdk_python.retries import RetryDecision
from aws_durable_execution_sdk_python.serdes import PassThroughSerDes

from ..errors import ReplayMismatchError, SessionError
from .large import LargeResults
from .options import DurableOptions

T = TypeVar("T")
Body = Callable[[], Awaitable[Any]]

CHECKPOINT_SECONDS = 3.0
"""What of an invocation is left for a checkpoint: a model that has not answered by then is given up, and asked again in
another invocation. Otherwise the invocation would fail, and AWS ends an execution after a few of these."""

_TEXT: PassThroughSerDes[str] = PassThroughSerDes()
_NAME_LIMIT = 200
_LONGEST_PAUSE_SECONDS = 60
_FIRST_RETRY_SECONDS = 2
_LONGEST_RETRY_SECONDS = 300

# What a replay may ask for later, or not again: these run beside a model call, or depend on the invocation.
_UNORDERED = ("guardrail ", "pause ")

# Of these several run at a time.
_BESIDE = ("tool ", "handoff ", "mcp ")

_logger = logging.getLogger(__name__)


class AbandonedError(BaseException):
    """The event loop ended what a step was doing: its outcome is unknown, so it must not be checkpointed as failed."""


class PauseError(BaseException):
    """The run goes on in another invocation.

    Attributes:
        seconds: Seconds until then.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:g} s")
        self.seconds = seconds


class TryAgainError(Exception):
    """What an operation asked for failed in a way that may pass.

    AWS's SDK logs it, and whatever it is chained to: raise it ``from None``. The failure's own text may quote what was
    said, and is kept in the operation's record alone, after the last attempt.

    Attributes:
        failure: What failed.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(f"{type(failure).__name__}: it may pass")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Failed:
    """An operation's body raised.

    Attributes:
        kind: The exception's class.
        text: Its text.
        code: The word for it that ``DurableOptions.code_of`` gave.
    """

    kind: str
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An operation that runs at most once began in an environment that died: it may have had effects."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation's result: what JSON has of it."""

    value: Any


Outcome = Done | Failed | Interrupted


def digest(*asked: Any) -> str:
    """What stands for a request in a checkpoint: two that differ have another one."""
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


class Operations:
    """The operations of one run in one invocation.

    Args:
        context: The durable context that they belong to.
        run: The run's name, in front of theirs.
        large: Where results go that are too large for a checkpoint.
        options: How often, how long, how large.
        ready: Awaited before anything new is done: it takes the session.
    """

    def __init__(
        self,
        context: DurableContext,
        run: str,
        large: LargeResults,
        options: DurableOptions,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._context, self._run, self._options = context, run, options
        self._execution = context.execution_context.durable_execution_arn
        self._large, self._ready = large, ready
        # Of a short invocation the reserve is half: otherwise it would begin nothing at all, for ever.
        self._reserve_seconds = min(options.reserve_seconds, self.seconds_left() / 2)
        self._loop = asyncio.get_running_loop()
        self._recorded = _recorded(context, f"{run}/")
        self._asked: set[str] = set()
        self._threads = ThreadPoolExecutor(options.parallel, thread_name_prefix="durable-operation")
        self._under_way: set[asyncio.Future[Any]] = set()
        self.ended: asyncio.Future[BaseException] = self._loop.create_future()

    # --- what the agent asks for -------------------------------------------------------------------------------------

    async def step(
        self, name: str, body: Body, *, asked: str = "", at_most_once: bool = False, is_phase: bool = False
    ) -> Outcome:
        """The outcome of an operation: from its checkpoint, or from doing it now.

        Args:
            name: What it is, unique in the run.
            body: Does it. Returns what JSON has; raises ``TryAgainError`` for another attempt after a pause.
            asked: The digest of what it depends on.
            at_most_once: It does not run again once it began.
            is_phase: Everything that was recorded before it must have been asked for.

        Returns:
            What became of it. Does not return when the invocation ends.
        """
        self._ask(name, is_phase=is_phase)
        await self._readied(name)
        config = StepConfig(
            retry_strategy=self._again,
            step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY
            if at_most_once
            else StepSemantics.AT_LEAST_ONCE_PER_RETRY,
            serdes=_TEXT,
        )
        variables = contextvars.copy_context()

        def attempt(step: StepContext) -> str:
            return self._on_loop(lambda: self._made(name, asked, body, step.attempt), variables)

        try:
            text = await self._in_thread(lambda: self._place(name).step(attempt, self._label(name), config))
        except StepError:
            self._large.is_used = True  # perhaps: its result may have been kept before its environment died
            return Interrupted()
        return await self._read(name, asked, text)

    async def callback(self, name: str) -> Callback[str]:
        """A callback: what waits for its result waits without an environment."""
        self._ask(name, is_phase=True)
        await self._readied(name)
        seconds = self._options.approval_seconds
        config = CallbackConfig(
            timeout=Duration(0) if seconds is None else Duration.from_seconds(seconds), serdes=_TEXT
        )
        made: Callback[str] = await self._in_thread(
            lambda: self._place(name).create_callback(self._label(name), config)
        )
        return made

    async def result_of(self, callback: Callback[str]) -> str | None:
        """What was sent to a callback. Raises AWS's ``CallbackError`` when it failed or timed out."""
        return await self._in_thread(callback.result)

    async def all_asked(self) -> None:
        """The run is at its end: everything that is recorded must have been asked for."""
        self._check_asked("its answer")
        if self.ended.done():
            await self._never()

    async def pause(self, seconds: float) -> None:
        """End the invocation, when nothing is under way any more: AWS calls the function again after so many seconds.

        Or sooner, in the run's first pauses: what it waits for may take much less than it could.

        Raises:
            SuspendExecution: Always.
        """
        number = self.recorded("pause ") + 1
        name = f"pause {number}"
        whole = max(1, min(round(seconds), 2**number, _LONGEST_PAUSE_SECONDS))
        place = self._place(name)
        await asyncio.to_thread(lambda: place.wait(Duration.from_seconds(whole), self._label(name)))

    def recorded(self, kind: str) -> int:
        """How many operations earlier invocations have asked for whose names begin so."""
        return sum(label.startswith(f"{self._run}/{kind}") for label in self._recorded)

    @property
    def is_replaying(self) -> bool:
        """Whether results are recorded that were not asked for yet."""
        return any(name not in self._asked for name, done in self._recorded.items() if done)

    # --- how the invocation ends -------------------------------------------------------------------------------------

    async def until_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the run's work go on until it is done, or something ends the invocation, which is then raised."""
        task = asyncio.ensure_future(work)
        try:
            waited: set[asyncio.Future[Any]] = {task, self.ended}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            # Whoever is under way may still get its result into its checkpoint: nothing new begins from here on.
            why = self.ended.result() if self.ended.done() else None
            while self._under_way:
                await asyncio.wait(set(self._under_way))
            if why is None:
                why = self.ended.result() if self.ended.done() else None
            if why is None:
                return task.result()
            raise why
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            self._threads.shutdown(wait=False)

    def end(self, why: BaseException) -> None:
        """Begin nothing more; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)

    async def _never(self) -> NoReturn:
        """Where the agent is left when the invocation ends."""
        while True:
            await asyncio.Event().wait()

    # --- one operation -----------------------------------------------------------------------------------------------

    def _label(self, name: str) -> str:
        label = f"{self._run}/{name}"
        if label.isascii() and label.isprintable() and len(label) <= _NAME_LIMIT:
            return label
        return f"{self._run}/{name.split(' ', 1)[0]} {digest(name)}"

    def _place(self, name: str) -> DurableContext:
        return self._context.create_child_context(f"{self._execution}/{self._label(name)}", is_virtual=True)

    def _ask(self, name: str, *, is_phase: bool) -> None:
        label = self._label(name)
        self._asked.add(label)
        if label not in self._recorded and not name.startswith(_UNORDERED):
            self._check_asked(name, () if is_phase else _BESIDE)

    def _check_asked(self, what: str, beside: tuple[str, ...] = ()) -> None:
        """Something new comes next: what is recorded must have been asked for, except what runs beside it."""
        names = (label.removeprefix(f"{self._run}/") for label in self._recorded.keys() - self._asked)
        missed = sorted(name for name in names if not name.startswith(_UNORDERED + beside))
        if missed:
            self.end(_mismatch(f"comes to {what!r} without {', '.join(missed[:3])}"))

    async def _readied(self, name: str) -> None:
        """Before anything new: the invocation has time for it, and the session is the run's."""
        if self.ended.done():
            await self._never()
        if self._recorded.get(self._label(name)):
            return
        if self.seconds_left() < self._reserve_seconds:
            self.end(PauseError(1))
            await self._never()
        await self.or_end(self._ready())

    async def or_end(self, work: Awaitable[T]) -> T:
        """What the store says, for the agent; an error of its ends the invocation."""
        try:
            return await work
        except SessionError as error:
            self.end(error)
            return await self._never()

    async def or_abandon(self, work: Awaitable[T]) -> T:
        """The same, for an operation's body: its step stays without an outcome."""
        try:
            return await work
        except SessionError as error:
            self.end(error)
            raise AbandonedError("the store did not do what the operation needs") from error

    def seconds_left(self) -> float:
        """Seconds until Lambda ends the invocation."""
        milliseconds: int = self._context.lambda_context.get_remaining_time_in_millis()  # type: ignore[union-attr]
        return milliseconds / 1000

    async def _made(self, name: str, asked: str, body: Body, attempt: int) -> str:
        """Do it; what is checkpointed of it."""
        record: dict[str, Any] = {"asked": asked}
        try:
            record["done"] = await body()
        except TryAgainError as error:
            if attempt < self._options.model_attempts:
                raise
            record["failed"] = self._failed(error.failure)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            record["failed"] = [type(error).__name__, str(error)]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this operation's outcome
            record["failed"] = self._failed(error)
        text = json.dumps(record)
        if len(text) <= self._options.inline_bytes:
            return text
        await self.or_abandon(self._large.keep(self._label(name), text))
        return json.dumps({"asked": asked, "large": len(text)})

    def _failed(self, error: Exception) -> list[str]:
        return [type(error).__name__, str(error), self._options.code_of(error)]

    async def _read(self, name: str, asked: str, text: str | None) -> Outcome:
        """What a checkpoint says."""
        record = json.loads(text or "{}")
        if record.get("asked") != asked:
            self.end(_mismatch(f"has another input for {name!r}"))
            await self._never()
        if "large" in record:
            record = json.loads(await self.or_end(self._large.read(self._label(name))))
        if "failed" in record:
            return Failed(*record["failed"])
        return Done(record.get("done"))

    @staticmethod
    def _again(error: Exception, attempt: int) -> RetryDecision:
        """AWS's retry strategy: only what says so is tried again, later and later."""
        if not isinstance(error, TryAgainError):
            return RetryDecision.no_retry()
        seconds = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(attempt - 1, 10))
        return RetryDecision.retry(Duration.from_seconds(seconds))

    # --- threads and the loop ----------------------------------------------------------------------------------------

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """What a blocking call returns; what it raises ends the invocation, except an operation's own error."""
        if self.ended.done():
            await self._never()
        future = self._loop.run_in_executor(self._threads, call)
        self._under_way.add(future)
        future.add_done_callback(self._over)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if _is_outcome(error):
                raise
            await self._never()

    def _over(self, future: asyncio.Future[Any]) -> None:
        self._under_way.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None and not _is_outcome(error):
            self.end(error)

    def _on_loop(self, body: Callable[[], Coroutine[Any, Any, str]], variables: contextvars.Context) -> str:
        """Run a coroutine on the event loop, seen from an operation's thread, with the variables of who asked."""
        done: concurrent.futures.Future[str] = concurrent.futures.Future()

        def pass_on(task: asyncio.Task[str]) -> None:
            if task.cancelled():
                done.set_exception(AbandonedError("the event loop ended"))
            elif (error := task.exception()) is not None:
                done.set_exception(error)
            else:
                done.set_result(task.result())

        def begin() -> None:
            self._loop.create_task(body(), context=variables).add_done_callback(pass_on)

        self._loop.call_soon_threadsafe(begin)
        return done.result()


def _is_outcome(error: BaseException) -> bool:
    """Whether an error of AWS's says what became of one operation, and not of the invocation."""
    return isinstance(error, DurableOperationError)


def _is_cancelled() -> bool:
    """Whether somebody cancels the task that runs; else it was code in it that raised as if."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _mismatch(what: str) -> ReplayMismatchError:
    return ReplayMismatchError(
        f"the replay {what}: the agent, its tools or their code are not those that the run began with. Let runs end "
        "before such a change is deployed, or start them on a published version, which they keep"
    )


def _recorded(context: DurableContext, prefix: str) -> dict[str, bool]:
    """The labels of the operations that an execution has had of a run so far, and whether they are done."""
    operations: list[Operation] = list(context.state.operations.values())
    return {
        each.name: each.status in (OperationStatus.SUCCEEDED, OperationStatus.FAILED)
        for each in operations
        if each.name and each.name.startswith(prefix)
    }
