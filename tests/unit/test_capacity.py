"""DynamoDB's rules of size and capacity, as documented."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.storage.capacity import item_size, read_units, write_units
from tools.emulation import meter


@pytest.mark.parametrize(("size", "units"), [(0, 1), (1, 1), (1_024, 1), (1_025, 2), (409_600, 400)])
def test_write_units(size: int, units: int) -> None:
    """One write unit for every started KB, at least one."""
    assert write_units(size) == units


@pytest.mark.parametrize(("size", "units"), [(0, 1), (4_096, 1), (4_097, 2), (409_600, 100)])
def test_read_units(size: int, units: int) -> None:
    """One read unit for every started 4 KB, at least one; half of that if eventually consistent."""
    assert read_units(size) == units
    assert read_units(size, consistent=False) == units / 2


values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: {"S": text}),
    st.binary().map(lambda content: {"B": content}),
    st.integers(0, 2**60).map(lambda number: {"N": str(number)}),
)


@given(st.dictionaries(st.text("abcé", min_size=1), values))
def test_item_size(item: dict[str, Any]) -> None:
    """An item counts its names and values in bytes; numbers never less than the meter's independent count says."""
    wire = {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else value for name, value in item.items()
    }
    assert meter.item_size(wire) <= item_size(item)
    if not any(value.get("N", "").endswith("00") or value.get("N") == "0" for value in item.values()):
        assert item_size(item) == meter.item_size(wire)


def test_other_kinds() -> None:
    """Kinds that no session has, an operator's or another tool's, are counted by DynamoDB's rules, too."""
    assert item_size({"a": {"BOOL": True}, "b": {"NULL": True}}) == 4
    assert item_size({"a": {"L": [{"S": "xy"}, {"N": "1"}]}}) == 1 + 3 + (1 + 2) + (1 + 2)
    assert item_size({"a": {"M": {"key": {"S": "xy"}}}}) == 1 + 3 + 1 + 3 + 2
    assert item_size({"a": {"SS": ["x", "yz"]}, "b": {"BS": [b"123"]}}) == 1 + 3 + 1 + 3
