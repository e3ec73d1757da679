"""The agent: who it is, what it can do, and what it thinks with."""

from __future__ import annotations

import logging
from typing import Any

from agents import Agent, function_tool

import calculator
from offline import OfflineModel
from openai_agents_session.service import Settings
from openai_agents_session.service.models import build_model

logger = logging.getLogger(__name__)


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


def build_agent(settings: Settings) -> Agent[Any]:
    """The agent. It is made once for each execution environment.

    Args:
        settings: The function's environment variables.
    """
    return Agent(
        name="Assistant",
        instructions="You are a concise, friendly assistant. Use the calculate tool for every calculation.",
        model=build_model(settings, {"offline": OfflineModel}),
        tools=[calculate, issue_refund],
    )
