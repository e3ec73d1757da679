"""What a model is sent is valid whatever the history holds, and its text is Unicode."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.service.sendable import (
    INVALID_ARGUMENTS,
    PLACEHOLDER_ID,
    clean,
    clean_arguments,
    sendable,
    unicode,
)

HIGH, LOW = "\ud83d", "\ude00"
USER = {"role": "user", "content": "Hello"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "pay", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "paid"}


def without_id(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"id": PLACEHOLDER_ID}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (HIGH + LOW, "😀"),
        (f"a{HIGH}b", "a\ufffdb"),
        (LOW, "\ufffd"),
        (LOW + HIGH, "\ufffd\ufffd"),
        ("😀", "😀"),
    ],
)
def test_halves_of_a_pair_are_joined_or_replaced(text: str, expected: str) -> None:
    assert unicode(text) == expected
    assert clean({"a": [text, {text: 1}], "b": 2}) == {"a": [expected, {expected: 1}], "b": 2}


@given(st.text(st.characters(categories=["L", "N", "Cs", "So"])))
def test_any_text_becomes_one_that_can_be_encoded(text: str) -> None:
    assert unicode(unicode(text)) == unicode(text)
    unicode(text).encode()
    json.dumps(json.loads(clean_arguments(json.dumps({"a": text}))), ensure_ascii=False).encode()


@pytest.mark.parametrize("arguments", ['{"key": "\\ud83d\\ude00"}', '{"key": "ü"}', "{broken \\u12", '{"a": 1}'])
def test_arguments_that_hold_no_half_stay_as_the_model_wrote_them(arguments: str) -> None:
    assert clean_arguments(arguments) == arguments


def test_half_of_a_pair_that_is_escaped_in_arguments_is_replaced() -> None:
    assert json.loads(clean_arguments('{"key": "\\ud83d"}')) == {"key": "\ufffd"}


@pytest.mark.parametrize("name", ["functions.pay", "pay now", "pay\ufffd", LOW, "", "ü" * 200, None])
def test_the_name_of_a_tool_that_there_is_not_is_sent_in_characters_that_names_may_have(name: Any) -> None:
    [_, call, output] = sendable([USER, CALL | {"name": name}, OUTPUT])
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["name"])
    assert output == OUTPUT


@pytest.mark.parametrize("name", ["pay", "a-b_C9", "x" * 128])
def test_a_name_that_a_tool_may_have_is_sent_as_it_is(name: str) -> None:
    assert sendable([USER, CALL | {"name": name}, OUTPUT])[1]["name"] == name


def test_a_history_that_is_valid_is_sent_as_it_is() -> None:
    history = [USER, REASONING, CALL, OUTPUT, MESSAGE, USER]
    assert sendable(history) == history


@pytest.mark.parametrize(
    ("history", "sent"),
    [
        pytest.param([USER, OUTPUT, USER], [USER, USER], id="an output without its call"),
        pytest.param([USER, OUTPUT, CALL, OUTPUT], [USER, CALL, OUTPUT], id="an output before its call"),
        pytest.param([USER, REASONING], [USER], id="reasoning at the end"),
        pytest.param([USER, REASONING, USER], [USER, USER], id="reasoning about nothing"),
        pytest.param([USER, without_id(REASONING), MESSAGE], [USER, without_id(MESSAGE)], id="reasoning without an id"),
        pytest.param([USER, REASONING | {"id": "x_1"}, CALL, OUTPUT], [USER, without_id(CALL), OUTPUT], id="foreign"),
        pytest.param([USER, MESSAGE | {"id": "offline_1"}], [USER, without_id(MESSAGE)], id="another provider's id"),
        pytest.param([USER, CALL | {"id": "msg_1"}, OUTPUT], [USER, without_id(CALL), OUTPUT], id="another kind's id"),
        pytest.param([USER, MESSAGE | {"id": "msg_" + "x" * 61}], [USER, without_id(MESSAGE)], id="a long id"),
        pytest.param([USER, {"type": "reasoning", "summary": []}, MESSAGE], [USER, without_id(MESSAGE)], id="no id"),
        pytest.param([{"role": "user", "content": HIGH}], [{"role": "user", "content": "\ufffd"}], id="half a pair"),
    ],
)
def test_what_a_provider_would_refuse_is_mended(history: list[Any], sent: list[Any]) -> None:
    before = json.dumps(history)
    assert sendable(history) == sent
    assert json.dumps(history) == before


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null", '"x"', None])
def test_arguments_that_are_no_json_object_are_sent_in_one(arguments: Any) -> None:
    [_, call, _] = sendable([USER, CALL | {"arguments": arguments}, OUTPUT])
    assert json.loads(call["arguments"]) == {INVALID_ARGUMENTS: str(arguments)}


def test_what_is_no_item_is_left_to_the_provider() -> None:
    assert sendable(["text", 3]) == ["text", 3]


def test_what_a_provider_compacted_is_sent_back_as_it_is() -> None:
    """OpenAI's own compaction puts an item into the history that means something to it alone."""
    compacted = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA", "created_by": "server"}
    items = [{"role": "user", "content": "Hello"}, compacted, {"role": "user", "content": "And now?"}]
    assert sendable(items) == items
