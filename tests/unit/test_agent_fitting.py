"""Answers that Lambda can carry, whatever they are made of."""

from __future__ import annotations

from typing import Any

import pytest

from openai_agents_session.service.fitting import LARGE_ITEM_BYTES, MAX_ANSWER_BYTES, fitted, shortened, wire_size

MANY = [{"type": "input_text", "text": "x" * 9_999} for _ in range(700)]
ITEMS: list[dict[str, Any]] = [
    {"type": "function_call_output", "call_id": "c", "output": MANY},
    {"role": "user", "content": MANY},
    {"type": "function_call", "call_id": "c", "name": "n", "arguments": '"' * 5_000_000},
    {"type": "message", "content": [{"type": "output_text", "text": "\N{GRINNING FACE}" * 700_000}]},
    {"type": "unknown", **{f"member_{number}": "y" * 9_000 for number in range(800)}},
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: str(item.get("type", "message")))
@pytest.mark.parametrize("most", [LARGE_ITEM_BYTES, 50_000])
def test_an_item_is_as_short_as_it_has_to_be_and_says_what_it_is(item: dict[str, Any], most: int) -> None:
    """Many small texts are as long as one: what cutting texts does not shorten is left out, largest first."""
    short = shortened(item, most)
    assert wire_size(short) <= most
    assert short.keys() == item.keys()
    assert {name: short[name] for name in ("type", "role", "call_id") if name in item} == {
        name: item[name] for name in ("type", "role", "call_id") if name in item
    }
    assert item in ITEMS


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: str(item.get("type", "message")))
def test_every_answer_fits(item: dict[str, Any]) -> None:
    """Also one of which no text is long."""
    answer = fitted({"status": 200, **item})
    assert wire_size(answer) <= MAX_ANSWER_BYTES
    assert (answer["status"], answer["cut"]) == (200, True)
