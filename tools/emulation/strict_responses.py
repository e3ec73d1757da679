"""What the Responses API accepts as ``input``, and its answers: whole, and as the events of a stream.

Where each rule is from:

=============  =======================================================================================================
documented     the kinds of items and their members (the parameter types of the ``openai`` package, which are generated
               from the published OpenAPI specification), roles, content types
seen           in public reports of the real service: calls without outputs, outputs without calls, reasoning without
               what follows it, items without their reasoning, items given twice, ids by prefix and of more than 64
               characters, reasoning whose id was never issued, the context window
reasoned       the same call or output id twice, arguments that are no JSON object (endpoints that are compatible refuse
               them), encrypted reasoning that was changed
=============  =======================================================================================================
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from openai.types.responses import response_input_item_param as documented
from openai.types.responses.response_function_tool_call_param import ResponseFunctionToolCallParam
from openai.types.responses.response_output_message_param import ResponseOutputMessageParam
from openai.types.responses.response_reasoning_item_param import ResponseReasoningItemParam

from tools.emulation import strict_errors as errors
from tools.emulation.strict_script import Part, Reasoning, Refused, Reply, Text, ToolCall

ROLES = ("assistant", "system", "developer", "user")
KINDS: dict[str, Any] = {
    "message": ResponseOutputMessageParam,
    "reasoning": ResponseReasoningItemParam,
    "function_call": ResponseFunctionToolCallParam,
    "function_call_output": documented.FunctionCallOutput,
}
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fc"}
REQUIRED = {
    "message": ("role", "content"),
    "reasoning": ("summary",),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
CONTENT = {True: ("output_text", "refusal"), False: ("input_text", "input_image", "input_file")}
MOST_ID_CHARACTERS = 64

_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Issued:
    """What the endpoint has answered so far.

    Attributes:
        items: By their ids.
        after: By the id of a reasoning item, the id of the item that followed it in the answer.
        rewritten: The ids of items that came back other than they were answered. The real service is not known to
            mind, so neither does this; a test can.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)

    def note(self, output: list[dict[str, Any]]) -> None:
        """Remember an answer."""
        self.items |= {item["id"]: item for item in output}
        for item, following in pairwise(output):
            if item["type"] == "reasoning":
                self.after[item["id"]] = following["id"]


def check(body: dict[str, Any], issued: Issued) -> list[dict[str, Any]]:
    """Refuse what the Responses API refuses.

    Args:
        body: The request.
        issued: What was answered before.

    Returns:
        The history, in the form of `Asked.items`.

    Raises:
        Refusal: It is refused.
    """
    if not isinstance(body.get("model"), str):
        raise errors.missing("model")
    given = body.get("input")
    if not given:
        reason = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        raise errors.bad(reason, code="missing_required_parameter")
    if isinstance(given, str):
        return [{"role": "user", "text": given}]
    if not isinstance(given, list):
        raise errors.wrong_type("input", "one of an array of objects or string", given)
    for number, item in enumerate(given):
        _check_item(f"input[{number}]", item)
    _check_ids(given, issued)
    _check_calls(given)
    _check_reasoning(given, issued)
    return [_plain(item) for item in given]


def _check_item(param: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise errors.wrong_type(param, "an object", item)
    kind = _kind(item)
    if kind not in KINDS:
        raise errors.wrong_value(f"{param}.type" if "type" in item else param, item.get("type"), tuple(KINDS))
    for name in REQUIRED[kind]:
        if item.get(name) is None:
            raise errors.missing(f"{param}.{name}")
    for name in item:
        if name not in KINDS[kind].__annotations__:
            raise errors.unknown(f"{param}.{name}")
    if (item_id := item.get("id")) is not None:
        check_id(f"{param}.id", item_id, PREFIXES[kind])
    _CHECKS[kind](param, item)


def _check_message(param: str, item: dict[str, Any]) -> None:
    if item["role"] not in ROLES:
        raise errors.wrong_value(f"{param}.role", item["role"], ROLES)
    content = item["content"]
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise errors.wrong_type(f"{param}.content", "one of an array of objects or string", content)
    allowed = CONTENT[item["role"] == "assistant"]
    for number, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") not in allowed:
            found = part.get("type") if isinstance(part, dict) else part
            raise errors.wrong_value(f"{param}.content[{number}]", found, allowed)


def _check_reasoning_item(param: str, item: dict[str, Any]) -> None:
    if not isinstance(item["summary"], list):
        raise errors.wrong_type(f"{param}.summary", "an array of objects", item["summary"])
    if item.get("id") is None and item.get("encrypted_content") is None:
        raise errors.missing(f"{param}.id")


def _check_call(param: str, item: dict[str, Any]) -> None:
    _check_call_id(f"{param}.call_id", item["call_id"])
    if not isinstance(item["name"], str) or not _ID.fullmatch(item["name"]):
        raise errors.bad(f"Invalid '{param}.name'.", f"{param}.name", "invalid_value")
    check_arguments(f"{param}.arguments", item["arguments"])


def _check_output(param: str, item: dict[str, Any]) -> None:
    _check_call_id(f"{param}.call_id", item["call_id"])
    if not isinstance(item["output"], str | list):
        raise errors.wrong_type(f"{param}.output", "one of an array of objects or string", item["output"])


_CHECKS = {
    "message": _check_message,
    "reasoning": _check_reasoning_item,
    "function_call": _check_call,
    "function_call_output": _check_output,
}


def check_id(param: str, value: Any, prefix: str) -> None:
    """Refuse an id of a wrong form."""
    if not isinstance(value, str):
        raise errors.wrong_type(param, "a string", value)
    if not _ID.fullmatch(value):
        raise errors.wrong_characters(param, value)
    if not value.startswith(prefix):
        raise errors.wrong_prefix(param, value, prefix)
    if len(value) > MOST_ID_CHARACTERS:
        raise errors.too_long(param, value, MOST_ID_CHARACTERS)


def _check_call_id(param: str, value: Any) -> None:
    if not isinstance(value, str):
        raise errors.wrong_type(param, "a string", value)
    if not value:
        reason = f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string."
        raise errors.bad(reason, param, "empty_string")
    if len(value) > MOST_ID_CHARACTERS:
        raise errors.too_long(param, value, MOST_ID_CHARACTERS)


def check_arguments(param: str, value: Any) -> None:
    """Refuse arguments that are not the text of a JSON object (*reasoned*)."""
    if not isinstance(value, str):
        raise errors.wrong_type(param, "a string", value)
    try:
        arguments = json.loads(value)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise errors.bad(f"Invalid '{param}': expected a JSON object as text.", param, "invalid_value")


def _check_ids(items: list[dict[str, Any]], issued: Issued) -> None:
    seen: set[str] = set()
    for item in items:
        item_id = item.get("id")
        if item_id is None:
            continue
        if item_id in seen:
            raise errors.bad(
                f"Duplicate item found with id {item_id}. Remove duplicate items from your input and try again."
            )
        seen.add(item_id)
        known = issued.items.get(item_id)
        if item["type"] == "reasoning":
            _check_issued_reasoning(item, known)
        elif known and not _same(item, known):
            issued.rewritten.append(item_id)


def _check_issued_reasoning(item: dict[str, Any], known: dict[str, Any] | None) -> None:
    if known is None:
        raise errors.Refusal(errors.Error(404, f"Item with id '{item['id']}' not found.", "input"))
    encrypted = item.get("encrypted_content")
    if encrypted is not None and encrypted != known.get("encrypted_content"):
        reason = f"The encrypted content for item {item['id']} could not be verified."
        raise errors.bad(reason, None, "invalid_encrypted_content")


def _check_calls(items: list[dict[str, Any]]) -> None:
    calls: set[str] = set()
    answered: set[str] = set()
    for item in items:
        kind, call_id = _kind(item), item.get("call_id")
        if kind == "function_call":
            if call_id in calls:
                raise errors.bad(f"Duplicate function call found with call_id {call_id}.")
            calls.add(str(call_id))
        elif kind == "function_call_output":
            if call_id not in calls:
                raise errors.bad(f"No tool call found for function call output with call_id {call_id}.")
            if call_id in answered:
                raise errors.bad(f"Duplicate function call output found with call_id {call_id}.")
            answered.add(str(call_id))
    for item in items:
        if _kind(item) == "function_call" and item["call_id"] not in answered:
            raise errors.bad(f"No tool output found for function call {item['call_id']}.")


def _check_reasoning(items: list[dict[str, Any]], issued: Issued) -> None:
    """Reasoning is followed by what it was about, and what was reasoned about, by its id, comes after its reasoning."""
    reasons = {following: reasoning for reasoning, following in issued.after.items()}
    for item, following in zip(items, [*items[1:], {}], strict=True):
        if item.get("type") == "reasoning":
            wanted = issued.after.get(item.get("id", ""))
            own = following.get("role") == "assistant" or _kind(following) in ("function_call", "reasoning")
            if not own or (wanted is not None and following.get("id", wanted) != wanted):
                raise errors.bad(
                    f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
                )
    for before, item in zip([{}, *items[:-1]], items, strict=True):
        reasoning = reasons.get(item.get("id") or "")
        if reasoning is not None and before.get("id") != reasoning:
            raise errors.bad(
                f"Item '{item['id']}' of type '{item['type']}' was provided without its required 'reasoning' item: "
                f"'{reasoning}'."
            )


def _same(item: dict[str, Any], known: dict[str, Any]) -> bool:
    names = ("call_id", "name", "arguments", "role")
    return all(item.get(name) == known.get(name) for name in names) and _text(item) == _text(known)


def _kind(item: dict[str, Any]) -> str:
    return str(item.get("type") or ("message" if "role" in item else ""))


def _text(item: dict[str, Any]) -> str:
    content = item.get("content") or item.get("output") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    match _kind(item):
        case "function_call":
            return {"call": item["call_id"], "name": item["name"], "arguments": item["arguments"]}
        case "function_call_output":
            return {"output": item["call_id"], "text": _text(item)}
        case "reasoning":
            return {"reasoning": item.get("id")}
    return {"role": item["role"], "text": _text(item)}


def answer(reply: Reply, model: str) -> dict[str, Any]:
    """A whole response."""
    return {
        "id": _new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "model": model,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [_output_item(part) for part in reply.parts],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        },
    }


def _output_item(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return _message({"type": "output_text", "text": part.text, "annotations": [], "logprobs": []})
        case Refused():
            return _message({"type": "refusal", "refusal": part.text})
        case Reasoning():
            summary = [{"type": "summary_text", "text": part.summary}]
            return {"id": _new_id("rs"), "type": "reasoning", "summary": summary}
    return {
        "id": _new_id("fc"),
        "type": "function_call",
        "call_id": part.call_id or _new_id("call"),
        "name": part.name,
        "arguments": part.arguments,
        "status": "completed",
    }


def _message(content: dict[str, Any]) -> dict[str, Any]:
    item_id = _new_id("msg")
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": [content]}


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def stream(reply: Reply, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a response, numbered."""
    for number, event in enumerate(_events(reply, response)):
        yield event | {"sequence_number": number}


def _events(reply: Reply, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, (part, item) in enumerate(zip(reply.parts, response["output"], strict=True)):
        at = {"output_index": index}
        yield {"type": "response.output_item.added", **at, "item": _begun(item)}
        for event in _piecewise(part, item):
            yield event | at | {"item_id": item["id"]}
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": "response.completed", "response": response}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    emptied = {"content": [], "summary": [], "arguments": ""}
    return item | {name: value for name, value in emptied.items() if name in item}


def _piecewise(part: Part, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match part:
        case Text():
            at = {"content_index": 0}
            empty = item["content"][0] | {"text": ""}
            yield {"type": "response.content_part.added", **at, "part": empty}
            for delta in part.deltas:
                yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
            yield {"type": "response.output_text.done", **at, "text": part.text, "logprobs": []}
            yield {"type": "response.content_part.done", **at, "part": item["content"][0]}
        case Refused():
            yield {"type": "response.refusal.delta", "content_index": 0, "delta": part.text}
            yield {"type": "response.refusal.done", "content_index": 0, "refusal": part.text}
        case ToolCall():
            yield {"type": "response.function_call_arguments.delta", "delta": part.arguments}
            done = {"arguments": part.arguments, "name": part.name}
            yield {"type": "response.function_call_arguments.done", **done}
