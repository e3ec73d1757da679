"""The agent as a durable function: a turn that outlives its environment. The template has it where it is asked for.

Invoke it asynchronously with ``{"session_id", "message"}``, and an ``owner`` where there is one. docs/durable.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from agents import Agent
from aws_durable_execution_sdk_python import DurableContext, durable_execution

from agent import build_agent
from openai_agents_session import durable
from openai_agents_session.environment import open_session, run
from openai_agents_session.service import Settings


@cache
def agent() -> Agent[Any]:
    """The agent, made once for each execution environment."""
    return build_agent(Settings.from_environ())


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Run a turn to its end."""
    session = run(open_session(event["session_id"], owner=event.get("owner")))
    options = durable.DurableOptions(at_least_once={"calculate"})  # it has no effects
    return durable.run(context, agent(), event["message"], session=session, options=options).to_dict()
