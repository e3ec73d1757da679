"""Decoded segments, kept for the process."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.cache import SegmentCache


def items(size: int) -> list[Any]:
    return [{"content": "x" * size}]


def test_fresh_values() -> None:
    """What a caller does to what it put or got changes nothing in the cache."""
    cache = SegmentCache()
    given = items(3)
    cache.put(("a",), given)
    given[0]["content"] = "changed"
    got = cache.get(("a",))
    assert got == items(3)
    got[0]["content"] = "changed"
    assert cache.get(("a",)) == items(3)
    assert cache.get(("b",)) is None


@given(st.lists(st.integers(0, 12), max_size=60))
def test_bounded(keys: list[int]) -> None:
    """The cache never holds more than its capacity, and what it holds is what was put."""
    cache = SegmentCache(capacity_bytes=1_000)
    for key in keys:
        cache.put((key,), items(key * 50))
        held = {other: found for other in range(13) if (found := cache.get((other,))) is not None}
        assert sum(len(found[0]["content"]) for found in held.values()) <= 1_000
        assert held == {other: items(other * 50) for other in held}
        assert key in held or key > 8


def test_least_recently_used_goes_first() -> None:
    """What was used last stays."""
    cache = SegmentCache(capacity_bytes=1_000)
    for key in "abc":
        cache.put((key,), items(400))
        assert cache.get(("a",)) == items(400)
    assert cache.get(("b",)) is None
    assert cache.get(("c",)) == items(400)


def test_too_large() -> None:
    """One segment does not push all others out."""
    cache = SegmentCache(capacity_bytes=1_000)
    cache.put(("a",), items(100))
    cache.put(("b",), items(600))
    assert (cache.get(("a",)), cache.get(("b",))) == (items(100), None)


def test_too_deep() -> None:
    """What cannot be kept is not kept, and is no error."""
    deep: list[Any] = []
    for _ in range(3_000):
        deep = [deep]
    cache = SegmentCache()
    cache.put(("a",), deep)
    assert cache.get(("a",)) is None


def test_clear() -> None:
    """A cleared cache holds nothing."""
    cache = SegmentCache()
    cache.put(("a",), items(3))
    cache.clear()
    assert cache.get(("a",)) is None
