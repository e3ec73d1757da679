"""The shipped function with an agent of the tests: its handler, but tools whose effects are counted outside.

Lambda's runtime imports this folder first, and the function's own after it. Nothing in the function knows of tests: the
one name that is replaced is what makes its agent.
"""

from __future__ import annotations

import agent
from counted_agent import build_agent

agent.build_agent = build_agent

from app import handler  # noqa: E402 - the agent is replaced before anything uses it

__all__ = ["handler"]
