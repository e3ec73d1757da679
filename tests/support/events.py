"""A client of the streaming function: requests over HTTP/1.1, and server-sent events one at a time."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """An answer whose body may still be on its way.

    Attributes:
        status: The HTTP status.
        headers: By name, in lower case.
    """

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse

    def json(self) -> Any:
        """The body."""
        return json.loads(self._response.read())

    def text(self) -> str:
        """The body."""
        return self._response.read().decode()

    def events(self) -> Iterator[Event]:
        """The events, each as soon as it is there; heartbeats are events named "heartbeat"."""
        fields: dict[str, str] = {}
        for line in iter(self._response.readline, b""):
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name:
                fields[name] = value
            elif line.startswith(b":"):
                yield "heartbeat", {}
            elif fields:
                yield fields["event"], json.loads(fields["data"])
                fields = {}


@dataclass(frozen=True)
class Client:
    """A client of one server.

    Attributes:
        url: The server's.
        headers: Sent with every request.
    """

    url: str
    headers: Mapping[str, str]

    @contextmanager
    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[Answer]:
        """Send a request; the connection is closed at the end of the with-block.

        Args:
            method: Of HTTP.
            path: Encoded.
            body: Sent as JSON; bytes as they are.
            **headers: Headers, their names with _ for -; without an accept header, an event stream is asked for.
        """
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        sent = {"accept": "text/event-stream", "content-type": "application/json", **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, content, sent)
            response = connection.getresponse()
            yield Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response)
        finally:
            connection.close()

    def send(self, session_id: str, message: str, **headers: str) -> list[Event]:
        """Send a message and read the stream to its end."""
        with self.ask("POST", path_of(session_id), {"message": message}, **headers) as answer:
            assert answer.status == 200, answer.text()
            return list(answer.events())

    def get(self, path: str) -> Any:
        """Read a resource as JSON."""
        with self.ask("GET", path) as answer:
            return answer.json()

    def history(self, session_id: str) -> list[dict[str, Any]]:
        """A session's items."""
        items: list[dict[str, Any]] = self.get(path_of(session_id))["items"]
        return items


def path_of(session_id: str, rest: str = "") -> str:
    """A session's path."""
    return f"/sessions/{quote(session_id, safe='')}{rest}"


def said(events: list[Event]) -> str:
    """The text that a stream's deltas make."""
    return "".join(data["delta"] for name, data in events if name == "text")
