"""Durable runs: an agent's turn that outlives its Lambda function's environment.

::

    from agents import Agent
    from aws_durable_execution_sdk_python import durable_execution
    from openai_agents_session import durable
    from openai_agents_session.environment import open_session, run

    agent = Agent(name="Assistant")


    @durable_execution
    def handler(event, context):
        session = run(open_session(event["session_id"]))
        return durable.run(context, agent, event["message"], session=session).to_dict()

AWS runs the handler again, from its beginning, when its environment has died or what it waits for has come. Everything
that a run does is an operation whose result AWS keeps: a replay gets the results, and goes on behind the last of them.
See docs/durable.md.

Needs ``aws-durable-execution-sdk-python``: it is in the full layer, and in the extra ``durable``.
"""

from __future__ import annotations

from .. import _whole  # noqa: F401 - first of all: it raises where another library wrote over this one

try:
    import aws_durable_execution_sdk_python as _aws_sdk  # noqa: F401
except ImportError as error:
    raise ImportError(
        "openai_agents_session.durable needs AWS's durable execution SDK: install "
        "openai-agents-session-layer[durable], or attach the full layer"
    ) from error

from ..callbacks import decide, is_durable
from ..errors import DurableRunError, ReplayMismatchError, TurnLostError
from .options import DurableOptions
from .running import RunOutcome, run, run_streamed

__all__ = [
    "DurableOptions",
    "DurableRunError",
    "ReplayMismatchError",
    "RunOutcome",
    "TurnLostError",
    "decide",
    "is_durable",
    "run",
    "run_streamed",
]
