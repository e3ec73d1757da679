"""The service with an agent of the tests, whose tools' effects are counted outside.

``TURN_SECONDS`` shortens the time that an invocation has by its context, which the function's own start, slow on a busy
machine, is then no part of.
"""

from __future__ import annotations

import os
import time
from typing import Any

from counted_agent import WITHOUT_EFFECTS, build_agent
from openai_agents_session.service import AgentService

service = AgentService(build_agent, without_effects=WITHOUT_EFFECTS)


class ShortInvocation:
    """A Lambda context with less time.

    Args:
        context: Lambda's.
        seconds: How long the invocation may take from now on.
    """

    def __init__(self, context: Any, seconds: float) -> None:
        self._context = context
        self._end = time.monotonic() + seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def get_remaining_time_in_millis(self) -> int:
        """What is left of the shorter time."""
        return int(min(self._context.get_remaining_time_in_millis(), (self._end - time.monotonic()) * 1000))


def handler(event: Any, context: Any) -> Any:
    """Serve as the function does."""
    short: Any = ShortInvocation(context, float(os.environ["TURN_SECONDS"]))
    return service.handler(event, short)
