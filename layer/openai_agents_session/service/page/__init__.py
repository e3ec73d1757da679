"""The chat page: its files, and the headers that let nothing run or load in it but what it brings.

The page is ``index.html``, a style and modules, without a framework. ``vendor/`` is put in by the layer's build: what
the page renders markdown with. Each answer gets a nonce of its own, which its scripts must bear and hand on to what
they import; an element that gets into the page by other ways has none, and does not run. Markup can only come from
DOMPurify: the browser refuses any other text that is to become markup (Trusted Types).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

SignIn = Callable[[], Awaitable[dict[str, str]]]

FOLDER = Path(__file__).parent
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
"""What is served besides the page itself."""

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'{issuer}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)


@dataclass(frozen=True)
class File:
    """A file of the page.

    Attributes:
        content: Its bytes.
        media_type: What they are.
        tag: Names this content, for browsers that have it already.
    """

    content: bytes
    media_type: str
    tag: str


def routes(sign_in: SignIn) -> list[Route]:
    """Where the page is served, and what it has to know to sign people in.

    Args:
        sign_in: Tells that: the page may ask the origin of its ``token_endpoint`` for a token. Nothing where nobody has
            to be signed in.
    """

    async def index(_: Request) -> Response:
        return _index("/".join((await sign_in()).get("token_endpoint", "").split("/")[:3]))

    async def how(_: Request) -> Response:
        return JSONResponse(await sign_in(), headers=_PLAIN | {"cache-control": "no-store"})

    served = {"/": index, "/sign-in": how, "/page/{name:path}": _file}
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in served.items()]


def _index(issuer: str) -> Response:
    nonce = secrets.token_urlsafe(16)
    html = (FOLDER / "index.html").read_text(encoding="utf-8").replace("{nonce}", nonce)
    headers = {
        "content-security-policy": POLICY.replace("{nonce}", nonce).replace("{issuer}", f" {issuer}" if issuer else ""),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store",  # a nonce is for one answer
    }
    return HTMLResponse(html, headers=_PLAIN | headers)


async def _file(request: Request) -> Response:
    file = files().get(request.path_params["name"])
    if file is None:
        return Response("there is no such file", 404, _PLAIN)
    headers = {"etag": file.tag, "cache-control": "no-cache", **_PLAIN}
    if request.headers.get("if-none-match") == file.tag:
        return Response(None, 304, headers)
    return Response(file.content, headers={**headers, "content-type": file.media_type})


_PLAIN = {"x-content-type-options": "nosniff"}


@cache
def files() -> Mapping[str, File]:
    """The files beside ``index.html``, by their names from the page's folder on."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
