"""A span for each model and tool call of a run, through the SDK's own hooks."""

from __future__ import annotations

import time
from typing import Any, Self

from agents import RunHooks

from .observe import count, span


class SpanHooks(RunHooks[Any]):
    """Told by the SDK what begins and ends. As a context manager it ends, as failed, what was cut off in the middle."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._began):
            self._end(name, failed=True)

    async def on_llm_start(self, context: Any, agent: Any, *_: Any) -> None:
        """A model is asked."""
        self._began[f"model {agent.name}"] = time.time()

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """It has answered."""
        count("ModelCalls")
        self._end(f"model {agent.name}")

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """A tool is called."""
        self._began[_call(context, tool)] = time.time()

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """It has returned."""
        count("ToolCalls")
        self._end(_call(context, tool))

    def _end(self, name: str, *, failed: bool = False) -> None:
        if began := self._began.pop(name, None):
            span(name.partition("#")[0], began, time.time(), failed=failed)


def _call(context: Any, tool: Any) -> str:
    """Tools may run at the same time, the same one twice."""
    return f"tool {tool.name}#{getattr(context, 'tool_call_id', '')}"
