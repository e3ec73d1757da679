"""The shipped streaming server with an agent of the tests, as `handler` is for the other function."""

from __future__ import annotations

import agent
from counted_agent import build_agent

agent.build_agent = build_agent

import streaming  # noqa: E402 - the agent is replaced before anything uses it

if __name__ == "__main__":
    streaming.main()
