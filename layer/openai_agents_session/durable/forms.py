"""What of the SDK's values goes into a checkpoint, and back.

The agent always gets what came back: the first time and at a replay it sees the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
from agents import GuardrailFunctionOutput, ItemHelpers, ModelResponse, ToolGuardrailFunctionOutput
from agents.items import TResponseOutputItem
from agents.usage import deserialize_usage, serialize_usage
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

if TYPE_CHECKING:
    from mcp.types import Tool

_CALL = ResponseFunctionToolCall(arguments="", call_id="", name="", type="function_call")
"""Any call: the SDK says what it makes of an output by the item that answers one."""


class _Output(openai.BaseModel):
    """A response's items, made as OpenAI's client makes them: what it does not know yet is taken as it came."""

    output: list[TResponseOutputItem]


def response_form(response: ModelResponse) -> dict[str, Any]:
    """A model's response."""
    return {
        "output": [_dumped(item) for item in response.output],
        "usage": serialize_usage(response.usage),
        "response_id": response.response_id,
        "request_id": response.request_id,
    }


def response_of(form: dict[str, Any]) -> ModelResponse:
    """The model's response of a form."""
    return ModelResponse(
        output=_Output.construct(output=form["output"]).output,
        usage=deserialize_usage(form["usage"]),
        response_id=form["response_id"],
        request_id=form["request_id"],
    )


def output_form(output: Any) -> Any:
    """A tool's output: what JSON has of it, the SDK's structured outputs as their dictionaries, else its text.

    The model would get the text of any other value, too.
    """
    if isinstance(ItemHelpers.tool_call_output_item(_CALL, output)["output"], str):
        return _json_or_text(output)
    return [_part(each) for each in output] if isinstance(output, (list, tuple)) else _part(output)


def _part(output: Any) -> Any:
    return output.model_dump(mode="json", exclude_none=True) if isinstance(output, BaseModel) else output


def _json_or_text(value: Any) -> Any:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value if json.loads(text) == value else str(value)


def guardrail_form(output: GuardrailFunctionOutput) -> dict[str, Any]:
    """What a guardrail says of the run."""
    return {"info": _json_or_text(output.output_info), "triggered": bool(output.tripwire_triggered)}


def guardrail_of(form: dict[str, Any]) -> GuardrailFunctionOutput:
    """The guardrail's output of a form."""
    return GuardrailFunctionOutput(output_info=form["info"], tripwire_triggered=form["triggered"])


def tool_guardrail_form(output: ToolGuardrailFunctionOutput) -> dict[str, Any]:
    """What a guardrail says of a tool call."""
    return {"info": _json_or_text(output.output_info), "behavior": dict(output.behavior)}


def tool_guardrail_of(form: dict[str, Any]) -> ToolGuardrailFunctionOutput:
    """The tool guardrail's output of a form."""
    return ToolGuardrailFunctionOutput(output_info=form["info"], behavior=form["behavior"])


def mcp_tools_form(tools: list[Tool]) -> list[Any]:
    """The tools of an MCP server."""
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


def mcp_tools_of(form: list[Any]) -> list[Tool]:
    """The MCP tools of a form."""
    from mcp.types import Tool

    return [Tool.model_validate(each) for each in form]


def _dumped(item: Any) -> Any:
    # Without warnings: of what the client does not know they quote what was said.
    return item.model_dump(mode="json", exclude_unset=True, warnings=False) if isinstance(item, BaseModel) else item
