"""An agent whose tools report what they do to ``EFFECTS_HOST``, in the process of the function."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import time
from typing import Any

from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelSettings,
    RunContextWrapper,
    Tool,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from agents.tool_context import ToolContext

from openai_agents_session.service.models import build_model
from openai_agents_session.service.settings import Settings

BROKEN = "BROKEN"
FORBIDDEN = "FORBIDDEN"
LATE = "LATE"
SECRET = "SECRET"
WITHOUT_EFFECTS = {"calculate"}


def effect(context: ToolContext[None]) -> None:
    """Have an effect in the world: it is counted by another process, and so it is there whatever dies here."""
    happened = {"tool": context.tool_name, "call_id": context.tool_call_id, "arguments": context.tool_arguments}
    connection = http.client.HTTPConnection(os.environ["EFFECTS_HOST"], timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/", json.dumps(happened))
        connection.getresponse().read()


@function_tool
def pay(context: ToolContext[None], amount: int) -> str:
    """Pay."""
    effect(context)
    return f"paid {amount}"


@function_tool
async def slow(context: ToolContext[None], seconds: float) -> str:
    """Have an effect, and take so long."""
    await asyncio.to_thread(effect, context)
    await asyncio.sleep(seconds)
    return "slow is done"


@function_tool
def block(context: ToolContext[None], seconds: float) -> str:
    """Have an effect, and block a thread for so long."""
    effect(context)
    time.sleep(seconds)
    return "block is done"


@function_tool
def look_up(context: ToolContext[None], key: str) -> str:
    """Read something: there is no effect but the reading, which is counted too."""
    effect(context)
    return f"{key} is 42"


@function_tool
def garble(context: ToolContext[None], text: str) -> str:
    """Have an effect, and return half of a surrogate pair."""
    effect(context)
    return f"{text} \ud83d"


@function_tool
def fail(context: ToolContext[None], text: str) -> str:
    """Have an effect, and fail."""
    effect(context)
    raise ValueError(text)


@function_tool(needs_approval=True)
def refund(context: ToolContext[None], order: str) -> str:
    """Pay back, once a person has approved it."""
    effect(context)
    return f"refunded {order}"


@input_guardrail
async def nothing_forbidden(context: RunContextWrapper[None], agent: Any, given: Any) -> GuardrailFunctionOutput:
    """Trips on what a user may not say, or breaks; late, when the model and its tools are at work, where asked to."""
    said = given if isinstance(given, str) else json.dumps([item for item in given if item.get("role") == "user"][-1:])
    if BROKEN in said:
        raise ValueError(said)
    if LATE in said:
        await asyncio.sleep(3)
    return GuardrailFunctionOutput(None, FORBIDDEN in said)


@output_guardrail
async def nothing_secret(context: RunContextWrapper[None], agent: Any, output: Any) -> GuardrailFunctionOutput:
    """Trips on what the agent may not say."""
    return GuardrailFunctionOutput(None, SECRET in str(output))


def build_agent(settings: Settings) -> Agent[None]:
    """The agent, in the version that AGENT_NAME and AGENT_WITHOUT (a tool's name) say is deployed."""
    tools: list[Tool] = [pay, slow, block, look_up, garble, fail, refund]
    helper = Agent[None](name="Helper", instructions="Help.", model=build_model(settings), tools=[pay])
    return Agent(
        name=os.environ.get("AGENT_NAME", "Assistant"),
        instructions="Do what is asked.",
        model=build_model(settings),
        model_settings=ModelSettings(parallel_tool_calls=True),
        tools=[tool for tool in tools if tool.name != os.environ.get("AGENT_WITHOUT")],
        handoffs=[helper],
        input_guardrails=[nothing_forbidden],
        output_guardrails=[nothing_secret],
    )
