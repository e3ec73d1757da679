"""Compact records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.storage.record import DamagedRecordError, RecordReader, RecordWriter

fields = st.lists(st.integers(0, 2**63 - 1) | st.binary(max_size=20), max_size=12)


def write(values: list[int | bytes]) -> bytes:
    record = RecordWriter()
    for value in values:
        record.number(value) if isinstance(value, int) else record.raw(value)
    return record.seal()


@given(fields)
def test_read_back(values: list[int | bytes]) -> None:
    """Fields come back in the order they were written."""
    record = RecordReader(write(values))
    assert [record.number() if isinstance(value, int) else record.raw(len(value)) for value in values] == values


@given(fields, st.data())
def test_damaged(values: list[int | bytes], data: st.DataObject) -> None:
    """Any byte changed, and any end cut off, is noticed before a field is read."""
    sealed = write(values)
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), sealed[:position] if position else b""):
        with pytest.raises(DamagedRecordError):
            RecordReader(damaged)


def test_too_many_fields() -> None:
    """Reading on after the last field is damage, not a wrong value."""
    for read in (lambda record: record.number(), lambda record: record.raw(1)):
        record = RecordReader(write([1]))
        assert record.number() == 1
        with pytest.raises(DamagedRecordError):
            read(record)


@pytest.mark.parametrize(("value", "length"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (1_800_000_000, 5)])
def test_small_numbers_are_small(value: int, length: int) -> None:
    """A number takes a byte for every seven bits."""
    assert len(write([value])) == length + 4


def test_negative_numbers() -> None:
    """Negative numbers are a mistake of the caller."""
    with pytest.raises(ValueError, match="-1 is negative"):
        RecordWriter().number(-1)


def test_numbers_are_bounded() -> None:
    """A number of more than 63 bits is damage: nothing writes one, and its size would have no end."""
    with pytest.raises(DamagedRecordError, match="63 bits"):
        RecordReader(write([2**70])).number()
