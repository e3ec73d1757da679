"""Decoded segments, kept for the process."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
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
    cache = SegmentCache(capacity_bytes=10_000)
    for key in keys:
        cache.put((key,), items(key * 500))
        held = {other: found for other in range(13) if (found := cache.get((other,))) is not None}
        assert sum(len(found[0]["content"]) for found in held.values()) <= 10_000
        assert held == {other: items(other * 500) for other in held}
        assert key in held or key > 8


@pytest.mark.parametrize("length", [36, 2_000])
def test_counts_what_it_holds(length: int) -> None:
    """The bound is on memory, keys and tables included, however small the segments and long the ids."""
    tracemalloc.start()
    try:
        cache = SegmentCache(capacity_bytes=1024 * 1024)
        for number in range(4_000):
            key = ("https://dynamodb.eu-central-1.amazonaws.com", "sessions", f"{number:0{length}d}", b"epoch!", number)
            cache.put((*key, b"ma", (number,)), items(50))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.25 * 1024 * 1024


def test_threads() -> None:
    """Threads that read and write one cache at once get what was put, or nothing."""
    cache = SegmentCache(capacity_bytes=20_000)

    def work(thread: int) -> None:
        for number in range(3_000):
            key = (number * (thread + 1)) % 40
            cache.put((key,), items(key * 20))
            found = cache.get(((key + 7) % 40,))
            assert found in (None, items((key + 7) % 40 * 20))

    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(work, thread) for thread in range(4)]:
            outcome.result()


def test_least_recently_used_goes_first() -> None:
    """What was used last stays."""
    cache = SegmentCache(capacity_bytes=10_000)
    for key in "abc":
        cache.put((key,), items(4_000))
        assert cache.get(("a",)) == items(4_000)
    assert cache.get(("b",)) is None
    assert cache.get(("c",)) == items(4_000)


def test_too_large() -> None:
    """One segment does not push all others out."""
    cache = SegmentCache(capacity_bytes=10_000)
    cache.put(("a",), items(1_000))
    cache.put(("b",), items(6_000))
    assert (cache.get(("a",)), cache.get(("b",))) == (items(1_000), None)


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
