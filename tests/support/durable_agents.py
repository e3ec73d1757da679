"""Agents for tests of durable runs: their model follows a script, and every effect is a line in a file.

A model, a tool, a guardrail that is at work writes what it does into the ledger. So effects are counted over all the
processes that a run had, whatever became of them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import Agent, FunctionTool, GuardrailFunctionOutput, InputGuardrail, ModelResponse, OutputGuardrail, Usage
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

Call = tuple[str, str, dict[str, Any]]
"""A tool's name, the call's id, the arguments."""

Entry = Sequence[Call] | str
"""What a model answers: calls, or text."""


@dataclass(frozen=True)
class Ledger:
    """The file that effects are written to."""

    path: Path

    def note(self, *words: object) -> None:
        """Write a line, at once and whole."""
        descriptor = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        try:
            os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
        finally:
            os.close(descriptor)

    @property
    def counts(self) -> Counter[str]:
        """How often each line is there."""
        return Counter(self.path.read_text().splitlines()) if self.path.exists() else Counter()

    def of(self, kind: str) -> dict[str, int]:
        """The lines that begin with a word, without it."""
        return {line.removeprefix(f"{kind} "): n for line, n in self.counts.items() if line.startswith(f"{kind} ")}


class LedgerModel(Model):
    """Answers the first entry of its script that is not done: from what it is given alone, as a model does.

    Args:
        ledger: Where its calls are noted.
        script: What it answers.
        kill: Called before and after it answers.
    """

    def __init__(self, ledger: Ledger, script: Sequence[Entry], kill: Callable[[str], None] = lambda _: None) -> None:
        self.ledger, self.script, self.kill = ledger, script, kill

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002 - the SDK's name
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        """The response."""
        items = input if isinstance(input, list) else []
        answered = {item["call_id"] for item in items if item.get("type") == "function_call_output"}
        number, entry = next(
            (number, entry)
            for number, entry in enumerate(self.script)
            if isinstance(entry, str) or not answered >= {call_id for _, call_id, _ in entry}
        )
        self.kill("model before")
        self.ledger.note("model", number)
        await asyncio.sleep(0)
        self.kill("model after")
        return ModelResponse(_outputs(entry, number), Usage(requests=1, input_tokens=10, output_tokens=1), None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Not needed."""
        raise NotImplementedError


def _outputs(entry: Entry, number: int) -> list[Any]:
    if isinstance(entry, str):
        text = ResponseOutputText(annotations=[], text=entry, type="output_text")
        return [
            ResponseOutputMessage(
                id=f"msg_{number}", content=[text], role="assistant", status="completed", type="message"
            )
        ]
    return [
        ResponseFunctionToolCall(call_id=call_id, name=name, arguments=json.dumps(arguments), type="function_call")
        for name, call_id, arguments in entry
    ]


def effect(
    ledger: Ledger, name: str, *, kill: Callable[[str], None] = lambda _: None, result: Any = None, **settings: Any
) -> FunctionTool:
    """A tool whose effect is a line in the ledger, named after its call."""

    async def invoke(context: Any, _: str) -> Any:
        kill(f"tool {name} before")
        ledger.note("tool", name, context.tool_call_id)
        await asyncio.sleep(0)
        kill(f"tool {name} after")
        return f"{name} done" if result is None else result

    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    return FunctionTool(
        name=name,
        description=name,
        params_json_schema=schema,
        on_invoke_tool=invoke,
        strict_json_schema=False,
        **settings,
    )


def guardrails(ledger: Ledger, word: str = "forbidden") -> tuple[InputGuardrail[Any], OutputGuardrail[Any]]:
    """Guardrails that refuse a word."""

    async def check_input(_: Any, __: Any, items: Any) -> GuardrailFunctionOutput:
        ledger.note("guardrail", "input")
        return GuardrailFunctionOutput({"looked": True}, word in json.dumps(items))

    def check_output(_: Any, __: Any, output: Any) -> GuardrailFunctionOutput:
        ledger.note("guardrail", "output")
        return GuardrailFunctionOutput(None, word in str(output))

    return InputGuardrail(check_input, name="no-input"), OutputGuardrail(check_output, name="no-output")


def payer(ledger: Ledger, kill: Callable[[str], None] = lambda _: None) -> Agent[Any]:
    """An agent that makes three effects at once, one more, and answers."""
    script: list[Entry] = [
        [("pay", "c1", {"amount": 1}), ("pay", "c2", {"amount": 2}), ("ship", "c3", {})],
        [("mail", "c4", {})],
        "All is done.",
    ]
    tools: list[Any] = [effect(ledger, name, kill=kill) for name in ("pay", "ship", "mail")]
    return Agent(name="payer", model=LedgerModel(ledger, script, kill), tools=tools)


def reader(ledger: Ledger, kill: Callable[[str], None] = lambda _: None) -> Agent[Any]:
    """An agent whose only tool returns more than anything else in its run."""
    tools: list[Any] = [effect(ledger, "read", kill=kill, result="x" * 5_000)]
    return Agent(name="reader", model=LedgerModel(ledger, [[("read", "c1", {})], "It is read."], kill), tools=tools)


def breaker(ledger: Ledger, kill: Callable[[str], None] = lambda _: None) -> Agent[Any]:
    """An agent of whose three tools at once one fails, which ends the run, while the others take longer."""

    async def invoke(_: Any, __: str) -> Any:
        kill("tool break before")
        raise ValueError("broken")

    async def slowly(context: Any, _: str) -> Any:
        ledger.note("tool", "slow", context.tool_call_id)
        await asyncio.sleep(0.2)
        return "slow done"

    schema: dict[str, Any] = {"type": "object", "properties": {}}
    tools: list[Any] = [
        FunctionTool(name=name, description=name, params_json_schema=schema, on_invoke_tool=called)
        for name, called in (("break", invoke), ("slow", slowly))
    ]
    script: list[Entry] = [[("slow", "c1", {}), ("break", "c2", {}), ("slow", "c3", {})], "Unused."]
    return Agent(name="breaker", model=LedgerModel(ledger, script, kill), tools=tools)
