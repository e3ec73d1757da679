"""A model behind OpenAI's chat API, on this machine: it says what a test tells it to, and takes as long.

with FakeModel() as model:
    model.reply = lambda messages: says("Hello")
    ...                                          # MODEL_PROVIDER=compatible, MODEL_BASE_URL=model.base_url
    model.delay_seconds = 60                     # from now on it hangs, for a test of deadlines
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tools.emulation.server import LocalServer, read_body, write

Messages = list[dict[str, Any]]
Reply = Callable[[Messages], dict[str, Any]]


def says(text: str) -> dict[str, Any]:
    """A message."""
    return {"role": "assistant", "content": text}


def calls(tool: str, call_id: str, **arguments: Any) -> dict[str, Any]:
    """A tool call."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def tool_then_answer(tool: str, **arguments: Any) -> Reply:
    """Calls a tool once for each user message, then says what came of it."""

    def reply(messages: Messages) -> dict[str, Any]:
        if messages[-1]["role"] == "tool":
            return says(f"It is {messages[-1]['content']}.")
        return calls(tool, f"call_{len(messages)}", **arguments)

    return reply


class FakeModel(LocalServer):
    """A model server on a free port of 127.0.0.1.

    Attributes:
        reply: Makes the answer from the messages.
        delay_seconds: How long each answer takes.
        refuse: Whether it answers with an error.
        seen: The messages of every request since the last reset.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrived = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Answer at once and plainly, and forget what was seen."""
        self.reply: Reply = lambda messages: says(f"You said: {messages[-1]['content']}")
        self.delay_seconds = 0.0
        self.refuse = False
        self.seen: list[Messages] = []

    @property
    def base_url(self) -> str:
        """For MODEL_BASE_URL."""
        return f"{self.url}/v1"

    def wait_for(self, requests: int, seconds: float = 20) -> None:
        """Wait until so many requests have arrived since the last reset.

        Raises:
            TimeoutError: They have not.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.seen) >= requests, seconds):
                raise TimeoutError(f"the model was asked {len(self.seen)} times in {seconds} s, not {requests}")

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(read_body(request))
        message = self.reply(body["messages"])  # which may set the others
        delay, refuse = self.delay_seconds, self.refuse
        with self._arrived:
            self.seen.append(body["messages"])
            self._arrived.notify_all()
        if self._stopped.wait(delay):
            return
        answer = {"error": {"message": "no"}} if refuse else _completion(body["model"], message)
        content = json.dumps(answer).encode()
        with contextlib.suppress(OSError):  # who asked has gone
            write(request, 400 if refuse else 200, content, {"content-type": "application/json"})


def _completion(model: str, message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "completion",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
