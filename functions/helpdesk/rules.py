"""A model without a network, so that the help desk can be tried without a key: rules for what its agents need."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from agents import Model, ModelResponse, Usage
from agents.testing import ScriptedModel, assistant_message, function_call

if TYPE_CHECKING:
    from agents.items import TResponseOutputItem, TResponseStreamEvent

REQUEST = ("system_instructions", "input", "model_settings", "tools", "output_schema", "handoffs", "tracing")
"""What the SDK asks a model with, in its order."""

_AMOUNT = re.compile(r"\bdispute\s+(\d+(?:\.\d+)?)", re.IGNORECASE)


class RuleModel(Model):
    """Answers by what it is offered: a schema, tools, agents to hand over to."""

    def __init__(self, settings: object) -> None:
        del settings

    async def get_response(self, *request: Any, **options: Any) -> ModelResponse:
        """Answer the last message of the history."""
        return ModelResponse([_reply(dict(zip(REQUEST, request, strict=False)) | options)], Usage(requests=1), None)

    async def stream_response(self, *request: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        """The same, as the events of a stream."""
        script = ScriptedModel([[_reply(dict(zip(REQUEST, request, strict=False)) | options)]])
        async for event in script.stream_response(*request, **options):
            yield event


def _reply(asked: dict[str, Any]) -> TResponseOutputItem:
    given, schema = asked["input"], asked["output_schema"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    call_id, last = f"rule_{len(items)}", items[-1]
    message = next(item["content"] for item in reversed(items) if item.get("role") == "user")
    text, tools = _text(message), {tool.name for tool in asked["tools"]}
    if asked["handoffs"] and "invoice" in text:
        return function_call(asked["handoffs"][0].tool_name, {}, call_id=call_id)
    output = _output(last)
    if output is None and "open_dispute" in tools and (dispute := _AMOUNT.search(text)):
        return function_call("open_dispute", {"amount": float(dispute[1])}, call_id=call_id)
    if schema is not None and not schema.is_plain_text():
        images = 0 if isinstance(message, str) else sum(part["type"] == "input_image" for part in message)
        return assistant_message(json.dumps({"subject": output or text, "images": images}))
    if output is None and "how do i" in text.lower():
        return function_call("find_article", {"question": text}, call_id=call_id)
    return assistant_message(output or "How can I help?")


def _output(item: dict[str, Any]) -> str | None:
    """What a tool returned, if that is the last thing that happened."""
    if item.get("type") != "function_call_output" or '"assistant"' in str(item["output"]):
        return None
    return _text(item["output"])


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content).strip()
    return str(content)
