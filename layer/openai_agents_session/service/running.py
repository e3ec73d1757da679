"""One turn of a conversation with an agent.

Importing this imports the agents SDK, which takes longer than all else together; requests that need no model don't.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from agents import (
    Agent,
    AgentsException,
    ItemHelpers,
    MessageOutputItem,
    RunConfig,
    RunContextWrapper,
    RunErrorHandlerInput,
    Runner,
    RunState,
    set_tracing_disabled,
)
from openai import OpenAIError

from ..conversations import Usage
from ..errors import SessionError
from ..runs import PendingCall, PendingRun, calls_of
from ..turns import Outcome, TurnJournal
from .answers import as_text, structured
from .context import TurnContext
from .errors import AgentCodeError, RequestError
from .failures import failure_of
from .handoffs import agents_from, last_agent
from .keys import KeyUnavailableError
from .mcp_servers import McpServers, servers_of
from .observe import log_failure
from .settings import ServiceSettings, Settings
from .setup import Setup
from .spans import SpanHooks
from .steps import tell

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming, TResponseInputItem
    from agents.memory import Session

    from .steps import Watch

    Begin = list[TResponseInputItem] | RunState[Any]


class Refusal(str):
    """An answer in which the model refuses."""

    __slots__ = ()
    outcome = Outcome.REFUSED


def _refused(failed: RunErrorHandlerInput[Any]) -> Refusal:
    """A refusal is an answer, and part of the conversation."""
    return Refusal(getattr(failed.error, "refusal", ""))


WHOLE = 1_000_000_000
"""More items than a session has: all of them, whatever its settings say."""

# The SDK would send the conversations it sees to OpenAI's trace collector, from a thread that Lambda freezes.
set_tracing_disabled(True)


@dataclass(frozen=True)
class Turn:
    """What a turn brought.

    Attributes:
        answer: What the agent said; see `answers`.
        model: The name of the model that answered.
        usage: What the run has used; of one that was resumed, what it had used before, too.
        refused: Whether it refused.
        pending: The calls that need approval before the agent can go on; none when it is done.
        state: What the run is resumed from, if any are pending.
    """

    answer: dict[str, Any]
    model: str
    usage: Usage
    refused: bool = False
    pending: tuple[PendingCall, ...] = ()
    state: str = ""


@dataclass(frozen=True)
class Cast:
    """The agents of a service, made once for each execution environment: their models keep connections.

    Attributes:
        start: The agent that conversations begin with.
        all: It and those that it hands over to.
        servers: Their MCP servers.
        options: What the SDK is told about every run.
    """

    start: Agent[Any]
    all: tuple[Agent[Any], ...]
    servers: McpServers
    options: Mapping[str, Any]


@cache
def cast_of(setup: Setup, settings: Settings) -> Cast:
    """The agents of a service."""
    agents = tuple(agents_from(start := setup.new_agent(settings)))
    return Cast(start, agents, servers_of(agents), _run_options(setup, settings))


def _run_options(setup: Setup, settings: Settings) -> dict[str, Any]:
    config = setup.new_run_config(settings) or RunConfig()
    if config.tool_not_found_behavior == "raise_error":
        # A model that calls a tool which there is not, is told so: it can do better, a failed turn cannot.
        config = replace(config, tool_not_found_behavior="return_error_to_model")
    return {"max_turns": setup.max_turns, "error_handlers": {"model_refusal": _refused}, "run_config": config}


@dataclass(frozen=True)
class Work:
    """What a turn is taken with.

    Attributes:
        setup: How the agent is made and run.
        settings: Which model answers.
        context: What tools are told about the turn.
        watch: Is told what the agent does while it does it.
    """

    setup: Setup
    settings: Settings
    context: TurnContext
    watch: Watch | None = None

    @property
    def cast(self) -> Cast:
        """The agents."""
        return cast_of(self.setup, self.settings)

    async def speaker(self, session: Session) -> Agent[Any]:
        """The agent that speaks next in a session."""
        if len(self.cast.all) == 1 or not self.setup.handoffs_last:
            return self.cast.start
        return last_agent(await session.get_items(WHOLE), self.cast.start)


class TurnHooks(SpanHooks):
    """Told by the SDK what happens in a run, and tells the turn's journal.

    Args:
        journal: The journal.
    """

    def __init__(self, journal: TurnJournal) -> None:
        super().__init__()
        self._journal = journal

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """A model has answered; none of the tools that it calls has run yet."""
        await super().on_llm_end(context, agent, response)
        await self._journal.step(response)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """A tool has returned."""
        await super().on_tool_end(context, agent, tool, result)
        await self._journal.output(str(getattr(context, "tool_call_id", "")), result)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """The agent is done; its answer is stored next."""
        outcome = Outcome.REFUSED if isinstance(output, Refusal) else Outcome.ANSWERED
        self._journal.answered(outcome, usage=Usage.of(context.usage))


async def take_turn(work: Work, journal: TurnJournal) -> Turn:
    """Answer what is stored in a turn, and store the answer there.

    Args:
        work: Agents, model, context.
        journal: The turn.

    Returns:
        The answer, or what has to be approved first.

    Raises:
        RequestError: The model failed, or found no answer; see `failures`.
    """
    return await _run(work, journal, await work.speaker(journal), [])


async def resumable(work: Work, run: PendingRun) -> RunState[Any]:
    """The state of a run that waits, if this version of the agent can go on with it.

    Raises:
        RequestError: It cannot. The run still waits, for a version that can, or to be discarded.
    """
    await work.cast.servers.ready()
    context = work.setup.context_for(work.context)
    try:
        state: RunState[Any] = await RunState.from_string(work.cast.start, run.state, context_override=context)
        interruptions = state.get_interruptions()
        tools = {
            tool.name
            for interruption in interruptions
            for tool in await interruption.agent.get_all_tools(RunContextWrapper(context))
        }
    except Exception as error:
        # The SDK raises errors of its own for versions and agents, and anything for what is damaged.
        raise _not_resumable("its state cannot be read by this version of the agent") from error
    if missing := {str(interruption.name) for interruption in interruptions} - tools:
        raise _not_resumable(f"the agent has no tool {', '.join(sorted(missing))}")
    return state


def _not_resumable(reason: str) -> RequestError:
    return RequestError(409, f"the run cannot be resumed: {reason}; it waits, or discard it", code="run_not_resumable")


async def resume_turn(work: Work, journal: TurnJournal, run: PendingRun, state: RunState[Any]) -> Turn:
    """Go on with a run that has been claimed, from its state.

    Raises:
        RequestError: As ``take_turn``; or the state could be read, and what it says could not be gone on with.
    """
    try:
        for interruption in state.get_interruptions():
            decision = run.decisions.get(str(interruption.call_id))
            if decision is not None:
                (state.approve if decision else state.reject)(interruption)
        return await _run(work, journal, work.cast.start, state)
    except (RequestError, SessionError):
        raise
    except Exception as error:
        raise RequestError(500, "the run failed, and was given up; what it did is stored", code="run_failed") from error


async def _run(work: Work, journal: TurnJournal, agent: Agent[Any], begin: Begin) -> Turn:
    await work.cast.servers.ready()
    try:
        with TurnHooks(journal) as hooks:
            options: dict[str, Any] = {"session": journal, "hooks": hooks, **_options(work.cast, agent)}
            if not isinstance(begin, RunState):  # which has its context
                options["context"] = work.setup.context_for(work.context)
            result: RunResult | RunResultStreaming
            if work.watch is None:
                result = await Runner.run(agent, begin, **options)
            else:
                result = Runner.run_streamed(agent, begin, **options)
                await tell(result, work.watch)
    except (AgentsException, OpenAIError, KeyUnavailableError) as error:
        raise failure_of(error) from error
    except SessionError:
        raise
    except Exception as error:
        if ServiceSettings.from_environ().log_content:
            raise
        # Lambda logs the text of what a handler raises, and this one may quote what was said.
        log_failure("code of the agent failed", error)
        raise AgentCodeError(f"{type(error).__name__}, with LogContent=false not in its own words") from None
    return _turn_of(work, result)


def _options(cast: Cast, agent: Agent[Any]) -> dict[str, Any]:
    """What the SDK is told about a run that an agent begins: the first agent's guardrails are those of the service."""
    options = dict(cast.options)
    if agent is not cast.start and cast.start.input_guardrails:
        config = options["run_config"]
        guardrails = [*cast.start.input_guardrails, *(config.input_guardrails or [])]
        options["run_config"] = replace(config, input_guardrails=guardrails)
    return options


def _turn_of(work: Work, result: RunResult | RunResultStreaming) -> Turn:
    return Turn(
        answer={} if result.interruptions else _answer(result),
        model=work.settings.model,
        usage=Usage.of(result.context_wrapper.usage),
        refused=isinstance(result.final_output, Refusal),
        pending=calls_of(result.interruptions),
        state=_saved(result) if result.interruptions else "",
    )


def _answer(result: RunResult | RunResultStreaming) -> dict[str, Any]:
    """What was said, in the form in which the history gives it again."""
    last = result.new_items[-1] if result.new_items else None
    if isinstance(result.final_output, str) or not isinstance(last, MessageOutputItem):
        return {"answer": as_text(result.final_output)}
    return structured(result.last_agent, ItemHelpers.text_message_output(last))


def _saved(result: RunResult | RunResultStreaming) -> str:
    """The run's state without its context: who resumes it has one of their own."""
    return result.to_state().to_string(context_serializer=lambda _: {})
