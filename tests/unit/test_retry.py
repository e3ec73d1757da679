"""How long, and how, to try again."""

from __future__ import annotations

import asyncio
import statistics

import pytest

from openai_agents_session.storage import retry
from openai_agents_session.storage.retry import RetryBudget


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, on a clock that only they move."""
    made: list[float] = []
    began = 1_000.0

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(retry, "_now", lambda: began + sum(made))
    return made


@pytest.mark.parametrize("conflict", [True, False])
async def test_it_ends(pauses: list[float], conflict: bool) -> None:
    """Pauses add up to the stated time, and not beyond; then there is no other try."""
    trying = RetryBudget(20)
    while await trying.pause(conflict=conflict):
        pass
    assert sum(pauses) == pytest.approx(20)
    assert trying.retries == len(pauses)
    assert not await trying.pause()
    assert trying.seconds == 20


async def test_none(pauses: list[float]) -> None:
    """Without patience there is one try."""
    assert not await RetryBudget(0).pause()
    assert pauses == []


async def test_backoff(pauses: list[float]) -> None:
    """The ceiling of the pauses doubles from 10 ms up to a second, under which they are spread evenly."""
    for _ in range(400):
        trying = RetryBudget(20)
        for _ in range(8):
            await trying.pause()
    for number, ceiling in enumerate([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0]):
        ours = pauses[number::8]
        assert max(ours) <= ceiling
        assert statistics.mean(ours) == pytest.approx(ceiling / 2, rel=0.2)


async def test_conflicts_pause_for_less(pauses: list[float]) -> None:
    """A writer that others were faster than does not wait as long as one that DynamoDB refuses."""
    trying = RetryBudget(1_000)
    for _ in range(60):
        await trying.pause(conflict=True)
    assert max(pauses) <= 0.5


def test_copies_pause_differently() -> None:
    """Copies of one process that reseed do not all pause alike."""
    state = retry._random.getstate()
    drawn = set()
    for _ in range(3):
        retry._random.setstate(state)
        retry.reseed()
        drawn.add(retry._random.random())
    assert len(drawn) == 3
