"""What can be watched of a run while it goes on: the SDK's stream events as the steps that a page shows.

::

    started                               the session is held and the run begins
    text           {delta}                a piece of the answer
    tool_started   {call_id, tool, arguments}
    tool_finished  {call_id, output}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import RunResultStreaming, StreamEvent

Watch = Callable[[str, dict[str, Any]], None]
"""Is told each step: its name and what belongs to it. It is called on the event loop, and returns at once."""

_DELTAS = ("response.output_text.delta", "response.refusal.delta")


async def tell(result: RunResultStreaming, watch: Watch) -> None:
    """Follow a run to its end, however it ends.

    Args:
        result: The run. If it fails, so does this; if this is cancelled, the run has ended when this does: its tools
            write nothing any more, and the history can be put in order.
        watch: Is told the steps.
    """
    watch("started", {})
    try:
        async for event in result.stream_events():
            if step := step_of(event):
                watch(*step)
    finally:
        if (run := result.run_loop_task) and not run.done():
            result.cancel()
            await asyncio.wait([run])


def step_of(event: StreamEvent) -> tuple[str, dict[str, Any]] | None:
    """The step that an event of the SDK stands for; None for those that nobody looks at."""
    if event.type == "raw_response_event":
        data: Any = event.data
        return ("text", {"delta": data.delta}) if data.type in _DELTAS else None
    if event.type != "run_item_stream_event":
        return None
    if event.name == "tool_called":
        call = event.item.raw_item
        name, arguments = _field(call, "name"), _field(call, "arguments") or "{}"
        return "tool_started", {"call_id": _field(call, "call_id"), "tool": name, "arguments": arguments}
    if event.name == "tool_output":
        return "tool_finished", {"call_id": _field(event.item.raw_item, "call_id"), "output": _output(event.item)}
    return None


def _output(item: Any) -> str:
    return str(getattr(item, "output", ""))


def _field(raw: Any, name: str) -> str:
    return str((raw.get(name) if isinstance(raw, dict) else getattr(raw, name, None)) or "")
