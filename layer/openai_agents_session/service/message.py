"""What a user may say: a text, or the SDK's content parts with images and files.

::

    "Hello"
    [{"type": "input_text", "text": "What is this?"},
     {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0..."},
     {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0..."}]

What a provider would not take must not get into a history: every later turn would send it again, and fail.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from .errors import RequestError

Message = str | list[dict[str, Any]]

MAX_MESSAGE_CHARACTERS = 100_000
MAX_MESSAGE_BYTES = 6 * 1024 * 1024
"""Of a message's JSON: a whole request to Lambda may have as many, a message of a queue 1 MB."""

MAX_PARTS = 100

_FORMS: Mapping[str, tuple[set[str], set[str]]] = {
    "input_text": ({"text"}, set()),
    "input_image": ({"image_url", "file_id"}, {"detail"}),
    "input_file": ({"file_data", "file_url", "file_id"}, {"filename", "detail"}),
}
"""The kinds of parts: members of which a part has one, and those that it may have besides."""

_DETAILS = ("auto", "low", "high")
_IMAGES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
"""What providers take, and how such a file begins."""

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


def checked(value: Any) -> Message:
    """A message, if it can be sent to a model.

    Raises:
        RequestError: It is none, or too large.
    """
    if isinstance(value, str):
        if not value.strip():
            raise RequestError(400, "message must be a text that is not empty, or a list of content parts")
        return _short_enough(_text(value))
    if not isinstance(value, list) or not value:
        raise RequestError(400, "message must be a text that is not empty, or a list of content parts")
    if len(value) > MAX_PARTS:
        raise _too_large(f"message has more than {MAX_PARTS} parts")
    parts = [_part(f"message[{number}]", part) for number, part in enumerate(value)]
    _short_enough("".join(part.get("text", "") for part in parts))
    if (size := len(json.dumps(parts, ensure_ascii=False).encode())) > MAX_MESSAGE_BYTES:
        raise _too_large(f"message has {size} bytes of JSON; the limit is {MAX_MESSAGE_BYTES}")
    return parts


def _part(name: str, part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _FORMS:
        raise RequestError(400, f"{name}.type must be one of {', '.join(_FORMS)}")
    one_of, others = _FORMS[kind]
    members = {member: value for member, value in part.items() if value is not None and member != "type"}
    if len(one_of & members.keys()) != 1:
        raise RequestError(400, f"{name} must have one of {', '.join(sorted(one_of))}")
    if unknown := sorted(members.keys() - one_of - others):
        raise RequestError(400, f"{name} has members that no {kind} has: {', '.join(unknown)}")
    for member, value in members.items():
        _member(f"{name}.{member}", member, value)
    return {"type": kind, **members}


def _member(name: str, member: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise RequestError(400, f"{name} must be a text that is not empty")
    _text(value, name)
    if member == "detail" and value not in _DETAILS:
        raise RequestError(400, f"{name} must be one of {', '.join(_DETAILS)}")
    if member == "image_url" and not value.startswith("https://"):
        _image(name, *_data(name, value))
    if member == "file_url" and not value.startswith("https://"):
        raise RequestError(400, f"{name} must begin with https://")
    if member == "file_data":
        _data(name, value)


def _data(name: str, url: str) -> tuple[str, bytes]:
    """The type and the content of a data URL."""
    found = _DATA.match(url[:200])
    try:
        content = binascii.a2b_base64(url[found.end() :], strict_mode=True) if found else b""
    except ValueError:  # binascii's own, and that of characters beyond ASCII
        content = b""
    if not found or not content:
        raise RequestError(400, f"{name} must be an https URL or data in base64, such as data:image/png;base64,...")
    return found[1].lower(), content


def _image(name: str, kind: str, content: bytes) -> None:
    if kind not in _IMAGES:
        raise RequestError(400, f"{name} must be one of {', '.join(_IMAGES)}, not {kind}")
    if not _IMAGES[kind].match(content):
        raise RequestError(400, f"{name} says that it is {kind}, and its content is not")


def _text(value: str, name: str = "message") -> str:
    if not value.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise RequestError(400, f"{name} holds half of a surrogate pair, which is not text")
    return value


def _short_enough(text: str) -> str:
    if len(text) > MAX_MESSAGE_CHARACTERS:
        raise _too_large(f"message exceeds {MAX_MESSAGE_CHARACTERS} characters")
    return text


def _too_large(reason: str) -> RequestError:
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
