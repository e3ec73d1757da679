"""The agent: who it is, what it can do, and one turn of a conversation with it.

Importing this imports the agents SDK, which takes longer than all else together; requests that need no model don't.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from agents import (
    Agent,
    AgentsException,
    RunConfig,
    RunContextWrapper,
    RunErrorHandlerInput,
    Runner,
    RunState,
    function_tool,
    set_tracing_disabled,
)
from openai import OpenAIError

import calculator
from events import RequestError
from failures import failure_of
from keys import KeyUnavailableError
from models import build_model
from observe import logger
from openai_agents_session.errors import SessionError
from openai_agents_session.runs import PendingCall, PendingRun, calls_of
from openai_agents_session.turns import Outcome, TurnJournal
from settings import Settings
from spans import SpanHooks
from steps import tell

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming, TResponseInputItem

    from steps import Watch

    Begin = list[TResponseInputItem] | RunState[Any]

MAX_MODEL_CALLS = 10

WITHOUT_EFFECTS = frozenset({"calculate"})
"""Tools that may run again without harm: their calls need not be stored before they run, which saves a write each."""


class Refusal(str):
    """An answer in which the model refuses."""

    __slots__ = ()


def _refused(failed: RunErrorHandlerInput[Any]) -> Refusal:
    """A refusal is an answer, and part of the conversation."""
    return Refusal(getattr(failed.error, "refusal", ""))


RUN_OPTIONS: dict[str, Any] = {
    "max_turns": MAX_MODEL_CALLS,
    "error_handlers": {"model_refusal": _refused},
    # A model that calls a tool which there is not, is told so: it can do better, a failed turn cannot.
    "run_config": RunConfig(tool_not_found_behavior="return_error_to_model"),
}

# The SDK would send the conversations it sees to OpenAI's trace collector, from a thread that Lambda freezes.
set_tracing_disabled(True)


@dataclass(frozen=True)
class Turn:
    """What a turn brought.

    Attributes:
        answer: What the agent said.
        model: The name of the model that answered.
        input_tokens: Tokens the model read.
        output_tokens: Tokens the model wrote.
        refused: Whether it refused.
        pending: The calls that need approval before the agent can go on; none when it is done.
        state: What the run is resumed from, if any are pending.
    """

    answer: str
    model: str
    input_tokens: int
    output_tokens: int
    refused: bool = False
    pending: tuple[PendingCall, ...] = ()
    state: str = ""


@function_tool
def calculate(expression: str) -> str:
    """Compute an arithmetic expression exactly.

    Args:
        expression: Numbers, parentheses and + - * / // % **, such as "(3 + 4) * 1.5".
    """
    try:
        return calculator.evaluate(expression)
    except ValueError as error:
        return f"error: {error}"


@function_tool(needs_approval=True)
def issue_refund(order: str, amount: float) -> str:
    """Pay money back to the customer. A person has to approve it.

    Args:
        order: The order's number.
        amount: How much, in euros.
    """
    logger.info("refund issued")  # stands for the payment system; nothing of the conversation is logged
    return f"Refunded {amount:.2f} euros for order {order}."


@cache
def build_agent(settings: Settings) -> Agent[None]:
    """The agent, made once for each execution environment: its model keeps connections."""
    return Agent(
        name="Assistant",
        instructions="You are a concise, friendly assistant. Use the calculate tool for every calculation.",
        model=build_model(settings),
        tools=[calculate, issue_refund],
    )


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
        self._journal.answered(Outcome.REFUSED if isinstance(output, Refusal) else Outcome.ANSWERED)


async def take_turn(settings: Settings, journal: TurnJournal, watch: Watch | None = None) -> Turn:
    """Answer what is stored in a turn, and store the answer there.

    Args:
        settings: Which model answers.
        journal: The turn.
        watch: Is told what the agent does while it does it.

    Returns:
        The answer, or what has to be approved first.

    Raises:
        RequestError: The model failed, or found no answer; see `failures`.
    """
    return await _run(settings, journal, [], watch)


async def resumable(settings: Settings, run: PendingRun) -> RunState[Any]:
    """The state of a run that waits, if this version of the agent can go on with it.

    Raises:
        RequestError: It cannot. The run still waits, for a version that can, or to be discarded.
    """
    try:
        state: RunState[Any] = await RunState.from_string(build_agent(settings), run.state)
        interruptions = state.get_interruptions()
        tools = {
            tool.name
            for interruption in interruptions
            for tool in await interruption.agent.get_all_tools(RunContextWrapper(None))
        }
    except Exception as error:
        # The SDK raises errors of its own for versions and agents, and anything for what is damaged.
        raise _not_resumable("its state cannot be read by this version of the agent") from error
    if missing := {str(interruption.name) for interruption in interruptions} - tools:
        raise _not_resumable(f"the agent has no tool {', '.join(sorted(missing))}")
    return state


def _not_resumable(reason: str) -> RequestError:
    return RequestError(409, f"the run cannot be resumed: {reason}; it waits, or discard it", code="run_not_resumable")


async def resume_turn(
    settings: Settings, journal: TurnJournal, run: PendingRun, state: RunState[Any], watch: Watch | None = None
) -> Turn:
    """Go on with a run that has been claimed, from its state.

    Raises:
        RequestError: As ``take_turn``; or the state could be read, and what it says could not be gone on with.
    """
    try:
        for interruption in state.get_interruptions():
            decision = run.decisions.get(str(interruption.call_id))
            if decision is not None:
                (state.approve if decision else state.reject)(interruption)
        return await _run(settings, journal, state, watch)
    except (RequestError, SessionError):
        raise
    except Exception as error:
        raise RequestError(500, "the run failed, and was given up; what it did is stored", code="run_failed") from error


async def _run(settings: Settings, journal: TurnJournal, begin: Begin, watch: Watch | None) -> Turn:
    agent = build_agent(settings)
    try:
        with TurnHooks(journal) as hooks:
            options: dict[str, Any] = {"session": journal, "hooks": hooks, **RUN_OPTIONS}
            result: RunResult | RunResultStreaming
            if watch is None:
                result = await Runner.run(agent, begin, **options)
            else:
                result = Runner.run_streamed(agent, begin, **options)
                await tell(result, watch)
    except (AgentsException, OpenAIError, KeyUnavailableError) as error:
        raise failure_of(error) from error
    usage = result.context_wrapper.usage
    return Turn(
        answer="" if result.interruptions else str(result.final_output),
        model=settings.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        refused=isinstance(result.final_output, Refusal),
        pending=calls_of(result.interruptions),
        state=result.to_state().to_string() if result.interruptions else "",
    )
