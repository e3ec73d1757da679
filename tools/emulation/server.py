"""An HTTP server on a free port of 127.0.0.1, on threads: what stands in for other people's services."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class _Server(ThreadingHTTPServer):
    request_queue_size = 512  # the default of 5 resets connections when many calls arrive at once
    daemon_threads = False


class LocalServer(ABC):
    """A server for the time of a with-block.

    Attributes:
        takes_get: Whether it takes GET requests, besides POST.
    """

    takes_get = False

    def __init__(self) -> None:
        self._stopped = threading.Event()

    @abstractmethod
    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request; runs on a thread of its own."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to listen."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.close_connection = True
                server._serve(self)

            def do_GET(self) -> None:
                if server.takes_get:
                    self.do_POST()
                else:
                    self.send_error(HTTPStatus.NOT_IMPLEMENTED)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; requests that wait for `_stopped` end."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


def read_body(request: BaseHTTPRequestHandler) -> bytes:
    """What a request carries."""
    return request.rfile.read(int(request.headers["content-length"] or 0))


def write(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Answer, and close the connection."""
    request.send_response(status)
    for name, value in {**headers, "content-length": str(len(body)), "connection": "close"}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
