"""The agents: a front desk that finds articles and hands over to billing, which answers with a ticket."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from agents import Agent, GuardrailFunctionOutput, function_tool, input_guardrail
from agents.mcp import MCPServerStdio
from agents.tool_context import ToolContext
from pydantic import BaseModel

from openai_agents_session.service import Settings, TurnContext
from openai_agents_session.service.models import build_model
from rules import RuleModel

_CARD = re.compile(r"\b(?:\d[ -]?){13,19}\b")


class Ticket(BaseModel):
    """What billing answers with: the function's caller gets it as JSON."""

    subject: str
    images: int


@input_guardrail
async def no_card_numbers(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
    """Card numbers reach no model, and are not kept."""
    said = given if isinstance(given, str) else [item for item in given if item.get("role") == "user"][-1:]
    return GuardrailFunctionOutput(None, _CARD.search(str(said)) is not None)


@function_tool
def open_dispute(context: ToolContext[TurnContext], amount: float) -> str:
    """Open a dispute about an invoice with the payment provider.

    Args:
        context: Who asks, and a key under which the provider opens it once.
        amount: What it is about, in euros.
    """
    key = context.context.idempotency_key(context.tool_call_id)
    return f"Dispute {key[:8]} about {amount:.2f} euros is open for {context.context.owner}."


def build_desk(settings: Settings) -> Agent[Any]:
    """The agent that conversations begin with."""
    model = build_model(settings, {"offline": RuleModel})
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}  # the layer is read-only
    articles = MCPServerStdio({"command": sys.executable, "args": ["-m", "articles"], "env": path})
    billing = Agent(
        name="Billing",
        instructions="You handle invoices. Open disputes that are asked for. Answer with a ticket.",
        model=model,
        tools=[open_dispute],
        output_type=Ticket,
    )
    return Agent(
        name="Front desk",
        instructions="Answer from the articles. Hand over whatever is about an invoice.",
        model=model,
        mcp_servers=[articles],
        handoffs=[billing],
        input_guardrails=[no_card_numbers],
    )
