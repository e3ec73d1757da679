"""What a model is to answer, independent of the interface that it is asked through.

model.script = each(text("Let me see.") + call("pay", amount=3), text("Done."))
model.script = lambda asked: says(f"You said: {asked.said}")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Interface = Literal["responses", "chat"]


@dataclass(frozen=True)
class Text:
    """A message.

    Attributes:
        text: What it says.
        pieces: How a stream divides it; word by word when left out. A piece may end within a surrogate pair.
    """

    text: str
    pieces: tuple[str, ...] = ()

    @property
    def deltas(self) -> list[str]:
        """The pieces."""
        return list(self.pieces) or re.findall(r"\s*\S+|\s+$", self.text)


@dataclass(frozen=True)
class ToolCall:
    """A tool call.

    Attributes:
        name: The tool's.
        arguments: JSON text, or whatever a model writes in its place.
        call_id: Its id; made up when left out.
    """

    name: str
    arguments: str
    call_id: str | None = None


@dataclass(frozen=True)
class Reasoning:
    """A reasoning item; chat completions leave it out.

    Attributes:
        summary: What may be seen of it.
    """

    summary: str = "Thinking."


@dataclass(frozen=True)
class Refused:
    """A message in which the model refuses.

    Attributes:
        text: Its words.
    """

    text: str


Part = Text | ToolCall | Reasoning | Refused


@dataclass(frozen=True)
class Reply:
    """What a model answers.

    Attributes:
        parts: In order.
        input_tokens: What its usage says was read.
        output_tokens: What its usage says was written.
        delay_seconds: How long the first byte takes.
    """

    parts: tuple[Part, ...]
    input_tokens: int = 10
    output_tokens: int = 5
    delay_seconds: float = 0.0

    def __add__(self, other: Reply) -> Reply:
        return replace(self, parts=self.parts + other.parts)

    def late(self, seconds: float) -> Reply:
        """The same, its first byte so much later."""
        return replace(self, delay_seconds=seconds)


def says(text: str, *pieces: str) -> Reply:
    """A message, in a stream divided into pieces."""
    return Reply((Text(text, pieces),))


def thinks(summary: str = "Thinking.") -> Reply:
    """A reasoning item."""
    return Reply((Reasoning(summary),))


def refuses(text: str = "I cannot help with that.") -> Reply:
    """A refusal."""
    return Reply((Refused(text),))


def calls(name: str, call_id: str | None = None, **arguments: Any) -> Reply:
    """A tool call."""
    return Reply((ToolCall(name, json.dumps(arguments), call_id),))


def calls_with(name: str, arguments: str, call_id: str | None = None) -> Reply:
    """A tool call whose arguments are any text."""
    return Reply((ToolCall(name, arguments, call_id),))


@dataclass(frozen=True)
class Asked:
    """A request that was accepted, in one form for both interfaces.

    Attributes:
        interface: Which one it came through.
        number: Counted from 1 since the last reset, refused ones included.
        streamed: Whether the answer is to be streamed.
        items: The history: ``{"role", "text"}``, ``{"call", "name", "arguments"}``, ``{"output", "text"}``, and
            ``{"reasoning"}``, in order.
        body: The request.
    """

    interface: Interface
    number: int
    streamed: bool
    items: list[dict[str, Any]]
    body: dict[str, Any] = field(repr=False)

    @property
    def said(self) -> str:
        """The user's last message."""
        return next((str(item["text"]) for item in reversed(self.items) if item.get("role") == "user"), "")

    @property
    def outputs(self) -> list[str]:
        """What tools have returned since the user's last message."""
        found: list[str] = []
        for item in reversed(self.items):
            if item.get("role") == "user":
                break
            if "output" in item:
                found.append(str(item["text"]))
        return found[::-1]


def by_turn(*replies: Any) -> Script:
    """The first reply to a user's message, then one for each step of tools; the last is repeated.

    A step is known by the outputs that stand in the history since that message, so that a turn that is begun again is
    answered as the first time.
    """

    def script(asked: Asked) -> Any:
        steps = 0
        previous = ""
        for item in asked.items:
            kind = "output" if "output" in item else ""
            if item.get("role") == "user":
                steps = 0
            elif kind and previous != kind:
                steps += 1
            previous = kind
        return replies[min(steps, len(replies) - 1)]

    return script


def each(*replies: Any) -> Script:
    """One reply for each request, in order; the last is repeated."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


Script = Callable[[Asked], Any]
"""Decides on the answer: a `Reply`, an error, or a misbehaviour of `tools.emulation.strict_faults`."""
