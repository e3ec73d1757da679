"""Heads: values, their transitions, and their stored form."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session import StorageOptions
from openai_agents_session.storage.capacity import item_size
from openai_agents_session.storage.head import SEALED, Head, Lease, absent, epoch_of, from_attributes
from openai_agents_session.storage.items import NOTHING, from_values
from openai_agents_session.storage.layout import Layout
from openai_agents_session.storage.manifest import Manifest, Segment
from openai_agents_session.storage.receipts import CommitIds
from openai_agents_session.storage.record import DamagedRecordError
from openai_agents_session.storage.transition import Encoded, View

NOW = 1_800_000_000
SEGMENTS = Manifest(
    segments=(Segment((0, 2), 3, 40, 1, 9), Segment((3,), 4, 5, 0, 1)), free=((1, 2),), slot_count=4, generation=5
)

heads = st.builds(
    lambda tail, manifest, created, ttl, owner, lease, writes: _written(
        replace(absent("ada", created), tail=from_values(tail), manifest=manifest, owner=owner, lease=lease),
        ttl,
        writes,
    ),
    tail=st.lists(st.dictionaries(st.text("ab\ud800é"), st.text("xyz 😀", max_size=300), max_size=2), max_size=8),
    manifest=st.sampled_from([Manifest(), SEGMENTS, SEGMENTS.first(0), replace(SEGMENTS, expires=NOW)]),
    created=st.integers(0, NOW),
    ttl=st.none() | st.integers(NOW + 1, 2 * NOW),
    owner=st.none() | st.text("oé", min_size=1),
    lease=st.none() | st.builds(Lease, st.binary(min_size=8, max_size=8), st.integers(0, NOW * 1_000)),
    writes=st.integers(1, 9),
)


def _written(head: Head, ttl: int | None, writes: int) -> Head:
    for _ in range(writes):
        head = head.committed(CommitIds().next(), NOW, ttl, keep=6)
    return head


def encoded(head: Head, item_bytes: int, *, compress: bool = True, keep: int = 6) -> Encoded:
    """The head after one more write, as the layout stores it."""
    budget: Any = None
    ttl = None if head.ttl is None else head.ttl - NOW
    view = View(head, head, NOW, CommitIds().next(), keep, budget)
    return Layout(StorageOptions(item_bytes=item_bytes, compress=compress), None, ttl).encode(view, head)


@given(heads, st.sampled_from([128, 400, 4_096]), st.booleans())
def test_stored(head: Head, item_bytes: int, compress: bool) -> None:
    """A head is read back as it was written, in every layout, and weighs what was measured."""
    stored = encoded(head, item_bytes, compress=compress)
    assert from_attributes("ada", stored.item, NOW) == stored.head
    assert epoch_of(stored.item) == head.epoch
    assert stored.size == item_size(stored.item)
    assert stored.head.tail == head.tail


@given(heads, st.sampled_from([128, 400, 4_096]))
def test_readable_by_anybody_or_by_none(head: Head, item_bytes: int) -> None:
    """What reads only `conversation_data` finds the whole history there, or something that is no JSON."""
    stored = encoded(head, item_bytes)
    text = stored.item["conversation_data"]["S"]
    if text != SEALED:
        assert json.loads(text) == head.tail.decode()
        assert stored.size <= item_bytes
        assert not head.manifest.segments
        assert not stored.has_outgrown
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


NOT_OF_THE_HISTORY = {"session_id", "updated_at", "ttl", "title", "active", "profile"}


@given(heads, st.sampled_from([400, 4_096]), st.integers(7, 128))
def test_contention_does_not_seal(head: Head, item_bytes: int, writers: int) -> None:
    """A session that is small enough is readable by anybody, however many receipts its writers have left in it."""
    crowded = head
    for _ in range(writers):
        crowded = crowded.committed(CommitIds().next(), NOW, head.ttl, keep=128)
    alone, together = encoded(crowded, item_bytes), encoded(crowded, item_bytes, keep=128)
    assert len(together.head.receipts.entries) > len(alone.head.receipts.entries)
    assert ("tail" in alone.item) == ("tail" in together.item)


@given(heads, heads, st.sampled_from([128, 4_096]), st.data())
def test_attributes_belong_together(head: Head, other: Head, item_bytes: int, data: st.DataObject) -> None:
    """An attribute of the history that is gone or comes from another head is damage; the expiry may be changed."""
    head, item = (stored := encoded(head, item_bytes)).head, stored.item
    foreign = encoded(other, item_bytes).item
    name = data.draw(st.sampled_from(sorted({*item, *foreign} - NOT_OF_THE_HISTORY)))
    mixed = {key: value for key, value in item.items() if key != name}
    if name in foreign and data.draw(st.booleans()):
        mixed[name] = foreign[name]
    if mixed == item:
        return
    with pytest.raises(DamagedRecordError):
        from_attributes("ada", mixed, NOW)
    assert from_attributes("ada", {**item, "ttl": {"N": "7"}}, NOW) == replace(head, ttl=7)


@given(heads)
def test_expiry(head: Head) -> None:
    """Until the second of its expiry a head is itself; from then on it is empty, of nobody, and its slots known."""
    if head.ttl is None:
        assert head.as_of(10 * NOW) is head
        return
    assert head.as_of(head.ttl - 1) is head
    expired = head.as_of(head.ttl)
    assert (expired.count, expired.owner, expired.lease, expired.ttl) == (0, None, None, None)
    assert expired.created == head.ttl
    assert (expired.epoch, expired.receipts, expired.commit) == (head.epoch, head.receipts, head.commit)
    assert expired.manifest.slot_count == head.manifest.slot_count


@given(heads, st.integers(0, 60))
def test_first(head: Head, count: int) -> None:
    """The first items of a history are taken from what is sealed before they are from the tail."""
    first = head.first(count)
    assert first.count == min(count, head.count)
    sealed = min(count, head.manifest.count)
    assert first.manifest.count == sealed
    assert first.tail.decode() == head.tail.decode()[: max(0, count - sealed)]


@pytest.mark.parametrize(
    ("item", "items", "ttl"),
    [
        ({"conversation_data": {"S": '[{"a": 1}]'}, "updated_at": {"N": "5"}, "ttl": {"N": "9"}}, [{"a": 1}], 9),
        ({"conversation_data": {"S": "[]"}}, [], None),
        ({"updated_at": {"N": "5"}}, [], None),
        ({"conversation_data": {"S": "[1, null]"}, "ttl": {"N": "9.7"}, "other": {"SS": ["x"]}}, [1, None], 9),
    ],
)
def test_of_the_reference(item: Any, items: list[Any], ttl: int | None) -> None:
    """An item without any attribute of ours is a head, too."""
    head = from_attributes("ada", {"session_id": {"S": "ada"}, **item}, NOW)
    assert (head.tail.decode(), head.ttl, head.exists, head.commit) == (items, ttl, True, None)
    assert head.foreign_text == item.get("conversation_data", {}).get("S")


def test_absent() -> None:
    """Where there is nothing there is an empty head, each time of another life."""
    one, other = (from_attributes("ada", None, NOW) for _ in range(2))
    assert not one.exists
    assert (one.tail, one.count, one.created) == (NOTHING, 0, NOW)
    assert one.epoch != other.epoch


@pytest.mark.parametrize("packed", ["", "@", "zz@5", "00@", "00@x", "00"])
def test_damaged_lease(packed: str) -> None:
    """A lease that cannot be read is damage."""
    with pytest.raises(DamagedRecordError, match="lease"):
        Lease.unpack(packed)
