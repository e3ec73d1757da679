"""What it costs to keep the parts of a session alive, over simulated lives of a day to two years."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cache import SegmentCache
from tests.support.memory import MemoryTable
from tools.bench.workloads import Workload, chat, ciphertext

DAY = 86_400
LIVES = {  # days, turns, ttl in days
    "60 days, 400 turns, ttl of 7 days": (60, 400, 7),
    "60 days, 400 turns, ttl of 5 hours": (60, 400, 0.2),
    "a year, a turn a day, ttl of 30 days": (365, 365, 30),
    "two years, 1,000 turns, ttl of 7 days": (730, 1_000, 7),
    "a day, 400 turns, ttl of 7 days": (1, 400, 7),
}


@pytest.mark.parametrize("workload", [chat, ciphertext])
@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
async def test_refreshing_costs_less_than_a_tenth(
    life: tuple[float, int, float], workload: Callable[[int], Workload]
) -> None:
    """After every turn of a life, refreshing has cost less than a tenth of all write units, and nothing has expired."""
    days, count, ttl_days = life
    table: Any = MemoryTable()
    now = 1_800_000_000
    options = StorageOptions(clock=lambda: now, cache=SegmentCache())
    stored: list[Any] = []
    for number, turn in enumerate(workload(count).turns):
        now += int(days * DAY / count)
        session = DynamoDBSession("ada", table, "t", ttl_seconds=int(ttl_days * DAY), options=options)
        for batch in turn:
            stored += batch
            await session.add_items([*batch])  # type: ignore[list-item]
        assert table.update_units < table.units / 10, f"turn {number}"
        end = int(table.items["ada"]["ttl"]["N"])
        assert end == now + int(ttl_days * DAY)
        live = await session.describe()
        assert live.items == len(stored)
    assert await session.get_items() == stored
    if days > 1:
        assert table.update_units > 0, "nothing was refreshed: this life proves nothing"
