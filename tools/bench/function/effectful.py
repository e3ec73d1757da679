"""The shipped function whose tool counts as one with effects, so that its calls are stored before it runs."""

from __future__ import annotations

import agent

agent.WITHOUT_EFFECTS = frozenset()

from app import handler  # noqa: E402 - nothing has used the name before

__all__ = ["handler"]
