"""``run``: one turn of an agent, as operations of a durable execution.

::

    handler ──▶ run ──▶ child context "agent"
                          turn            the session is taken, the message stored, its position checkpointed
                          model 1         asked once; a replay gets its answer
                          tool pay c1     at most once
                          approval 1      the session is given free, no environment runs
                          resumed 1       the session is taken again, at the same position or not at all
                          ...
                          the answer      stored by the write that ends the turn
                        result of the child context: checkpointed, nothing above is replayed again
                        collect           large results are removed, where there were any
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from agents import Agent, AgentOutputSchemaBase, RunConfig, Runner
from agents.exceptions import (
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OutputGuardrailTripwireTriggered,
)
from agents.models.interface import Model
from agents.run import DEFAULT_MAX_TURNS
from agents.usage import serialize_usage
from aws_durable_execution_sdk_python import CallbackError, DurableContext, DurableExecutionsError
from aws_durable_execution_sdk_python.config import ChildConfig
from aws_durable_execution_sdk_python.serdes import PassThroughSerDes
from pydantic import TypeAdapter

from ..callbacks import state_of
from ..dynamodb import DynamoDBSession
from ..environment import ExecutionEnvironment
from ..environment import environment as shared_environment
from ..errors import (
    ContentionError,
    DeadlineError,
    DurableRunError,
    InvalidInputError,
    LeaseError,
    LeaseUnavailableError,
    OutcomeUnknownError,
    ReplayMismatchError,
    TurnLostError,
    UnavailableError,
)
from ..runs import PendingRuns, calls_of
from ..storage.retry import deadline
from ..storage.turn_log import Delivery, Outcome
from ..storage.usage import Usage
from . import forms
from .agents_of import DurableAgents, OperationFailedError, QuietHooks, _agent_of, quiet, refuse_streaming, value_of
from .large import LargeResults
from .operations import Operations, PauseError
from .options import CONTEXT_FULL, DurableOptions
from .turn import DurableTurn

if TYPE_CHECKING:
    from collections.abc import Mapping

Speaker = Callable[[list[Any]], Agent[Any]]
"""Chooses the agent that begins, by the history before the turn."""

NOT_DECIDED = "This call was not approved in time, and has not run."
"""The output of a call whose approval timed out or failed."""

_TEMPORARY = (UnavailableError, ContentionError, OutcomeUnknownError, LeaseError, DeadlineError)
_PAUSE_SECONDS = 5.0
_ANSWER_SECONDS = 1.0
_NAME_LIMIT = 64

_OUTCOMES: Mapping[type[BaseException], Outcome] = {
    InputGuardrailTripwireTriggered: Outcome.INPUT_BLOCKED,
    OutputGuardrailTripwireTriggered: Outcome.OUTPUT_BLOCKED,
    MaxTurnsExceeded: Outcome.MAX_TURNS,
}
_ERRORS = {kind.__name__: kind for kind in (ReplayMismatchError, TurnLostError)}
_TEXT: PassThroughSerDes[str] = PassThroughSerDes()

_logger = logging.getLogger(__name__)
_names: weakref.WeakKeyDictionary[DurableContext, set[str]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run came to.

    Attributes:
        final_output: The agent's answer: text, or a value of its ``output_type``.
        agent: The name of the agent that gave it.
        usage: Requests and tokens, over all invocations, each counted once.
    """

    final_output: Any
    agent: str
    usage: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What a handler can return: what JSON has of it."""
        return {"answer": _plain(self.final_output), "agent": self.agent, "usage": self.usage}


def run(
    context: DurableContext,
    agent: Agent[Any],
    message: str | list[Any],
    *,
    session: DynamoDBSession,
    name: str = "agent",
    delivery: Delivery | None = None,
    speaker: Speaker | None = None,
    agent_context: Any = None,
    run_config: RunConfig | None = None,
    hooks: Any = None,
    max_turns: int = DEFAULT_MAX_TURNS,
    error_handlers: Any = None,
    options: DurableOptions | None = None,
    environment: ExecutionEnvironment | None = None,
) -> RunOutcome:
    """Run an agent to its answer, over as many environments, deaths and days as it takes.

    Call it in a function decorated with AWS's ``durable_execution``, on the handler's own thread.

    Args:
        context: The durable context.
        agent: An agent of the SDK's; it is not changed.
        message: What the turn begins with, as for the SDK's ``Runner``.
        session: The session, made in ``environment``. Its turn is held while environments run, and free while a run
            waits for a decision.
        name: Names this run among those of one execution, at most 64 printable ASCII characters; never used twice.
        delivery: Names the request, as ``turns.delivery_of`` does: one that comes again, also to a plain function,
            meets this run's turn. Give it where the execution was started by a request that may be repeated.
        speaker: Chooses the agent that begins, by the whole history before the turn; of the same history always the
            same. ``agent`` when left out.
        agent_context: The SDK's ``context`` for tools. What tools change in it is not kept over a replay.
        run_config: The SDK's.
        hooks: The SDK's ``RunHooks``. Not told again what they were told; once more, at most, of the last operation
            before a death.
        max_turns: The SDK's.
        error_handlers: The SDK's; of the same error always the same answer. One that has an ``outcome``, such
            as ``REFUSED``, ends the turn so.
        options: How often, how long, how large.
        environment: The event loop and client; the module's own when left out.

    Returns:
        The answer; the same at every replay.

    Raises:
        InvalidInputError: An argument is not acceptable; nothing was done.
        DurableRunError: It ended without an answer; ``reason`` says why. The history is valid for the next turn.
        ReplayMismatchError: The agent was changed while the run was under way.
        TurnLostError: The session was cleared, expired, or went on without the run.
    """
    _check(context, session, name)
    work = _Arguments(
        agent=agent,
        message=[{"role": "user", "content": message}] if isinstance(message, str) else list(message),
        session=session,
        name=name,
        delivery=delivery,
        speaker=speaker,
        agent_context=agent_context,
        run_config=run_config or RunConfig(),
        hooks=hooks,
        max_turns=max_turns,
        error_handlers=error_handlers,
        options=options or DurableOptions(),
        execution=context.execution_context.durable_execution_arn,
    )
    work.check()
    loop = environment or shared_environment
    text = context.run_in_child_context(
        lambda child: loop.run(_Invocation.main(work, child)), name, ChildConfig(serdes=_TEXT)
    )
    record = json.loads(text)
    if record.get("collect"):
        context.step(lambda _: loop.run(_collected(work)), f"{name} collect")
    if "large" in record:
        record = json.loads(loop.run(_final(work)))
    return _outcome(record, agent)


def run_streamed(*_: Any, **__: Any) -> NoReturn:
    """Refuse: a durable run cannot be streamed.

    Raises:
        InvalidInputError: Always; it says why.
    """
    refuse_streaming()


@dataclass(frozen=True, slots=True)
class _Arguments:
    agent: Agent[Any]
    message: list[Any]
    session: DynamoDBSession
    name: str
    delivery: Delivery | None
    speaker: Speaker | None
    agent_context: Any
    run_config: RunConfig
    hooks: Any
    max_turns: int
    error_handlers: Any
    options: DurableOptions
    execution: str

    @property
    def run_name(self) -> str:
        """What names the run among all."""
        return f"{self.execution}/{self.name}"

    def check(self) -> None:
        """Refuse what cannot come to a good end."""
        waits, lives = self.options.approval_seconds, self.session._ttl_seconds
        if waits is not None and lives is not None and waits > lives:
            raise InvalidInputError(
                f"session {self.session.session_id!r} expires {lives} s after its last write, before an approval that "
                f"may take {waits} s: give the session a longer ttl_seconds, or approvals less time"
            )


class _Invocation:
    """A run in one invocation."""

    def __init__(self, work: _Arguments, context: DurableContext) -> None:
        self._work = work
        self._context = context
        self._large = LargeResults(work.session, work.run_name)
        self._turn = DurableTurn(
            work.session, work.run_name, work.message, self._seconds_left, work.delivery, work.options.at_least_once
        )
        self._operations = Operations(context, work.name, self._large, work.options, self._turn.ready)
        self._turn.guard = self._operations.or_end
        self._agents = DurableAgents(self._operations, work.options)

    @classmethod
    async def main(cls, work: _Arguments, context: DurableContext) -> str:
        """What the child context's result is."""
        invocation = cls(work, context)
        end = asyncio.get_running_loop().time() + invocation._seconds_left() - _ANSWER_SECONDS
        with deadline(end):
            try:
                return await invocation._ended()
            finally:
                await invocation._agents.close()

    def _seconds_left(self) -> float:
        milliseconds: int = self._context.lambda_context.get_remaining_time_in_millis()  # type: ignore[union-attr]
        return milliseconds / 1000

    async def _ended(self) -> str:
        try:
            return await self._answered_or_failed()
        except PauseError as pause:
            await self._operations.pause(pause.seconds)
        except _TEMPORARY as error:
            _logger.warning("run %r is put off: %s", self._work.name, type(error).__name__)
            await self._operations.pause(
                error.retry_after if isinstance(error, LeaseUnavailableError) else _PAUSE_SECONDS
            )
        raise AssertionError("a pause returned")

    async def _answered_or_failed(self) -> str:
        try:
            return await self._operations.until_ended(self._answered())
        except _TEMPORARY:
            raise
        except DurableExecutionsError:
            raise
        except TurnLostError as error:
            await self._turn.give_up()
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever ended the agent is the run's outcome
            await self._end_failed(self._outcome_of(error))
            return self._failed(error)

    async def _end_failed(self, outcome: Outcome) -> None:
        """End the turn, if it has begun and is the run's still."""
        if self._turn.first is None:
            return
        try:
            await self._turn.fail(outcome, self._agents.step.items(), self._operations.recorded("approval "))
        except TurnLostError:
            await self._turn.give_up()

    # --- the run -----------------------------------------------------------------------------------------------------

    async def _answered(self) -> str:
        first = value_of(await self._operations.step("turn", self._position))
        await self._operations.or_end(self._turn.open(int(first)))
        agent = self._agents.agent(await self._speaker())
        result = await self._run(agent, [])
        number = 0
        while result.interruptions:
            number += 1
            result = await self._run(agent, await self._decided(result, number))
        await self._operations.all_asked()
        await self._operations.or_end(self._turn.finish())
        return await self._record(result)

    async def _speaker(self) -> Agent[Any]:
        if self._work.speaker is None:
            return self._work.agent
        return self._work.speaker(await self._operations.or_end(self._turn.before()))

    async def _position(self) -> Any:
        return self._turn.first

    async def _run(self, agent: Agent[Any], given: Any) -> Any:
        return await Runner.run(
            agent,
            given,
            context=self._work.agent_context,
            max_turns=self._work.max_turns,
            error_handlers=self._work.error_handlers,
            hooks=_EndingHooks(self._work.hooks, self._operations, self._turn),
            run_config=self._config(),
            session=self._turn,
        )

    def _config(self) -> RunConfig:
        config = self._work.run_config
        trace = hashlib.sha256(self._work.run_name.encode()).hexdigest()[:32]
        return replace(
            config,
            model=self._agents.model(config.model) if isinstance(config.model, Model) else config.model,
            model_provider=self._agents.provider(config.model_provider),
            input_guardrails=[self._agents.input_guardrail(each) for each in config.input_guardrails or []],
            output_guardrails=[self._agents.output_guardrail(each) for each in config.output_guardrails or []],
            trace_id=config.trace_id or f"trace_{trace}",
            group_id=config.group_id or self._work.session.session_id,
        )

    # --- approvals ---------------------------------------------------------------------------------------------------

    async def _decided(self, result: Any, number: int) -> Any:
        """The run's state with the decisions on what interrupted it, after as long as that takes."""
        operations, turn = self._operations, self._turn
        run_id = turn.run_id(number)
        callback = await operations.callback(f"approval {number}")
        state = state_of(callback.callback_id, self._work.execution)
        calls, used = calls_of(result.interruptions), Usage.of(result.context_wrapper.usage)

        async def park() -> None:
            await operations.or_abandon(turn.park(run_id, state, calls, used))

        async def settle() -> None:
            await operations.or_abandon(PendingRuns(self._work.session).settle(run_id))

        await operations.step(f"parked {number}", park)
        try:
            decisions = _decisions(await operations.result_of(callback))
        except CallbackError:
            decisions = None
        turn.resume(number)
        await operations.step(f"resumed {number}", settle)
        return _with_decisions(result, decisions)

    # --- what is kept ------------------------------------------------------------------------------------------------

    async def _record(self, result: Any) -> str:
        record = {
            "output": _plain(result.final_output),
            "agent": result.last_agent.name,
            "usage": serialize_usage(result.context_wrapper.usage),
        }
        text = json.dumps(record)
        if len(text) <= self._work.options.inline_bytes:
            return json.dumps(record | {"collect": self._large.is_used})
        await self._operations.or_end(self._large.keep("answer", text, is_final=True))
        return json.dumps({"large": len(text), "collect": True})

    def _outcome_of(self, error: Exception) -> Outcome:
        if self._code_of(error) == CONTEXT_FULL:
            return Outcome.CONTEXT_FULL
        return _OUTCOMES.get(type(error), Outcome.FAILED)

    def _code_of(self, error: Exception) -> str:
        return error.code if isinstance(error, OperationFailedError) else self._work.options.code_of(error)

    def _failed(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, DurableRunError) else type(error).__name__
        if isinstance(error, OperationFailedError):
            reason = error.kind
        record = {"failed": type(error).__name__, "reason": reason, "code": self._code_of(error)}
        record["text"] = str(error)[:10_000]
        return json.dumps(record | {"collect": self._large.is_used})


class _EndingHooks(QuietHooks):
    """Tells the turn what the model answers, before tools run, and when the agent has its answer."""

    def __init__(self, hooks: Any, operations: Operations, turn: DurableTurn) -> None:
        super().__init__(hooks, operations)
        self._turn = turn

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """A model has answered; none of the tools that it calls has run yet."""
        await quiet(self, "on_llm_end", context, agent, response)
        await self._turn.step(response)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """The agent has its answer: nothing that is recorded may be left."""
        await self._operations.all_asked()
        await quiet(self, "on_agent_end", context, agent, output)
        outcome = getattr(output, "outcome", None)
        self._turn.answered(Usage.of(context.usage), outcome if isinstance(outcome, Outcome) else Outcome.ANSWERED)


def _decisions(text: str | None) -> dict[str, bool]:
    """What was sent to a callback: the decisions by call id."""
    decisions = json.loads(text or "null")
    if not isinstance(decisions, dict) or not all(isinstance(each, bool) for each in decisions.values()):
        raise DurableRunError(
            'what was sent to the approval\'s callback is not {"<call id>": true or false, ...}', reason="BadDecision"
        )
    return decisions


def _with_decisions(result: Any, decisions: dict[str, bool] | None) -> Any:
    state = result.to_state()
    for item in result.interruptions:
        if decisions is None:
            state.reject(item, rejection_message=NOT_DECIDED)
        elif (approved := decisions.get(str(item.call_id))) is not None:
            state.approve(item) if approved else state.reject(item)
    return state


async def _collected(work: _Arguments) -> None:
    await LargeResults(work.session, work.run_name).collect()


async def _final(work: _Arguments) -> str:
    return await LargeResults(work.session, work.run_name).read("answer")


def _outcome(record: dict[str, Any], agent: Agent[Any]) -> RunOutcome:
    if "failed" in record:
        kind = _ERRORS.get(record["failed"], DurableRunError)
        raise kind(record["text"], reason=record["reason"], code=record.get("code", ""))
    return RunOutcome(_typed(record["output"], record["agent"], agent), record["agent"], record["usage"])


def _typed(output: Any, name: str, agent: Agent[Any]) -> Any:
    kind = next((each.output_type for each in _reachable(agent) if each.name == name), None)
    if kind is None or kind is str or isinstance(kind, AgentOutputSchemaBase):
        return output
    try:
        return TypeAdapter(kind).validate_python(output)
    except ValueError:  # a tool's output that was the final one
        return output


def _reachable(agent: Agent[Any]) -> Iterator[Agent[Any]]:
    seen: dict[int, Agent[Any]] = {}
    waiting: list[Any] = [agent]
    while waiting:
        each = waiting.pop()
        each = each if isinstance(each, Agent) else _agent_of(each)
        if each is not None and id(each) not in seen:
            seen[id(each)] = each
            yield each
            waiting += each.handoffs


def _plain(output: Any) -> Any:
    if isinstance(output, str):
        return str(output)
    try:
        return TypeAdapter(type(output)).dump_python(output, mode="json")
    except (TypeError, ValueError):
        return forms.output_form(output)


def _check(context: Any, session: Any, name: Any) -> None:
    if not isinstance(context, DurableContext):
        raise InvalidInputError(
            f"a durable run needs the context that AWS's durable_execution gives its handler, not {type(context)}"
        )
    if type(session) is not DynamoDBSession:
        raise InvalidInputError(
            f"a durable run needs a DynamoDBSession itself, not {type(session).__name__}: it goes by positions in the "
            "table, which a wrapper may change"
        )
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LIMIT or not name.isascii() or not name.isprintable():
        raise InvalidInputError(f"a run's name has 1 to {_NAME_LIMIT} printable ASCII characters, not {name!r}")
    used = _names.setdefault(context, set())
    if name in used:
        raise InvalidInputError(f"a run named {name!r} was made in this execution already: give each a name of its own")
    used.add(name)


__all__ = ["NOT_DECIDED", "RunOutcome", "run", "run_streamed"]
