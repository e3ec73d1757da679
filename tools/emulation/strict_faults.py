"""Ways in which a model's endpoint misbehaves, each in the place of an answer.

model.script = each(HTML, CUT_JSON, says("Hello"))
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.emulation.strict_script import Reply, says


@dataclass(frozen=True)
class Raw:
    """An answer of any bytes.

    Attributes:
        status: The HTTP status.
        body: The bytes.
        headers: HTTP headers.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


@dataclass(frozen=True)
class Hang:
    """No answer at all, until the test ends the endpoint or resets it."""


@dataclass(frozen=True)
class Broken:
    """An answer whose connection ends in the middle.

    Attributes:
        reply: What is begun.
        events: How many events of a stream are sent whole; of a whole answer, half of the bytes are.
        cleanly: Whether the stream ends as if it were complete, without its last event.
        hangs: Whether nothing more comes, and the connection stays open.
    """

    reply: Reply = field(default_factory=lambda: says("Half of this is never said."))
    events: int = 5
    cleanly: bool = False
    hangs: bool = False


Misbehaviour = Raw | Hang | Broken

HTML = Raw(200, b"<html><body><h1>Welcome to the proxy</h1></body></html>", {"content-type": "text/html"})
HTML_502 = Raw(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", {"content-type": "text/html"})
CUT_JSON = Raw(200, b'{"id": "resp_1", "object": "response", "output": [{"ty')
EMPTY = Raw(200, b"")
LIST = Raw(200, b"[]")
NULL = Raw(200, b"null")
ERROR_200 = Raw(200, b'{"error": {"message": "the upstream is overloaded", "type": "server_error", "code": null}}')
SERVER_ERROR = Raw(500, b'{"error": {"message": "The server had an error", "type": "server_error", "code": null}}')
