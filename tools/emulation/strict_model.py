"""A model endpoint as strict as the real ones: the Responses API and chat completions, streamed and not.

with StrictModel() as model:
    model.script = by_turn(calls("pay", amount=3), says("Paid."))     # tools.emulation.strict_script
    ...                                          # MODEL_PROVIDER=openai or compatible, MODEL_BASE_URL=model.base_url
    assert model.refusals == []                  # every request was one that the real service accepts

A request is refused, with the status, the body and the code of the real service, for a wrong key, a history that is not
valid, or one that is too long: see `tools.emulation.strict_responses` and `tools.emulation.strict_chat` for the rules
and where they are from. What is valid is answered by the script, which may also misbehave
(`tools.emulation.strict_faults`).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tools.emulation import strict_chat, strict_errors, strict_responses
from tools.emulation.server import LocalServer, read_body, write
from tools.emulation.strict_errors import Error, Refusal
from tools.emulation.strict_faults import Broken, Hang, Raw
from tools.emulation.strict_responses import Issued
from tools.emulation.strict_script import Asked, Interface, Reply, Script, says

INTERFACES: dict[str, Interface] = {"/v1/responses": "responses", "/v1/chat/completions": "chat"}
CHARACTERS_A_TOKEN = 4
SSE = "text/event-stream"


@dataclass(frozen=True)
class Seen:
    """A request that arrived.

    Attributes:
        interface: Which one it came through.
        key: The API key that it carried.
        body: Its JSON; None where it is none.
        error: What it was refused with; None if it was accepted.
    """

    interface: Interface
    key: str
    body: Any
    error: Error | None


class StrictModel(LocalServer):
    """A model server on a free port of 127.0.0.1.

    Attributes:
        script: Decides on the answer to a request that is valid.
        keys: The API keys that count; None for any.
        most_tokens: The context window, in tokens of four characters of the history's JSON; None for no bound.
        late_refusal: Whether a context that is full is reported by a stream's event, as the Responses API may, instead
            of a status.
        seen: Every request since the last reset.
        issued: What was answered since the start.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.issued = Issued()
        self.reset()

    def reset(self) -> None:
        """Repeat what the user says, to anybody, and forget what was seen; what hangs ends."""
        with self._changed:
            self.script: Script = lambda asked: says(f"You said: {asked.said}")
            self.keys: set[str] | None = None
            self.most_tokens: int | None = None
            self.late_refusal = False
            self.seen: list[Seen] = []
            self.issued.rewritten.clear()
            self._generation = getattr(self, "_generation", 0) + 1
            self._changed.notify_all()

    @property
    def base_url(self) -> str:
        """For MODEL_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def refusals(self) -> list[Error]:
        """What was refused since the last reset."""
        return [seen.error for seen in self.seen if seen.error]

    def wait_for(self, requests: int, seconds: float = 20) -> None:
        """Wait until so many requests have arrived since the last reset.

        Raises:
            TimeoutError: They have not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.seen) >= requests, seconds):
                raise TimeoutError(f"the model was asked {len(self.seen)} times in {seconds} s, not {requests}")

    def __exit__(self, *_: object) -> None:
        """Stop; requests that hang end."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        super().__exit__()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        interface = INTERFACES.get(request.path)
        if interface is None:
            _write_error(request, Error(404, f"Invalid URL (POST {request.path})"))
            return
        with contextlib.suppress(OSError):  # who asked has gone
            self._answer(request, interface)

    def _answer(self, request: BaseHTTPRequestHandler, interface: Interface) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        body: Any = None
        error: Error | None = None
        items: list[dict[str, Any]] = []
        try:
            body = _parsed(read_body(request))
            items = self._checked(interface, key, body)
        except Refusal as refusal:
            error = refusal.error
        with self._changed:
            generation = self._generation
            self.seen.append(Seen(interface, key, body, error))
            asked = Asked(interface, len(self.seen), bool(body and body.get("stream")), items, body or {})
            answer = error or self.script(asked)
            self._changed.notify_all()
        self._write(request, asked, answer, generation)

    def _checked(self, interface: Interface, key: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        if self.keys is not None and key not in self.keys:
            raise strict_errors.wrong_key(key)
        history = body.get("input" if interface == "responses" else "messages")
        tokens = len(json.dumps(history)) // CHARACTERS_A_TOKEN
        if self.most_tokens is not None and tokens > self.most_tokens:
            raise strict_errors.context_full(interface, tokens, self.most_tokens)
        return strict_responses.check(body, self.issued) if interface == "responses" else strict_chat.check(body)

    def _write(self, request: BaseHTTPRequestHandler, asked: Asked, answer: Any, generation: int) -> None:
        match answer:
            case Error():
                if self.late_refusal and asked.streamed and answer.code == "context_length_exceeded":
                    _write_stream(request, [{"type": "error", "sequence_number": 0, **answer.body["error"]}])
                else:
                    _write_error(request, answer)
            case Raw():
                write(request, answer.status, answer.body, answer.headers)
            case Hang():
                self._wait(None, generation)
            case Broken():
                _write_broken(request, asked, answer, self.issued)
                if answer.hangs:
                    request.wfile.flush()
                    self._wait(None, generation)
            case Reply():
                if answer.delay_seconds:
                    self._wait(answer.delay_seconds, generation)
                _write_reply(request, asked, answer, self.issued)
            case _:
                raise TypeError(f"the script answered {answer!r}")

    def _wait(self, seconds: float | None, generation: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped.is_set() or self._generation != generation, seconds)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
        json.dumps(body, ensure_ascii=False).encode()  # fails on half of a surrogate pair
    except ValueError:
        raise strict_errors.not_json() from None
    if not isinstance(body, dict):
        raise strict_errors.not_json()
    return body


def _events(asked: Asked, reply: Reply, issued: Issued) -> tuple[dict[str, Any], Iterable[dict[str, Any]]]:
    """The answer whole, and as a stream."""
    model = asked.body["model"]
    if asked.interface == "chat":
        completion = strict_chat.answer(reply, model)
        with_usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
        return completion, strict_chat.stream(reply, completion, with_usage=with_usage)
    response = strict_responses.answer(reply, model)
    issued.note(response["output"])
    return response, strict_responses.stream(reply, response)


def _write_reply(request: BaseHTTPRequestHandler, asked: Asked, reply: Reply, issued: Issued) -> None:
    whole, events = _events(asked, reply, issued)
    if asked.streamed:
        _write_stream(request, events)
    else:
        write(request, 200, json.dumps(whole).encode(), {"content-type": "application/json"})


def _write_stream(request: BaseHTTPRequestHandler, events: Iterable[dict[str, Any]]) -> None:
    _begin_stream(request)
    for event in events:
        _write_chunk(request, _sse(event))
    if "/chat/" in request.path:
        _write_chunk(request, b"data: [DONE]\n\n")
    request.wfile.write(b"0\r\n\r\n")


def _write_broken(request: BaseHTTPRequestHandler, asked: Asked, broken: Broken, issued: Issued) -> None:
    whole, events = _events(asked, broken.reply, issued)
    if not asked.streamed:
        content = json.dumps(whole).encode()
        request.send_response(200)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        return
    _begin_stream(request)
    for _, event in zip(range(broken.events), events, strict=False):
        _write_chunk(request, _sse(event))
    if not broken.hangs:
        request.wfile.write(b"0\r\n\r\n" if broken.cleanly else b"400\r\ndata: {")


def _begin_stream(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("content-type", SSE)
    request.send_header("transfer-encoding", "chunked")
    request.send_header("connection", "close")
    request.end_headers()


def _sse(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def _write_chunk(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    request.wfile.flush()


def _write_error(request: BaseHTTPRequestHandler, error: Error) -> None:
    headers = {"content-type": "application/json", **error.headers}
    write(request, error.status, json.dumps(error.body).encode(), headers)
