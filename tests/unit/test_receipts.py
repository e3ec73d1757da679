"""Which writes landed: the memory is bounded, and knows what it has forgotten."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.storage.receipts import COMMIT_BYTES, KEEP, CommitIds, Receipts, renew_writers
from openai_agents_session.storage.record import RecordReader, RecordWriter

histories = st.lists(st.tuples(st.integers(0, 11), st.sampled_from([KEEP, KEEP, 2, 40])), max_size=60)
"""Who wrote, and how many receipts that writer kept."""


def replay(history: list[tuple[int, int]]) -> tuple[Receipts, list[bytes]]:
    writers = [CommitIds() for _ in range(12)]
    receipts, commits = Receipts(), []
    for writer, keep in history:
        commits.append(writers[writer].next())
        receipts = receipts.plus(commits[-1], keep=keep)
    return receipts, commits


@given(histories)
def test_the_last_of_each_writer(history: list[tuple[int, int]]) -> None:
    """A writer's last commit is remembered, or a commit not older than it counts as dropped: never silence."""
    receipts, commits = replay(history)
    assert receipts.number == len(history)
    last = {writer: number for number, (writer, _) in enumerate(history, 1)}
    for number in last.values():
        assert commits[number - 1] in receipts or receipts.dropped >= number


@given(histories)
def test_superseded(history: list[tuple[int, int]]) -> None:
    """What a writer did before its last commit is not kept: nobody asks for it."""
    receipts, commits = replay(history)
    last = {writer: number for number, (writer, _) in enumerate(history, 1)}
    assert {commit for commit, _ in receipts.entries} <= {commits[number - 1] for number in last.values()}


@given(histories)
def test_bounded(history: list[tuple[int, int]]) -> None:
    """No more receipts are kept than the last writer wanted, newest first."""
    receipts, _ = replay(history)
    numbers = [number for _, number in receipts.entries]
    assert len(numbers) <= (history[-1][1] if history else 0)
    assert numbers == sorted(numbers, reverse=True)


@given(st.integers(1, 5))
def test_a_few_writers_are_never_dropped(count: int) -> None:
    """With no more writers than receipts nothing is forgotten that counts: a doubt can always be settled."""
    receipts, _ = replay([(number % count, KEEP) for number in range(40)])
    assert receipts.dropped == 0


@given(histories)
def test_stored(history: list[tuple[int, int]]) -> None:
    """Receipts are read back as they were written."""
    receipts, _ = replay(history)
    record = RecordWriter()
    receipts.write(record)
    assert Receipts.read(RecordReader(record.seal())) == receipts


def test_ids_are_never_used_twice() -> None:
    """Ids stay unique beyond the writer's running number, and after the process was copied."""
    ids = CommitIds()
    many = [ids.next() for _ in range(70_000)]
    assert len(set(many)) == len(many)
    assert {len(one) for one in many} == {COMMIT_BYTES}
    before = ids.next()
    renew_writers()
    assert ids.next()[:6] != before[:6]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing that another thread could hold
def test_a_forked_writer_is_another() -> None:
    """A process that forks goes on under another identity in the child."""
    ids = CommitIds()
    before = ids.next()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, ids.next())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, COMMIT_BYTES)[:6] != before[:6]
    assert ids.next()[:6] == before[:6]
    os.close(reader)
    os.close(writer)
