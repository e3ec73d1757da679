"""What chat completions accept as ``messages``, and their answers: whole, and as the chunks of a stream.

Where each rule is from:

=============  =======================================================================================================
documented     the roles and their members (the parameter types of the ``openai`` package, which are generated from the
               published OpenAPI specification), content types
seen           in public reports of the real service: tool messages that follow no call, calls without tool messages,
               ids of more than 40 characters, the context window, an empty list
reasoned       the same call or output id twice, arguments that are no JSON object (endpoints that are compatible refuse
               them), an assistant's message with neither content nor calls
=============  =======================================================================================================
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from typing import Any

from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
)

from tools.emulation import strict_errors as errors
from tools.emulation.strict_responses import check_arguments
from tools.emulation.strict_script import Refused, Reply, Text, ToolCall

ROLES: dict[str, Any] = {
    "system": ChatCompletionSystemMessageParam,
    "assistant": ChatCompletionAssistantMessageParam,
    "user": ChatCompletionUserMessageParam,
    "developer": ChatCompletionDeveloperMessageParam,
    "tool": ChatCompletionToolMessageParam,
}
CONTENT = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_CALL_ID_CHARACTERS = 40


def check(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Refuse what chat completions refuse.

    Args:
        body: The request.

    Returns:
        The history, in the form of `Asked.items`.

    Raises:
        Refusal: It is refused.
    """
    if not isinstance(body.get("model"), str):
        raise errors.missing("model")
    messages = body.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not isinstance(messages, list):
        raise errors.wrong_type("messages", "an array of objects", messages)
    if not messages:
        expected = "Expected an array with minimum length 1, but got an empty array instead"
        raise errors.bad(f"Invalid 'messages': empty array. {expected}.", "messages", "empty_array")
    for number, message in enumerate(messages):
        _check_message(f"messages[{number}]", message)
    _check_calls(messages)
    return [item for message in messages for item in _plain(message)]


def _check_message(param: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise errors.wrong_type(param, "an object", message)
    role = message.get("role")
    if role not in ROLES:
        raise errors.wrong_value(f"{param}.role", role, tuple(ROLES))
    for name in message:
        if name not in ROLES[role].__annotations__:
            raise errors.unknown(f"{param}.{name}")
    if role == "assistant":
        _check_assistant(param, message)
    elif message.get("content") is None:
        raise errors.missing(f"{param}.content")
    _check_content(f"{param}.content", message.get("content"), CONTENT[role])
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise errors.missing(f"{param}.tool_call_id")


def _check_assistant(param: str, message: dict[str, Any]) -> None:
    calls = message.get("tool_calls")
    if calls == []:
        expected = "Expected an array with minimum length 1, but got an empty array instead"
        raise errors.bad(
            f"Invalid '{param}.tool_calls': empty array. {expected}.", f"{param}.tool_calls", "empty_array"
        )
    if not calls and message.get("content") is None and message.get("refusal") is None:
        raise errors.wrong_type(f"{param}.content", "a string", None)
    for number, call in enumerate(calls or []):
        at = f"{param}.tool_calls[{number}]"
        if call.get("type") != "function":
            raise errors.wrong_value(f"{at}.type", call.get("type"), ("function", "custom"))
        if not isinstance(call.get("id"), str) or not call["id"]:
            raise errors.missing(f"{at}.id")
        if len(call["id"]) > MOST_CALL_ID_CHARACTERS:
            raise errors.too_long(f"{at}.id", call["id"], MOST_CALL_ID_CHARACTERS)
        name = call["function"].get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise errors.bad(f"Invalid '{at}.function.name'.", f"{at}.function.name", "invalid_value")
        check_arguments(f"{at}.function.arguments", call["function"].get("arguments"))


def _check_content(param: str, content: Any, allowed: tuple[str, ...]) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise errors.wrong_type(param, "one of a string or array of objects", content)
    for number, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") not in allowed:
            found = part.get("type") if isinstance(part, dict) else part
            raise errors.wrong_value(f"{param}[{number}].type", found, (*allowed, "text"))


def _check_calls(messages: list[dict[str, Any]]) -> None:
    """Tool messages stand right after the assistant's message with their calls, one for each."""
    asked: set[str] = set()
    waiting: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            _take_output(number, message["tool_call_id"], waiting)
            continue
        _check_all_answered(number, waiting)
        waiting = [call["id"] for call in message.get("tool_calls") or []]
        if len(set(waiting)) < len(waiting) or asked & set(waiting):
            raise errors.bad("Duplicate value for 'tool_call_id'.", f"messages.[{number}].tool_calls")
        asked |= set(waiting)
    _check_all_answered(len(messages), waiting)


def _take_output(number: int, call_id: str, waiting: list[str]) -> None:
    if call_id not in waiting:
        reason = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'"
        raise errors.bad(f"Invalid parameter: {reason}.", f"messages.[{number}].role")
    waiting.remove(call_id)


def _check_all_answered(number: int, waiting: list[str]) -> None:
    if waiting:
        rule = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'"
        )
        which = f"The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        raise errors.bad(f"{rule}. {which}", f"messages.[{number}].role")


def _plain(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if message["role"] == "tool":
        yield {"output": message["tool_call_id"], "text": _text(message["content"])}
        return
    if message.get("content") is not None:
        yield {"role": message["role"], "text": _text(message["content"])}
    for call in message.get("tool_calls") or []:
        yield {"call": call["id"], "name": call["function"]["name"], "arguments": call["function"]["arguments"]}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def answer(reply: Reply, model: str) -> dict[str, Any]:
    """A whole completion."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for part in reply.parts:
        match part:
            case Text():
                message["content"] = (message["content"] or "") + part.text
            case Refused():
                message["refusal"] = part.text
            case ToolCall():
                message.setdefault("tool_calls", []).append(_call(part))
    finish = "tool_calls" if "tool_calls" in message else "stop"
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": _usage(reply),
    }


def _call(part: ToolCall) -> dict[str, Any]:
    call_id = part.call_id or f"call_{secrets.token_hex(12)}"
    return {"id": call_id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}


def _usage(reply: Reply) -> dict[str, int]:
    read, written = reply.input_tokens, reply.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def stream(reply: Reply, completion: dict[str, Any], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """The chunks of a completion.

    Args:
        reply: What is answered, with the pieces of its texts.
        completion: The same, whole.
        with_usage: Whether the request asked for a last chunk that holds the usage.
    """
    chunk = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    [choice] = completion["choices"]
    for delta in [{"role": "assistant", "content": ""}, *_deltas(reply, choice["message"])]:
        yield chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if with_usage:
        yield chunk | {"choices": [], "usage": completion["usage"]}


def _deltas(reply: Reply, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in reply.parts:
        if isinstance(part, Text):
            for delta in part.deltas:
                yield {"content": delta}
        elif isinstance(part, Refused):
            yield {"refusal": part.text}
    for index, call in enumerate(message.get("tool_calls", [])):
        yield {"tool_calls": [{"index": index, **call, "function": call["function"] | {"arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]}
