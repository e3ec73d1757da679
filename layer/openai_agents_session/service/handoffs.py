"""Which agent speaks next: the one that the conversation was handed over to last, as the history has it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agents import Agent, Handoff


def agents_from(start: Agent[Any]) -> list[Agent[Any]]:
    """An agent and all that the conversation can be handed over to from there, each once."""
    found = [start]
    for agent in found:
        found += [other for other in _targets(agent).values() if not any(other is known for known in found)]
    return found


def last_agent(items: Iterable[Any], start: Agent[Any]) -> Agent[Any]:
    """The agent that the conversation was handed over to last.

    Args:
        items: The history, oldest first.
        start: The agent that conversations begin with.

    Returns:
        The agent; the first one if there was no handoff, or to none that is reachable any more.
    """
    speaking, tools = start, _tools_of(start)
    calls: dict[str, str] = {}
    for item in items:
        kind = item.get("type")
        if kind == "function_call":
            calls[str(item.get("call_id"))] = str(item.get("name"))
        elif kind == "function_call_output" and (name := _handed_over(item)):
            target = tools.get((calls.get(str(item.get("call_id")), ""), name))
            speaking = target or speaking
    return speaking


def _tools_of(start: Agent[Any]) -> Mapping[tuple[str, str], Agent[Any]]:
    """Agents by the tool that hands over to them and by their own name: two agents may have tools of the same name."""
    return {(tool, agent.name): agent for each in agents_from(start) for tool, agent in _targets(each).items()}


def _targets(agent: Agent[Any]) -> dict[str, Agent[Any]]:
    """The agents that an agent hands over to, by the name of the tool that does it."""
    found: dict[str, Agent[Any]] = {}
    for handoff in agent.handoffs:
        target = handoff._agent_ref() if isinstance(handoff, Handoff) and handoff._agent_ref else handoff
        if isinstance(target, Agent):
            name = handoff.tool_name if isinstance(handoff, Handoff) else Handoff.default_tool_name(target)
            found[name] = target
    return found


def _handed_over(item: Mapping[str, Any]) -> str:
    """The name of the agent that an output says the conversation was handed over to, if it is such an output."""
    try:
        said = json.loads(str(item.get("output")))
    except ValueError:
        return ""
    return said["assistant"] if isinstance(said, dict) and isinstance(said.get("assistant"), str) else ""
