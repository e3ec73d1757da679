"""The agent: who it is, what it can do, and one turn of a conversation with it.

Importing this imports the agents SDK, which takes longer than all else together; requests that need no model don't.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from agents import Agent, AgentsException, Runner, ToolCallItem, function_tool, set_tracing_disabled
from openai import OpenAIError

import calculator
from events import RequestError
from models import build_model
from settings import Settings

if TYPE_CHECKING:
    from agents import Session

MAX_MODEL_CALLS = 10

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
    """

    answer: str
    tools: list[str]
    model: str
    input_tokens: int
    output_tokens: int


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


@cache
def build_agent(settings: Settings) -> Agent[None]:
    """The agent, made once for each execution environment: its model keeps connections."""
    return Agent(
        name="Assistant",
        instructions="You are a concise, friendly assistant. Use the calculate tool for every calculation.",
        model=build_model(settings),
        tools=[calculate],
    )


async def take_turn(settings: Settings, session: Session, message: str) -> Turn:
    """Answer a message in a session, and store both there.

    Args:
        settings: Which model answers.
        session: The conversation so far.
        message: What the user says.

    Returns:
        The answer.

    Raises:
        RequestError: The model failed, or found no answer.
    """
    try:
        result = await Runner.run(build_agent(settings), message, session=session, max_turns=MAX_MODEL_CALLS)
    except (AgentsException, OpenAIError) as error:
        raise RequestError(502, f"the model gave no answer: {type(error).__name__}") from error
    usage = result.context_wrapper.usage
    return Turn(
        answer=str(result.final_output),
        tools=[item.tool_name or "" for item in result.new_items if isinstance(item, ToolCallItem)],
        model="offline" if settings.provider == "offline" else settings.model_name,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )
