"""A model that streams, behind OpenAI's chat API on this machine, and says a word only when it is let.

with StreamingModel() as model:
    model.hold()                # from now on, no word
    model.let(2)                # two words
    model.let_go()              # the rest, and everything after
"""

from __future__ import annotations

import io
import json
import math
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

from tools.emulation.model import FakeModel
from tools.emulation.server import read_body


class StreamingModel(FakeModel):
    """A model server whose answers come in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._words: float = math.inf
        self._let = threading.Condition()

    def hold(self) -> None:
        """Say nothing from now on."""
        self._allow(0)

    def let(self, words: int) -> None:
        """Say so many words more."""
        self._allow(self._words + words)

    def let_go(self) -> None:
        """Say everything."""
        self._allow(math.inf)

    def __exit__(self, *_: object) -> None:
        """Stop; requests that hang end."""
        self.let_go()
        super().__exit__()

    def _allow(self, words: float) -> None:
        with self._let:
            self._words = words
            self._let.notify_all()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        content = read_body(request)
        body = json.loads(content)
        if not body.get("stream"):
            request.rfile = io.BytesIO(content)
            super()._serve(request)
            return
        message = self.reply(body["messages"])
        with self._arrived:
            self.seen.append(body["messages"])
            self._arrived.notify_all()
        request.send_response(400 if self.refuse else 200)
        request.send_header("content-type", "text/event-stream")
        request.end_headers()
        try:
            for delta in () if self.refuse else _deltas(message):
                self._take_a_word()
                _write(request, body["model"], delta, None)
            _write(request, body["model"], {}, "tool_calls" if "tool_calls" in message else "stop")
            if (body.get("stream_options") or {}).get("include_usage"):
                _write_usage(request, body["model"])
            request.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # who asked has gone

    def _take_a_word(self) -> None:
        with self._let:
            self._let.wait_for(lambda: self._words > 0)
            self._words -= 1


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if message.get("content"):
        for word in re.findall(r"\s*\S+", message["content"]):
            yield {"role": "assistant", "content": word}
    for index, call in enumerate(message.get("tool_calls", [])):
        yield {"role": "assistant", "tool_calls": [{"index": index, **call}]}


def _write_usage(request: BaseHTTPRequestHandler, model: str) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    chunk = {
        "id": "completion",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [],
        "usage": usage,
    }
    request.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())


def _write(request: BaseHTTPRequestHandler, model: str, delta: dict[str, Any], finish: str | None) -> None:
    chunk = {
        "id": "completion",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    request.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
    request.wfile.flush()
