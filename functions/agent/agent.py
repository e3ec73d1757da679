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
    RunErrorHandlerInput,
    Runner,
    RunState,
    ToolCallItem,
    function_tool,
    set_tracing_disabled,
)
from openai import OpenAIError

import calculator
from failures import failure_of
from keys import KeyUnavailableError
from models import build_model
from observe import logger
from openai_agents_session.runs import PendingCall, PendingRun, calls_of
from settings import Settings
from spans import SpanHooks
from steps import tell

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming, Session, TResponseInputItem

    from steps import Watch

    Begin = str | list[TResponseInputItem] | RunState[Any]

MAX_MODEL_CALLS = 10


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
        tools: The names of the tools that it used, in order.
        model: The name of the model that answered.
        input_tokens: Tokens the model read.
        output_tokens: Tokens the model wrote.
        refused: Whether it refused.
        pending: The calls that need approval before the agent can go on; none when it is done.
        state: What the run is resumed from, if any are pending.
    """

    answer: str
    tools: list[str]
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


async def take_turn(
    settings: Settings, session: Session, message: str | list[TResponseInputItem], watch: Watch | None = None
) -> Turn:
    """Answer a message in a session, and store both there.

    Args:
        settings: Which model answers.
        session: The conversation so far.
        message: What the user says; an empty list to go on from what is stored.
        watch: Is told what the agent does while it does it.

    Returns:
        The answer, or what has to be approved first.

    Raises:
        RequestError: The model failed, or found no answer; see `failures`.
    """
    return await _run(settings, session, message, watch)


async def resume_turn(settings: Settings, session: Session, run: PendingRun, watch: Watch | None = None) -> Turn:
    """Go on with a run that has been decided on. Raises like ``take_turn``."""
    state: RunState[Any] = await RunState.from_string(build_agent(settings), run.state)
    for interruption in state.get_interruptions():
        decision = run.decisions.get(str(interruption.call_id))
        if decision is not None:
            (state.approve if decision else state.reject)(interruption)
    return await _run(settings, session, state, watch)


async def _run(settings: Settings, session: Session, begin: Begin, watch: Watch | None) -> Turn:
    agent = build_agent(settings)
    try:
        with SpanHooks() as hooks:
            options: dict[str, Any] = {"session": session, "hooks": hooks, **RUN_OPTIONS}
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
        tools=[item.tool_name or "" for item in result.new_items if isinstance(item, ToolCallItem)],
        model="offline" if settings.provider == "offline" else settings.model_name,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        refused=isinstance(result.final_output, Refusal),
        pending=calls_of(result.interruptions),
        state=result.to_state().to_string() if result.interruptions else "",
    )
