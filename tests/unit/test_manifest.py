"""Where the sealed part of a history lies: pure transitions, whatever came before."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.storage.capacity import write_units
from openai_agents_session.storage.keys import slot_key
from openai_agents_session.storage.manifest import NO_PARTS, Manifest, Segment
from openai_agents_session.storage.record import DamagedRecordError

steps = st.lists(
    st.one_of(
        st.tuples(st.just("seal"), st.lists(st.integers(1, 9_000), min_size=1, max_size=3), st.integers(1, 9)),
        st.tuples(st.just("merge"), st.lists(st.integers(1, 30_000), min_size=1, max_size=2), st.integers(1, 4)),
        st.tuples(st.just("first"), st.just([]), st.integers(0, 40)),
        st.tuples(st.just("reserve"), st.just([]), st.integers(1, 4)),
    ),
    max_size=40,
)


def play(history: list[tuple[str, list[int], int]]) -> list[Manifest]:
    """Every manifest on the way, as appends, merges and pops make them."""
    seen = [NO_PARTS]
    for kind, sizes, count in history:
        manifest = seen[-1]
        if kind == "first":
            manifest = manifest.first(count)
        elif kind == "reserve":
            manifest = manifest.reserving(count)
        else:
            manifest = manifest.reserving(len(sizes), 64)
            merged = min(count, len(manifest.segments)) if kind == "merge" else 0
            slots = manifest.choose_slots(sizes)
            assert slots is not None
            taken = sum(segment.count for segment in manifest.segments[len(manifest.segments) - merged :])
            segment = Segment(
                slots=slots,
                generation=manifest.generation,
                count=count + taken,
                level=manifest.level_above(merged),
                kilobytes=sum(map(write_units, sizes)),
            )
            manifest = manifest.with_segment(segment, replacing=merged)
        seen.append(manifest)
    return seen


@given(steps)
def test_every_slot_is_known_once(history: list[tuple[str, list[int], int]]) -> None:
    """At any time each slot below the count is live or free, and none is both or twice."""
    for manifest in play(history):
        live = [slot for segment in manifest.segments for slot in segment.slots]
        free = [slot for slot, _ in manifest.free]
        assert sorted(live + free) == list(range(manifest.slot_count))


@given(steps)
def test_generations_move_on(history: list[tuple[str, list[int], int]]) -> None:
    """What is written next carries a newer generation than anything that any manifest ever named."""
    seen = play(history)
    for manifest in seen:
        assert all(segment.generation < manifest.generation for segment in manifest.segments)
    for before, after in itertools.pairwise(seen):
        assert after.generation >= before.generation
        gone = {segment.slots for segment in before.segments} - {segment.slots for segment in after.segments}
        assert not gone or after.generation > before.generation


@given(steps)
def test_stored(history: list[tuple[str, list[int], int]]) -> None:
    """A manifest is read back as it was written, also with an expiry."""
    for manifest in play(history):
        for expires in (0, 1_800_000_000):
            manifest = replace(manifest, expires=expires)
            assert Manifest.unpack(manifest.pack()) == manifest


@given(steps, st.data())
def test_damaged(history: list[tuple[str, list[int], int]], data: st.DataObject) -> None:
    """A changed byte anywhere in a stored manifest is noticed."""
    packed = bytearray(play(history)[-1].pack())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedRecordError):
        Manifest.unpack(bytes(packed))


@given(steps, st.integers(0, 60))
def test_first(history: list[tuple[str, list[int], int]], count: int) -> None:
    """The first so many items are in the segments that hold them, in order, each as long as it has some."""
    manifest = play(history)[-1]
    first = manifest.first(count)
    assert first.count == min(count, manifest.count)
    assert all(segment.count for segment in first.segments)
    kept = manifest.segments[: len(first.segments)]
    assert [segment.slots for segment in first.segments] == [segment.slots for segment in kept]
    assert [segment.count for segment in first.segments[:-1]] == [segment.count for segment in kept[:-1]]


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=4),
    st.sets(st.integers(0, 7)),
)
def test_choose_slots(occupied: list[int], sizes: list[int], taken: set[int]) -> None:
    """Chunks go to free slots that are not taken; each to the one that costs least, and of those to the fullest."""
    manifest = Manifest(free=tuple(enumerate(occupied)), slot_count=len(occupied))
    chosen = manifest.choose_slots(sizes, taken)
    left = {slot: kilobytes for slot, kilobytes in enumerate(occupied) if slot not in taken}
    if len(left) < len(sizes):
        assert chosen is None
        return
    assert chosen is not None
    for slot, size in zip(chosen, sizes, strict=True):
        cost = {other: max(kilobytes, write_units(size)) for other, kilobytes in left.items()}
        assert cost[slot] == min(cost.values())
        assert left[slot] == max(left[other] for other in left if cost[other] == cost[slot])
        del left[slot]


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 5), st.integers(1, 9))
def test_reserving(occupied: list[int], slots: int, kilobytes: int) -> None:
    """So many slots are free afterwards that occupy no more than asked for; new ones only as needed."""
    manifest = Manifest(free=tuple(enumerate(occupied)), slot_count=len(occupied))
    reserved = manifest.reserving(slots, kilobytes)
    fitting = sum(kept <= kilobytes for _, kept in manifest.free)
    assert sum(kept <= kilobytes for _, kept in reserved.free) == max(fitting, slots)
    assert reserved.free[: len(occupied)] == manifest.free
    assert reserved.slot_count == manifest.slot_count + max(0, slots - fitting)


def levels(*pairs: tuple[int, int]) -> Manifest:
    return Manifest(
        segments=tuple(Segment((slot,), 1, 1, level, size) for slot, (level, size) in enumerate(pairs)),
        slot_count=len(pairs),
        generation=2,
    )


@pytest.mark.parametrize(
    ("manifest", "merged"),
    [
        (levels(), 0),
        (levels((0, 1)), 0),
        (levels((0, 1), (0, 1)), 2),  # the new run is the third
        (levels((1, 3), (0, 1), (0, 1)), 2),
        (levels((1, 3), (1, 3), (0, 1), (0, 1)), 4),  # and becomes the third of the next level
        (levels((2, 9), (1, 3), (1, 3), (0, 1), (0, 1)), 4),
        (levels((1, 3), (1, 3), (0, 1)), 0),
        (levels((0, 60), (0, 60)), 0),  # would not fit
        (levels((1, 90), (1, 90), (0, 1), (0, 1)), 2),  # only the lower level fits
    ],
)
def test_mergeable(manifest: Manifest, merged: int) -> None:
    """Segments of a level merge with the run that makes the fan-out full, and so on up while it fits one part."""
    assert manifest.mergeable(3, 100) == merged


@given(st.lists(st.integers(1, 3), min_size=1, max_size=400), st.integers(2, 9))
def test_few_segments(sizes: list[int], fan_out: int) -> None:
    """However many runs are sealed, there are fewer segments than the fan-out on every level."""
    manifest = NO_PARTS
    for size in sizes:
        manifest = manifest.reserving(1, 1_000_000)
        merged = manifest.mergeable(fan_out, 1_000_000)
        gone = manifest.segments[len(manifest.segments) - merged :]
        slots = manifest.choose_slots([size * 1024])
        assert slots is not None
        kilobytes = size + sum(segment.kilobytes for segment in gone)
        count = 1 + sum(segment.count for segment in gone)
        segment = Segment(slots, manifest.generation, count, manifest.level_above(merged), kilobytes)
        manifest = manifest.with_segment(segment, replacing=merged)
    found = [segment.level for segment in manifest.segments]
    assert found == sorted(found, reverse=True)
    assert all(found.count(level) < fan_out for level in found)
    assert manifest.count == len(sizes)


@given(steps, st.data())
def test_only(history: list[tuple[str, list[int], int]], data: st.DataObject) -> None:
    """Segments that are given up become garbage that is known, and late writes to their slots are void."""
    manifest = play(history)[-1]
    kept = [segment for segment in manifest.segments if data.draw(st.booleans())]
    only = manifest.only(kept)
    assert list(only.segments) == kept
    slots = sorted([slot for segment in kept for slot in segment.slots] + [slot for slot, _ in only.free])
    assert slots == list(range(only.slot_count))
    assert only.generation > manifest.generation


def test_keys() -> None:
    """Keys of parts are such as no session id can be."""
    assert slot_key("ada", 7) == "ada#~7"
