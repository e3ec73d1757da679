"""Runs of conversation items as text, and their packed form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session import InvalidItemError
from openai_agents_session.storage.items import (
    NESTING_LIMIT,
    NOTHING,
    Items,
    from_batch,
    from_json,
    from_values,
    unpack,
)
from openai_agents_session.storage.record import DamagedRecordError

texts = st.text(st.characters(), max_size=30)  # lone surrogates included
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
batches = st.lists(st.dictionaries(texts, values, max_size=4), max_size=6)


@given(batches, batches)
def test_joined(first: list[Any], second: list[Any]) -> None:
    """Two runs joined are the items of one and then of the other, whatever they hold."""
    joined = from_batch("ada", first) + from_batch("ada", second)
    assert (joined.decode(), joined.count) == (first + second, len(first) + len(second))
    assert joined.text.isascii() or joined.text.decode()


@given(batches, st.integers(0, 8))
def test_first(batch: list[Any], count: int) -> None:
    """The first so many items are those, and know how many they are."""
    first = from_batch("ada", batch).first(count)
    assert (first.decode(), first.count) == (batch[:count], min(count, len(batch)))


@given(batches, st.booleans())
def test_packed(batch: list[Any], compress: bool) -> None:
    """What is packed unpacks to the same text, compressed or not, and is at most 5 bytes larger than the text."""
    items = from_batch("ada", batch)
    packed = items.packed(compress=compress)
    assert unpack(packed) == items.text
    assert len(packed) <= len(items.text) + 5


@given(batches, st.booleans(), st.data())
def test_damaged(batch: list[Any], compress: bool, data: st.DataObject) -> None:
    """Any byte changed or missing from what is packed is noticed."""
    packed = from_batch("ada", batch).packed(compress=compress)
    position = data.draw(st.integers(0, len(packed) - 1))
    changed = bytearray(packed)
    changed[position] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), packed[:position]):
        try:
            unpacked = Items(unpack(damaged), len(batch))
        except DamagedRecordError:
            continue
        assert position == 0, "only the codec's byte is not summed, and then the text must be no list"
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            json.loads(unpacked.text)


@given(st.lists(values, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_written_by_others(batch: list[Any], indent: int | None, ascii_only: bool) -> None:
    """A JSON list is taken as somebody else printed it, also if it is no UTF-8."""
    items = from_json(f" {json.dumps(batch, indent=indent, ensure_ascii=ascii_only)}\n")
    assert (items.decode(), items.count) == (batch, len(batch))
    assert (items + from_values([1])).decode() == [*batch, 1]


@pytest.mark.parametrize("text", ["", "{}", '"text"', "[1", "1", "[1,]", "[" * 100_000])
def test_written_by_others_wrongly(text: str) -> None:
    """What is no JSON list is damage."""
    with pytest.raises(DamagedRecordError):
        from_json(text)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_nesting() -> None:
    """An item may nest as deep as every Python reads back; one level more is refused. Breadth is no depth."""
    assert from_batch("ada", [nested(NESTING_LIMIT)]).decode() == [nested(NESTING_LIMIT)]
    from_batch("ada", [{"wide": [[]] * 2 * NESTING_LIMIT, "text": "[{" * NESTING_LIMIT}])
    for depth in (NESTING_LIMIT + 1, 5_000, 200_000):
        with pytest.raises(InvalidItemError, match="item 1 ") as refused:
            from_batch("ada", [{}, nested(depth)])
        assert refused.value.index == 1


def test_model_that_cannot_be_dumped() -> None:
    """A model whose dump fails is an item that is not JSON."""

    class Model:
        def model_dump(self, mode: str) -> Any:
            raise ValueError(f"no {mode}")

    with pytest.raises(InvalidItemError, match="item 0 is not JSON: no json"):
        from_batch("ada", [Model()])


def test_nothing() -> None:
    """Nothing is an empty list, and adds nothing."""
    assert NOTHING.decode() == []
    assert NOTHING + NOTHING == NOTHING
    assert from_batch("ada", []).count == 0
