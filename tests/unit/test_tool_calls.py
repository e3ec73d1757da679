"""A windowed history that the model accepts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session import DynamoDBSession
from openai_agents_session.tool_calls import whole_start
from tests.support.memory import MemoryTable

USER: Any = {"role": "user", "content": "hello"}
REASONING: Any = {"type": "reasoning", "id": "rs_1", "summary": []}


def call(number: int, kind: str = "function_call") -> Any:
    return {"type": kind, "call_id": f"call_{number}"}


def output(number: int, kind: str = "function_call") -> Any:
    return {"type": f"{kind}_output", "call_id": f"call_{number}"}


@pytest.mark.parametrize("kind", ["function_call", "computer_call", "local_shell_call", "custom_tool_call"])
def test_output_without_its_call(kind: str) -> None:
    """The start moves behind an output whose call is outside the window, and not behind others."""
    items = [USER, call(1, kind), output(1, kind), USER, call(2, kind), output(2, kind), USER]
    assert [whole_start(items, start) for start in range(8)] == [0, 1, 3, 3, 4, 6, 6, 7]


def test_parallel_calls() -> None:
    """Outputs of calls made together: none may stay without its call."""
    items = [USER, call(1), call(2), output(1), output(2), USER]
    assert [whole_start(items, start) for start in range(6)] == [0, 1, 5, 5, 5, 5]


def test_output_far_from_its_call() -> None:
    """An output that comes late counts, too."""
    items = [call(1), USER, USER, output(1), USER]
    assert [whole_start(items, start) for start in range(5)] == [0, 4, 4, 4, 4]


def test_item_without_its_reasoning() -> None:
    """The start moves behind an item whose reasoning is outside the window, and behind the output of such a call."""
    items = [USER, REASONING, call(1), output(1), REASONING, {"role": "assistant"}, USER]
    assert [whole_start(items, start) for start in range(7)] == [0, 1, 4, 4, 4, 6, 6]


def test_calls_without_outputs_stay() -> None:
    """A call that waits for its output is no reason to move."""
    assert whole_start([USER, call(1)], 1) == 1


def accepted(window: list[Any], before: list[Any]) -> bool:
    """Whether the rule holds, in the plainest words."""
    if before and window and before[-1].get("type") == "reasoning":
        return False
    seen = set()
    for item in window:
        if item.get("type") == "function_call_output" and item["call_id"] not in seen:
            return False
        if item.get("type") == "function_call":
            seen.add(item["call_id"])
    return True


histories = st.lists(
    st.one_of(st.just(USER), st.just(REASONING), st.integers(0, 4).map(call), st.integers(0, 4).map(output)),
    max_size=14,
)


@given(histories, st.integers(0, 15))
def test_the_nearest_acceptable_start(items: list[Any], start: int) -> None:
    """The window is the longest acceptable one within the limit: the first start at which the rule holds."""
    chosen = whole_start(items, start)
    assert chosen >= start
    assert accepted(items[chosen:], items[:chosen])
    assert not any(accepted(items[other:], items[:other]) for other in range(start, min(chosen, len(items))))


async def test_of_a_session() -> None:
    """The option gives the window to every limit of a session; off, which it is by default, the latest N."""
    table: Any = MemoryTable()
    items = list(itertools.chain(*([REASONING, call(n), output(n), {"role": "assistant", "n": n}] for n in range(40))))
    await DynamoDBSession("ada", table, "sessions").add_items(items)
    whole = DynamoDBSession("ada", table, "sessions", whole_tool_calls=True)
    plain = DynamoDBSession("ada", table, "sessions")
    assert await whole.get_items() == items
    for limit in range(1, len(items) + 3):
        assert await plain.get_items(limit=limit) == items[-limit:]
        window = await whole.get_items(limit=limit)
        assert window == items[whole_start(items, max(0, len(items) - limit)) :]
        assert len(window) <= limit
    assert await whole.get_items(limit=0) == []
