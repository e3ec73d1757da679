"""An item without its content: a notice stands in its place, in a form that a model accepts. Pure."""

from __future__ import annotations

from typing import Any

NOTICE = "[redacted]"
"""What stands in place of a content, where nothing else is asked for."""

NOTICE_LIMIT_CHARACTERS = 1_000
"""Longest notice."""

_KEPT = (
    *("type", "role", "id", "call_id", "status", "name", "namespace", "phase"),
    *("server_label", "container_id", "approval_request_id", "approve"),
)

_EMPTY: dict[str, dict[str, Any]] = {
    "web_search_call": {"action": {"type": "search", "query": ""}},
    "file_search_call": {"queries": []},
    "code_interpreter_call": {"code": None, "outputs": None},
    "image_generation_call": {"result": None},
    "computer_call": {"action": {"type": "screenshot"}, "pending_safety_checks": []},
    "computer_call_output": {"output": {"type": "computer_screenshot"}},
    "local_shell_call": {"action": {"type": "exec", "command": [], "env": {}}},
    "shell_call": {"action": {"commands": []}},
    "shell_call_output": {"output": []},
    "apply_patch_call": {"operation": {"type": "delete_file", "path": ""}},
    "mcp_list_tools": {"tools": []},
    "mcp_approval_request": {"arguments": "{}"},
    "mcp_approval_response": {},
    "tool_search_call": {"arguments": {}},
    "tool_search_output": {"tools": []},
}
"""Members without which a model's endpoint refuses an item of a hosted tool, saying nothing.
https://platform.openai.com/docs/api-reference/responses/create, its input items."""


def redacted(item: Any, notice: str) -> dict[str, Any]:
    """An item that says the notice and nothing else; what ties it to others, such as a call's id, stays.

    Args:
        item: An item of a history, of any kind.
        notice: What it is to say.
    """
    values = item if isinstance(item, dict) else {}
    kept = {name: values[name] for name in _KEPT if isinstance(values.get(name), (str, bool))}
    kind = str(values.get("type", "message" if "role" in values else ""))
    if kind in _EMPTY:
        return {**kept, **_EMPTY[kind]}
    if kind.endswith("_output"):
        return {**kept, "output": notice}
    if kind.endswith("_call"):
        return {**kept, **_asked(values)}
    if kind == "compaction":  # sealed by the provider, who refuses another content than its own
        return {"type": "message", "role": "developer", "content": notice}
    if kind == "reasoning":
        return {**kept, "summary": [{"type": "summary_text", "text": notice}]}
    if kind == "message":
        return {**kept, "content": _said(values, notice)}
    return {**kept, "redacted": notice}


def _asked(values: dict[str, Any]) -> dict[str, Any]:
    """What a call asks for: nothing."""
    return {name: empty for name, empty in (("arguments", "{}"), ("input", "")) if name in values}


def _said(values: dict[str, Any], notice: str) -> Any:
    if not isinstance(values.get("content"), list):
        return notice
    if values.get("role") == "assistant":
        return [{"type": "output_text", "text": notice, "annotations": []}]
    return [{"type": "input_text", "text": notice}]
