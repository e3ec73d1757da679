"""What a user may say: texts and content parts that any provider takes, each with its limit."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.message import MAX_MESSAGE_BYTES, MAX_MESSAGE_CHARACTERS, MAX_PARTS, checked

TEXT = {"type": "input_text", "text": "What is this?"}
BEGINNINGS = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpeg": b"\xff\xd8\xff\xe0",
    "gif": b"GIF89a",
    "webp": b"RIFF\x00\x00\x00\x00WEBP",
}


def image(kind: str, content: bytes) -> dict[str, Any]:
    return {"type": "input_image", "image_url": f"data:image/{kind};base64,{base64.b64encode(content).decode()}"}


def file(content: bytes = b"%PDF-1.7", **more: Any) -> dict[str, Any]:
    data = f"data:application/pdf;base64,{base64.b64encode(content).decode()}"
    return {"type": "input_file", "filename": "a.pdf", "file_data": data} | more


@pytest.mark.parametrize(
    "parts",
    [
        [TEXT],
        [TEXT, TEXT],
        *[[TEXT, image(kind, beginning + b"...")] for kind, beginning in BEGINNINGS.items()],
        [image("png", BEGINNINGS["png"]) | {"detail": "high"}],
        [{"type": "input_image", "image_url": "https://example.com/a.png"}],
        [{"type": "input_image", "file_id": "file-1"}],
        [file()],
        [{"type": "input_file", "file_url": "https://example.com/a.pdf"}],
    ],
)
def test_content_parts_of_the_sdk_are_taken_as_they_are(parts: list[Any]) -> None:
    """Texts, images and files in the SDK's form are stored and sent unchanged."""
    assert checked(parts) == parts


def test_members_that_are_null_are_left_out() -> None:
    """A client that writes every member, empty ones as null, is understood."""
    assert checked([image("gif", b"GIF87a") | {"detail": None, "file_id": None}]) == [image("gif", b"GIF87a")]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([], "not empty"),
        ({}, "not empty"),
        (7, "not empty"),
        (None, "not empty"),
        ([7], r"message\[0\].type must be one of input_text, input_image, input_file"),
        ([TEXT, {"type": "input_audio", "input_audio": {}}], r"message\[1\].type"),
        ([{"type": ["input_text"]}], r"message\[0\].type"),
        ([{"text": "x"}], r"message\[0\].type"),
        ([{"type": "input_text"}], "one of text"),
        ([{"type": "input_text", "text": " "}], "not empty"),
        ([{"type": "input_text", "text": 7}], "not empty"),
        ([{"type": "input_text", "text": "\ud83d"}], "surrogate"),
        ([TEXT | {"role": "system"}], "role"),
        ([image("png", BEGINNINGS["png"]) | {"file_id": "f"}], "must have one of"),
        ([image("png", BEGINNINGS["png"]) | {"detail": "much"}], "detail must be one of"),
        ([image("png", b"not an image")], "its content is not"),
        ([image("svg+xml", b"<svg/>")], "must be one of image/png"),
        ([{"type": "input_image", "image_url": "http://example.com/a.png"}], "https"),
        ([{"type": "input_image", "image_url": "data:image/png;base64,not base64!"}], "base64"),
        ([{"type": "input_image", "image_url": "data:image/png;base64,"}], "base64"),
        ([{"type": "input_image", "image_url": "data:image/png;base64,ü"}], "base64"),
        ([{"type": "input_image", "image_url": {"url": "https://example.com"}}], "not empty"),
        ([file(file_data="JVBERi0=")], "base64"),
        ([{"type": "input_file", "filename": "a.pdf"}], "must have one of"),
        ([{"type": "input_file", "file_url": "file:///etc/passwd"}], "https"),
    ],
)
def test_what_a_provider_would_not_take_is_refused_with_what_is_wrong(message: Any, reason: str) -> None:
    """A part that would make every later turn fail does not get into the history."""
    with pytest.raises(RequestError, match=reason) as refusal:
        checked(message)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("x" * (MAX_MESSAGE_CHARACTERS + 1), MAX_MESSAGE_CHARACTERS),
        ([TEXT | {"text": "x" * (MAX_MESSAGE_CHARACTERS // 2 + 1)}] * 2, MAX_MESSAGE_CHARACTERS),
        ([TEXT] * (MAX_PARTS + 1), MAX_PARTS),
        ([image("png", BEGINNINGS["png"] + bytes(MAX_MESSAGE_BYTES * 3 // 4))], MAX_MESSAGE_BYTES),
    ],
    ids=["text", "texts", "parts", "bytes"],
)
def test_what_is_too_large_is_refused_with_its_limit(message: Any, limit: int) -> None:
    """The refusal of a message that is too large names the limit."""
    with pytest.raises(RequestError, match=str(limit)) as refusal:
        checked(message)
    assert refusal.value.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "detail"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_whatever_is_said_is_taken_or_refused(message: Any) -> None:
    """No message, of whatever form, ends in another error than a refusal."""
    try:
        taken = checked(message)
    except RequestError as error:
        refusal = error
    else:
        assert taken
        return
    assert refusal.status in (400, 413)
