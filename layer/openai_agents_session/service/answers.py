"""What an agent answered, as text and, where it has an ``output_type``, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agents import Agent, AgentOutputSchema, AgentOutputSchemaBase
from agents.exceptions import AgentsException
from pydantic_core import to_json


def answer_of(agent: Agent[Any], items: Sequence[Any]) -> dict[str, Any]:
    """The answer that a turn's items end with.

    Args:
        agent: The agent that gave it.
        items: The items of the turn.

    Returns:
        ``answer``, a text: of an agent with an ``output_type``, its JSON. And ``output``, that JSON's value.
    """
    return structured(agent, text_in(items))


def structured(agent: Agent[Any], text: str) -> dict[str, Any]:
    """A text that an agent gave as its answer, in the form of the agent's ``output_type``."""
    schema = _schema(agent)
    if schema is None or schema.is_plain_text():
        return {"answer": text}
    try:
        value = to_json(schema.validate_json(text), fallback=str).decode()
    except (AgentsException, ValueError):
        return {"answer": text}  # a refusal, or what a tool returned that ended the run
    return {"answer": value, "output": json.loads(value)}


def as_text(output: Any) -> str:
    """A run's final output as text: what is none, as JSON."""
    return output if isinstance(output, str) else to_json(output, fallback=str).decode()


def text_in(items: Sequence[Any]) -> str:
    """The text of the last message, or what the last tool returned."""
    last = items[-1]
    if last.get("role") != "assistant":
        return str(last.get("output", ""))
    content = last["content"]
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in content)


def _schema(agent: Agent[Any]) -> AgentOutputSchemaBase | None:
    output_type = agent.output_type
    if output_type is None or isinstance(output_type, AgentOutputSchemaBase):
        return output_type
    return AgentOutputSchema(output_type)
