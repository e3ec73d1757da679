"""What a head says beside its history: its stored form, titles, redactions, and where a history may end. Pure."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from pydantic import TypeAdapter

from openai_agents_session.storage.profile import NO_PROFILE, Profile, from_head
from openai_agents_session.storage.record import DamagedRecordError
from openai_agents_session.storage.redaction import redacted
from openai_agents_session.storage.titles import (
    DERIVED_CHARACTERS,
    TITLE_LIMIT_BYTES,
    TITLE_LIMIT_CHARACTERS,
    copy_title,
    derived_title,
    one_line,
    stem,
)
from openai_agents_session.storage.usage import NO_LEDGER, Ledger, Usage
from openai_agents_session.tool_calls import is_whole_cut


def _ledger(entries: list[tuple[int, Usage]]) -> Ledger:
    ledger = NO_LEDGER
    for second, usage in entries:
        ledger = ledger.plus(second, usage)
    return ledger


usages = st.builds(Usage, *[st.integers(0, 1 << 40) for _ in range(5)])
ledgers = st.lists(st.tuples(st.integers(0, 1 << 33), usages), max_size=12).map(_ledger)
profiles = st.builds(
    Profile,
    title=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    is_derived=st.booleans(),
    metadata=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(), max_size=3
    ).map(lambda values: json.dumps(values, ensure_ascii=False)),
    ledger=ledgers,
    active=st.none() | st.integers(0, 1 << 45),
    milliseconds=st.integers(0, 999),
)


@given(profiles)
def test_what_is_stored_is_read_back(profile: Profile) -> None:
    """A profile comes back as it was, and one that says nothing takes no attribute."""
    assert from_head(profile.attributes()) == profile
    assert NO_PROFILE.attributes() == {}
    assert from_head({}) == NO_PROFILE


@given(profiles.filter(lambda profile: "profile" in profile.attributes()), st.data())
def test_what_is_damaged_is_not_read(profile: Profile, data: st.DataObject) -> None:
    """A record with a byte changed or cut off is damage."""
    attributes = profile.attributes()
    packed: bytes = attributes["profile"]["B"]
    at = data.draw(st.integers(0, len(packed) - 1))
    for broken in (packed[:at], packed[:at] + bytes([packed[at] ^ data.draw(st.integers(1, 255))]) + packed[at + 1 :]):
        with pytest.raises(DamagedRecordError):
            from_head({**attributes, "profile": {"B": broken}})


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100), st.integers(1, 12))
def test_a_copys_title_differs_from_all_before_it_and_may_be_stored(title: str, copies: int) -> None:
    """Copies of copies each have a title of their own, not longer than one that may be given."""
    seen = [title]
    for _ in range(copies):
        seen.append(copy_title(seen[-1]))
        assert len(seen[-1]) <= TITLE_LIMIT_CHARACTERS
        assert len(seen[-1].encode()) <= TITLE_LIMIT_BYTES
        assert stem(seen[-1]) != seen[-1]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("title", "copy"),
    [
        ("Lisbon", "Lisbon (copy)"),
        ("Lisbon (copy)", "Lisbon (copy 2)"),
        ("Lisbon (copy 9)", "Lisbon (copy 10)"),
        ("(copy)", "(copy) (copy)"),
        ("x" * 100, "x" * 92 + "… (copy)"),
    ],
)
def test_a_copy_says_so_in_its_title(title: str, copy: str) -> None:
    """A copy has its original's title, as far as there is room, and a mark behind it."""
    assert copy_title(title) == copy


@pytest.mark.parametrize("active", ["-1", "1.5", "x", "9" * 30, "1e3", "٣"])
def test_a_moment_that_is_none_is_damage(active: str) -> None:
    """A sort key that no writer of this library makes is not believed."""
    with pytest.raises(DamagedRecordError):
        from_head({"active": {"N": active}})


@given(st.lists(st.integers(0, 20 * 86_400_000), min_size=1, max_size=30))
def test_the_sort_key_changes_once_a_day(moments: list[int]) -> None:
    """Writes at any times leave a sort key of the day of the last write, which changes only when that does."""
    profile, changes, days = NO_PROFILE, 0, 0
    for before, at in zip([None, *moments], moments, strict=False):
        after = profile.listed(*divmod(at, 1000))
        changes += after.active != profile.active
        days += before is None or before // 86_400_000 != at // 86_400_000
        assert after.active is not None
        assert after.active // 86_400_000 == at // 86_400_000
        profile = after
    assert changes <= days
    assert profile.unlisted() == NO_PROFILE


# --- titles ----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_line_is_one_line(text: str) -> None:
    """Whatever a text holds, as a line it has one line, no control characters, no space at its ends, and stays so."""
    line = one_line(text)
    assert line == line.strip() == one_line(line)
    assert line.splitlines() in ([], [line])
    assert all(unicodedata.category(mark) not in {"Cc", "Cs", "Zl", "Zp"} for mark in line)
    line.encode()


@given(st.text(max_size=300))
def test_a_derived_title_is_short(text: str) -> None:
    """A title from any question is a line of at most so many characters, which begins as the question does."""
    title = derived_title([{"role": "user", "content": text}])
    if title is None:
        assert one_line(text) == ""
        return
    assert 0 < len(title) <= DERIVED_CHARACTERS
    assert len(title.encode()) <= 123
    assert one_line(text[:4_000]).startswith(title.removesuffix("…").rstrip())


@pytest.mark.parametrize(
    ("items", "title"),
    [
        ([], None),
        ([{"role": "assistant", "content": "Hello"}], None),
        ([{"role": "user", "content": ""}, {"role": "user", "content": "Second"}], "Second"),
        ([{"role": "user", "content": [{"type": "input_image"}, {"type": "input_text", "text": "See?"}]}], "See?"),
        ([{"role": "user", "content": [None, {"text": 7}, "x"]}, "x", None, 3], None),
        ([{"role": "user", "content": "word " * 40}], "word word word word word word word word word word word…"),
        ([{"role": "user", "content": "x" * 100}], "x" * 59 + "…"),
        ([{"role": "user", "content": "中" * 100}], "中" * 39 + "…"),
        ([{"role": "user", "content": "a" * 58 + "e\u0301\u0302 and more"}], "a" * 58 + "…"),
        ([{"role": "user", "content": "lone \ud800 surrogate"}], "lone surrogate"),
    ],
)
def test_derived_titles(items: list[Any], title: str | None) -> None:
    """The first text of a user gives the title, cut between words and never within a character."""
    assert derived_title(items) == title


# --- redactions ------------------------------------------------------------------------------------------------------

ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "secret"},
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "secret"}, {"type": "input_image", "image_url": "secret"}],
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "secret", "annotations": [{"url": "secret"}]}],
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "secret"}],
        "encrypted_content": "secret",
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "pay", "arguments": '{"to": "secret"}'},
    {"type": "custom_tool_call", "call_id": "c", "name": "pay", "input": "secret"},
    {"type": "function_call_output", "call_id": "c", "output": "secret"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "secret"}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "secret"}},
    {"type": "compaction", "encrypted_content": "secret"},
    {"__enc__": 1, "payload": "secret"},
    {"content": "secret"},
]


@pytest.mark.parametrize("item", ITEMS)
def test_a_redacted_item_says_nothing_of_what_it_said(item: dict[str, Any]) -> None:
    """What ties an item to others stays, everything else goes, whatever its kind; twice is as good as once."""
    done = redacted(item, "gone")
    assert "secret" not in json.dumps(done)
    for name in ("type", "role", "id", "call_id", "name", "status") if item.get("type") != "compaction" else ():
        assert done.get(name) == item.get(name)
    assert redacted(done, "gone") == done
    if "content" in item and "role" in item:
        assert type(done["content"]) is type(item["content"])
    json.loads(done.get("arguments", "{}"))


_HOSTED: dict[str, dict[str, Any]] = {
    "web_search_call": {"id": "i", "status": "completed", "action": {"type": "search", "query": "secret"}},
    "file_search_call": {"id": "i", "status": "completed", "queries": ["secret"], "results": [{"text": "secret"}]},
    "code_interpreter_call": {
        "id": "i",
        "status": "completed",
        "container_id": "c",
        "code": "secret",
        "outputs": [{"type": "logs", "logs": "secret"}],
    },
    "image_generation_call": {"id": "i", "status": "completed", "result": "secret"},
    "computer_call": {
        "id": "i",
        "call_id": "c",
        "status": "completed",
        "pending_safety_checks": [{"id": "p", "code": "c", "message": "secret"}],
        "action": {"type": "type", "text": "secret"},
    },
    "computer_call_output": {"call_id": "c", "output": {"type": "computer_screenshot", "image_url": "secret"}},
    "local_shell_call": {
        "id": "i",
        "call_id": "c",
        "status": "completed",
        "action": {"type": "exec", "command": ["secret"], "env": {"secret": "secret"}},
    },
    "local_shell_call_output": {"id": "i", "output": "secret"},
    "shell_call": {"call_id": "c", "action": {"commands": ["secret"]}},
    "shell_call_output": {
        "call_id": "c",
        "output": [{"stdout": "secret", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    },
    "apply_patch_call": {
        "call_id": "c",
        "status": "completed",
        "operation": {"type": "create_file", "path": "secret", "diff": "secret"},
    },
    "apply_patch_call_output": {"call_id": "c", "status": "completed", "output": "secret"},
    "mcp_list_tools": {"id": "i", "server_label": "s", "tools": [{"name": "secret", "input_schema": {}}]},
    "mcp_approval_request": {"id": "i", "server_label": "s", "name": "n", "arguments": '{"a": "secret"}'},
    "mcp_approval_response": {"approval_request_id": "r", "approve": True, "reason": "secret"},
    "mcp_call": {"id": "i", "server_label": "s", "name": "n", "arguments": '{"a": "secret"}', "output": "secret"},
    "custom_tool_call": {"call_id": "c", "name": "n", "input": "secret"},
    "custom_tool_call_output": {"call_id": "c", "output": "secret"},
    "function_call_output": {"call_id": "c", "output": [{"type": "input_text", "text": "secret"}]},
    "reasoning": {"id": "i", "summary": [], "encrypted_content": "secret"},
    "compaction": {"id": "i", "encrypted_content": "secret"},
}


@pytest.mark.parametrize("kind", _HOSTED)
def test_a_redacted_item_is_one_that_the_models_endpoint_takes(kind: str) -> None:
    """Members that the endpoint wants are there, and empty: by openai's own types of input items."""
    item = {"type": kind, **_HOSTED[kind]}
    accepted: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)
    accepted.validate_python(item)
    done = redacted(item, "gone")
    assert "secret" not in json.dumps(done)
    valid = json.loads(accepted.dump_json(accepted.validate_python(done)))
    assert valid["type"] == done["type"]
    assert redacted(done, "gone") == done


@pytest.mark.parametrize("item", ["text", None, 7, [1]])
def test_what_is_no_item_is_redacted_all_the_same(item: Any) -> None:
    """Something of the reference library's that is no JSON object says nothing either."""
    assert redacted(item, "gone") == {"redacted": "gone"}


# --- where a history may end -----------------------------------------------------------------------------------------


def test_where_a_history_may_end() -> None:
    """Neither between a call and its output, however far apart, nor after reasoning that something follows."""
    items: list[Any] = [
        {"role": "user", "content": "?"},
        {"type": "reasoning", "id": "rs"},
        {"type": "function_call", "call_id": "a"},
        {"type": "function_call", "call_id": "b"},
        {"type": "function_call_output", "call_id": "a"},
        {"role": "user", "content": "meanwhile"},
        {"type": "function_call_output", "call_id": "b"},
        {"type": "function_call_output", "call_id": "of nothing"},
        {"type": "function_call", "call_id": "a"},
        {"type": "function_call_output", "call_id": "a"},
        {"type": "reasoning", "id": "rs"},
    ]
    assert [end for end in range(len(items) + 1) if is_whole_cut(items, end)] == [0, 1, 7, 8, 10, 11]
