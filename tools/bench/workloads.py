"""The conversations that every contender holds: seeded, so the same on every machine and for everybody.

A conversation of N turns is the first N turns of a longer one, so one run of the longest tells the cost of all.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.bench.prose import Writer

Item = dict[str, Any]
Batch = list[Item]
"""What the SDK hands to one ``add_items``."""

Turn = list[Batch]
"""The batches of one turn, in order; the history is read before the first."""

QUESTION_BYTES = 200
ANSWER_BYTES = 800
_REASONING_BYTES = 1_500
_SEED = 20


@dataclass(frozen=True)
class Workload:
    """One conversation.

    Attributes:
        name: Short, for files and the command line.
        title: What it is, for the report.
        turns: Its turns, in the items of the OpenAI Agents SDK.
    """

    name: str
    title: str
    turns: list[Turn]

    def bytes_of(self, turns: int) -> int:
        """Size of the history after so many turns, as JSON (bytes)."""
        return sum(len(json.dumps(batch)) for turn in self.turns[:turns] for batch in turn)


def chat(turns: int) -> Workload:
    """A question of 200 bytes and an answer of 800."""
    rng = random.Random(_SEED)
    writer = Writer(rng)
    return Workload("chat", "chat", [_chat_turn(rng, writer.text) for _ in range(turns)])


def ciphertext(turns: int) -> Workload:
    """The worst case: the chat with text that does not compress, as if the items were encrypted."""
    rng = random.Random(_SEED + 1)
    title = "chat, incompressible"
    return Workload("ciphertext", title, [_chat_turn(rng, lambda length: _opaque(rng, length)) for _ in range(turns)])


def tools(turns: int) -> Workload:
    """A question, reasoning with a tool call and its output, an answer: about 4.6 KB a turn."""
    rng = random.Random(_SEED + 2)
    writer = Writer(rng)
    return Workload("tools", "tools and reasoning", [_tool_turn(rng, writer) for _ in range(turns)])


def _chat_turn(rng: random.Random, text: Callable[[int], str]) -> Turn:
    return [[_question(text(QUESTION_BYTES))], [_answer(rng, text(ANSWER_BYTES))]]


def _tool_turn(rng: random.Random, writer: Writer) -> Turn:
    call = f"call_{_hex(rng, 24)}"
    reasoning = {
        "id": f"rs_{_hex(rng, 48)}",
        "summary": [],
        "type": "reasoning",
        "encrypted_content": _opaque(rng, _REASONING_BYTES),
    }
    arguments = {"query": writer.text(40), "category": writer.text(8), "limit": 5, "include_archived": False}
    request = {
        "arguments": json.dumps(arguments),
        "call_id": call,
        "name": "search_orders",
        "type": "function_call",
        "id": f"fc_{_hex(rng, 48)}",
        "status": "completed",
    }
    output = {"call_id": call, "output": json.dumps(_records(rng, writer)), "type": "function_call_output"}
    return [
        [_question(writer.text(QUESTION_BYTES))],
        [reasoning, request, output],
        [_answer(rng, writer.text(ANSWER_BYTES))],
    ]


def _records(rng: random.Random, writer: Writer) -> dict[str, Any]:
    """What a tool that looks something up returns."""
    return {
        "total": int(rng.random() * 100),
        "results": [
            {
                "order_id": f"A-{int(rng.random() * 10**8):08}",
                "placed_at": f"2025-{1 + int(rng.random() * 12):02}-{1 + int(rng.random() * 28):02}T09:30:00Z",
                "amount": round(rng.random() * 500, 2),
                "currency": "EUR",
                "status": ("open", "shipped", "delivered")[int(rng.random() * 3)],
                "note": writer.text(110),
            }
            for _ in range(5)
        ],
    }


def _question(text: str) -> Item:
    return {"content": text, "role": "user"}


def _answer(rng: random.Random, text: str) -> Item:
    return {
        "id": f"msg_{_hex(rng, 48)}",
        "content": [{"annotations": [], "text": text, "type": "output_text", "logprobs": []}],
        "role": "assistant",
        "status": "completed",
        "type": "message",
    }


def _hex(rng: random.Random, length: int) -> str:
    return f"{rng.getrandbits(4 * length):0{length}x}"


def _opaque(rng: random.Random, length: int) -> str:
    """Base64 of random bytes, as ciphertext travels in JSON: it deflates to three quarters and no further."""
    return base64.b64encode(rng.randbytes(length * 3 // 4 + 3)).decode()[:length]
