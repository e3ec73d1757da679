"""The shipped function with an agent of the tests: its handler, but tools whose effects are counted outside.

Lambda's runtime imports this folder first, and the function's own after it. Nothing in the function knows of tests: the
one name that is replaced is what makes its agent. ``TURN_SECONDS`` shortens the time that an invocation has by its
context, which the function's own start, slow on a busy machine, is then no part of.
"""

from __future__ import annotations

import os
import time
from typing import Any

import agent
from counted_agent import build_agent

agent.build_agent = build_agent

import app  # noqa: E402 - the agent is replaced before anything uses it


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
    return app.handler(event, ShortInvocation(context, float(os.environ["TURN_SECONDS"])))
