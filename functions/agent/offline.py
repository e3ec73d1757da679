"""A model without a network, so that the agent can be tried without a key. Yours needs none of this."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from agents import Model, ModelResponse, Usage
from agents.testing import ScriptedModel, assistant_message, function_call

if TYPE_CHECKING:
    from agents import ModelSettings, Tool
    from agents.items import TResponseInputItem, TResponseOutputItem, TResponseStreamEvent

OFFLINE_WORD_SECONDS = 0.02

logger = logging.getLogger("agent.offline")  # below the service's, whose name is that of the service


class OfflineModel(Model):
    """A model without a network: a few rules that answer from the history they are given.

    It lets memory be seen working without a key, and makes runs repeatable: the same history gives the same answer.

    Args:
        settings: Not needed; the makers of models get them.
    """

    def __init__(self, settings: object = None) -> None:
        del settings

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **options: Any,
    ) -> ModelResponse:
        """Answer the last message of the history."""
        reply = _reply(input, tools)
        return ModelResponse(output=[reply], usage=_usage(input, reply), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        *rest: Any,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Answer the last message of the history, as the events of a stream."""
        reply = _reply(input, tools)
        script = ScriptedModel([[reply]], default_usage=_usage(input, reply))
        async for event in script.stream_response(system_instructions, "", model_settings, tools, *rest, **options):
            if event.type != "response.output_text.delta":
                yield event
                continue
            for word in re.findall(r"\s*\S+", event.delta):
                await asyncio.sleep(OFFLINE_WORD_SECONDS)  # so that a stream can be seen to be one
                yield event.model_copy(update={"delta": word})


SIGNATURE = "(offline model)"

_NAME = re.compile(r"\bmy name is\s+([^\W\d_][\w'-]*)", re.IGNORECASE)
_REFUND = "offline_refund"
_REFUND_REQUEST = re.compile(r"\brefund\s+(\d+(?:\.\d+)?)\s.*?\border\s+([\w-]+)", re.IGNORECASE)
_EXPRESSION = re.compile(r"[-(]*\d[\d\s.()]*(?:[-+*/%][-+*/%\d\s.()]*\d[\s)]*)+")


def _reply(history: str | list[TResponseInputItem], tools: list[Tool]) -> TResponseOutputItem:
    logger.info("model asked")  # by which calls are counted, also those of environments that were killed
    offered = {tool.name for tool in tools}
    items: list[Any] = [{"role": "user", "content": history}] if isinstance(history, str) else list(history)
    number = len(items)
    if items and items[-1].get("type") == "function_call_output":
        output = str(items[-1]["output"])
        text = output if items[-1]["call_id"].startswith(_REFUND) else f"That makes {output}."
        return assistant_message(f"{text} {SIGNATURE}", item_id=f"offline_message_{number}")
    said = [text for item in items if item.get("role") == "user" and (text := _text(item))]
    message, earlier = (said[-1], said[:-1]) if said else ("", [])
    if "issue_refund" in offered and (refund := _REFUND_REQUEST.search(message)):
        order = {"order": refund[2], "amount": float(refund[1])}
        return function_call("issue_refund", order, call_id=f"{_REFUND}_{number}")
    if "calculate" in offered and (expression := _expression(message, items)):
        # The number makes the id unique in the history, as the SDK asks.
        return function_call("calculate", {"expression": expression}, call_id=f"offline_call_{number}")
    return assistant_message(f"{_answer(message, earlier)} {SIGNATURE}", item_id=f"offline_message_{number}")


def _usage(history: str | list[TResponseInputItem], reply: TResponseOutputItem) -> Usage:
    """What this model has used: it counts a word as a token."""
    items: list[Any] = [{"content": history}] if isinstance(history, str) else list(history)
    read = sum(len(f"{_text(item)} {item.get('arguments', '')} {item.get('output', '')}".split()) for item in items)
    said: Any = reply.model_dump()
    written = len(f"{_text(said)} {said.get('arguments', '')}".split())
    return Usage(requests=1, input_tokens=read, output_tokens=written, total_tokens=read + written)


def _answer(message: str, earlier: list[str]) -> str:
    asked = message.lower()
    if name := _NAME.search(message):
        return f"Nice to meet you, {name[1]}. I will remember your name."
    if re.search(r"\bmy name\b|\bwho am i\b", asked):
        known = next((found[1] for text in reversed(earlier) if (found := _NAME.search(text))), None)
        return f"Your name is {known}." if known else "You have not told me your name yet."
    if re.search(r"\bfirst\b", asked) and earlier:
        return f"The first thing you said was: “{earlier[0]}”"
    if re.search(r"\bhow many\b", asked):
        return f"This is message {len(earlier) + 1} of our conversation."
    if not earlier:
        return "Hello! I answer by a few rules and from what you told me: your name, sums, what you said first."
    return f"I have noted that, as message {len(earlier) + 1} of our conversation."


def _expression(message: str, items: list[Any]) -> str | None:
    """The sum that the message asks for; "that" stands for the last result."""
    if result := next(_results_backwards(items), None):
        message = re.sub(r"\bthat\b", result, message, flags=re.IGNORECASE)
    found = _EXPRESSION.search(message)
    return " ".join(found[0].split()) if found else None


def _results_backwards(items: list[Any]) -> Iterator[str]:
    outputs = (item for item in reversed(items) if item.get("type") == "function_call_output")
    return (str(item["output"]) for item in outputs if not item["call_id"].startswith(_REFUND))


def _text(item: dict[str, Any]) -> str:
    content = item.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)
