"""The service around an agent: an agent and the layer make an HTTP API, a queue's consumer, streaming and a page.

::

    # app.py, the function's handler is app.handler
    from openai_agents_session.service import AgentService

    service = AgentService("agent:build_agent")
    handler = service.handler

``build_agent(settings)`` returns an agent of the SDK's. What the service does on good days and bad: docs/agent.md.

It needs Powertools, which the full layer has, and so has ``openai-agents-session-layer[agent]``.
"""

from __future__ import annotations

from .. import _whole  # noqa: F401 - first of all: it raises where another library wrote over this one

try:
    import aws_lambda_powertools  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "openai_agents_session.service needs Powertools, which the lean layer has not: attach the full layer, or add "
        "openai-agents-session-layer[agent] to the function's packages"
    ) from missing

from .context import TurnContext
from .service import AgentService
from .settings import Settings

__all__ = ["AgentService", "Settings", "TurnContext"]
