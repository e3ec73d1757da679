"""What a model can be sent: a history made valid for any provider, and text made Unicode.

Not every provider takes every history back: ids have another provider's form, reasoning has lost what it was about,
a model wrote arguments that are no JSON, or half of a surrogate pair. What is sent is a mended copy; what is stored
stays as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

ID_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fc"}
"""How the Responses API wants the ids of items to begin; what has another form, came from another provider."""

MOST_ID_CHARACTERS = 64

MOST_NAME_CHARACTERS = 64
"""Of a tool's name in chat completions. The Responses API takes 128."""

PLACEHOLDER_ID = "__fake_id__"
"""The SDK's own, for items without an id: it leaves it out where ids are sent, and wants it elsewhere."""

INVALID_ARGUMENTS = "invalid_json"
"""The one member of the object that stands for arguments which are none."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


def unicode(text: str) -> str:
    """Text with the halves of surrogate pairs joined, and with U+FFFD where one half is alone."""
    return text if text.isascii() or not _SURROGATES.search(text) else _joined(text)


def clean(value: Any) -> Any:
    """The same for every text in JSON: what needs no cleaning is returned as it is, not copied."""
    match value:
        case str():
            return unicode(value)
        case list():
            return [clean(member) for member in value]
        case dict():
            return {unicode(name): clean(member) for name, member in value.items()}
    return value


def clean_arguments(arguments: str) -> str:
    """A call's arguments without halves of surrogate pairs, be they written out or escaped; else as they were."""
    text = unicode(arguments)
    if "\\u" not in text:
        return text
    try:
        decoded = json.loads(text)
        json.dumps(decoded, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(clean(decoded))
    except (ValueError, RecursionError):
        pass
    return text


def sendable(items: Iterable[Any]) -> list[Any]:
    """A history that any provider takes.

    Args:
        items: Items as the SDK sends them; they are not changed.

    Returns:
        The items, those changed that had to be. Outputs without a call before them are left out, and so is reasoning
        without its id or without what it was about; ids of another provider's form become the SDK's placeholder.
    """
    kept = [_mended(item) for item in _with_calls(items)]
    return list(_with_reasons(kept))


def _with_calls(items: Iterable[Any]) -> Iterator[Any]:
    calls: set[tuple[str, str]] = set()
    for item in items:
        kind, call_id = (str(item.get("type")), str(item.get("call_id"))) if isinstance(item, dict) else ("", "")
        if kind in _OUTPUTS.values():
            calls.add((kind, call_id))
        if kind not in _OUTPUTS or (_OUTPUTS[kind], call_id) in calls:
            yield item


def _mended(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    item = clean(item)
    if "id" in item and not _is_id(item["id"], str(item.get("type", "message"))):
        item = _without_id(item)
    if item.get("type") == "function_call":
        return item | {"name": _name(item.get("name")), "arguments": _arguments(item.get("arguments"))}
    return item


def _name(name: Any) -> str:
    """A tool's name; one that a model invented may have characters that no tool's may."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    return _NOT_IN_NAMES.sub("_", str(name))[:MOST_NAME_CHARACTERS] or "_"


def _arguments(arguments: Any) -> Any:
    return arguments if is_json_object(arguments) else json.dumps({INVALID_ARGUMENTS: str(arguments)})


def _with_reasons(items: list[Any]) -> Iterator[Any]:
    """Leave out reasoning that cannot be sent, and the ids of what followed it: they would ask for it."""
    reasoning_left_out = False
    for item, following in pairwise([*items, None]):
        if _is_reasoning(item):
            reasoning_left_out = not (_is_referable(item) and _is_own(following))
            if not reasoning_left_out:
                yield item
        elif reasoning_left_out and _is_own(item):
            yield _without_id(item)
        else:
            reasoning_left_out = False
            yield item


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"id": PLACEHOLDER_ID} if "id" in item else item


def _is_id(value: Any, kind: str) -> bool:
    prefix = ID_PREFIXES.get(kind)
    return prefix is None or (isinstance(value, str) and value.startswith(prefix) and len(value) <= MOST_ID_CHARACTERS)


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"


def _is_referable(item: dict[str, Any]) -> bool:
    has_id = item.get("id") not in (None, PLACEHOLDER_ID)
    return has_id or bool(item.get("encrypted_content") or item.get("provider_data"))


def _is_own(item: Any) -> bool:
    """Whether the model wrote it."""
    if not isinstance(item, dict):
        return False
    kind = str(item.get("type", "message"))
    return item.get("role") == "assistant" or kind == "reasoning" or kind.endswith("_call")


def is_json_object(text: Any) -> bool:
    """Whether a text is that of a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, TypeError, RecursionError):
        return False


def _joined(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
