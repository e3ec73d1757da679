"""A conversation over several invocations, each in a fresh execution environment (`make demo`), and a bad day.

Between two turns the environment is killed and another started cold: what the agent remembers, it has from the table.
On the bad day two environments get the same requests at once. A durable run has its environments killed in the middle.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.text import Text

from tools import interrupts, local_stack
from tools.conversation import USER, announce, console, heading, say, show_answer, show_bill, show_stored
from tools.emulation import rie
from tools.following import DurableRun
from tools.local_stack import LocalStack

EVENTS = Path(__file__).resolve().parents[1] / "events"
CONVERSATION = ("first_turn", "tool_turn", "follow_up", "recall")
FRIEND = "grace@example.com"
"""Whose conversations are listed."""

NEEDED = {"tool_turn": "calculate"}
"""Tools of the example agent that events are written for."""


def main() -> int:
    """Play the sample conversation."""
    wanted = _arguments().runtime
    began = time.monotonic()
    try:
        with local_stack.running(announce) as stack:
            introduce(stack, wanted)
            play(stack)
            advise()
    except (RuntimeError, rie.FunctionError) as error:
        console.print(Text.assemble(("the demo could not run: ", "bold red"), str(error)))
        return 1
    console.print(f"\n[dim]The demo took {time.monotonic() - began:.1f} s.[/]")
    return 0


def play(stack: LocalStack) -> None:
    """Play everything.

    Two environments are warmed while the conversation is played in others, and the durable run works beside the bad
    day: nobody waits for their cold starts.

    Raises:
        rie.FunctionError: The function failed.
    """
    # The threads outlive the environments, since they wait for these: whoever is interrupted kills these first.
    with ThreadPoolExecutor() as pool, stack.environment() as one, stack.environment() as other:
        warm = pool.submit(lambda: [environment.invoke({"ping": True}) for environment in (one, other)])
        for number, name in enumerate(CONVERSATION, start=1):
            turn(stack, number, name)
        conclude(stack)
        warm.result()
        if stack.model["MODEL_PROVIDER"] != "offline":  # others need not ask for the tool when they should
            conversations(one)
            return
        run = KilledRun(stack, one)
        run.begin()
        bad_day(pool, one, other)
        conversations(one)
        run.show()


def introduce(stack: LocalStack, wanted: str) -> None:
    """Say what runs here."""
    version = rie.python_version()
    instead = "the template's runtime" if version == wanted else f"since the template's {wanted} was not found here"
    model = stack.model["MODEL_PROVIDER"]
    name = stack.model.get("MODEL_NAME", "the function's default model")
    console.print(
        Panel(
            f"function   functions/agent, in Lambda's own runtime client\n"
            f"python     {version}, {instead}\n"
            f"layer      {rie.built_layer().relative_to(rie.ROOT)}\n"
            f"table      DynamoDB, emulated by moto on this machine\n"
            f"model      {'offline: a few rules, no network' if model == 'offline' else f'{model}: {name}'}",
            title="A conversation that survives its execution environments",
            expand=False,
        )
    )


def turn(stack: LocalStack, number: int, name: str) -> None:
    """Play one turn in an environment of its own, which is killed afterwards.

    Raises:
        rie.FunctionError: The function failed; the message has the last of its log.
    """
    event = _event(name)
    with stack.environment() as environment:
        try:
            with console.status("a cold start …"):
                invocation = environment.invoke(event)
        except rie.FunctionError as error:
            raise rie.FunctionError(error.kind, f"{error}\n\n{_end_of(environment.log)}") from error
        heading(f"environment {number}, cold start {invocation.seconds:.1f} s")
        say("you", USER, event["message"])
        show_answer(invocation.answer)
    if name in NEEDED and NEEDED[name] not in invocation.answer.get("tools", []):
        explain_script(NEEDED[name])


def explain_script(tool: str) -> None:
    """Say why a part of the demo shows less than it could: what people say in it is fixed, the agent is not."""
    say(
        "script",
        "dim",
        f"These lines were written for the example's tool {tool}, which this agent did not use. "
        "`make chat` lets you say what your tools are for.",
    )


def conclude(stack: LocalStack) -> None:
    """Show what is left, and what it cost."""
    heading("every environment is gone; the table holds")
    show_stored(stack.items())
    heading("what the conversation cost at the table")
    show_bill(stack.bill(), len(CONVERSATION))


def bad_day(pool: ThreadPoolExecutor, one: rie.Emulator, other: rie.Emulator) -> None:
    """Deliver everything twice, to two environments at once.

    Raises:
        rie.FunctionError: The function failed.
    """

    def at_once(event: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            invocation.answer for invocation in pool.map(lambda environment: environment.invoke(event), (one, other))
        ]

    heading("a bad day: every request comes twice, to two environments at once")
    request = _event("owned_turn") | {"message": "Please refund 25 euros for order A-17."}
    owner = {key: request[key] for key in ("session_id", "owner")}
    say("you", USER, request["message"])
    asked = sorted(at_once(request), key=lambda answer: int(answer["status"]))
    for answer in asked:
        show_answer(answer)
    if pending := asked[0].get("pending"):
        decide_twice(at_once, _event("approve") | owner | {"run_id": pending["run_id"]})
        refunds = sum(environment.log.count("refund issued") for environment in (one, other))
        say("tool", "magenta", f"issue_refund ran {'once' if refunds == 1 else f'{refunds} times'}")
    else:
        explain_script("issue_refund, with needs_approval")
    history = _event("history") | owner
    for who in (request["owner"], "mallory"):
        found = one.invoke(history | {"owner": who}).answer["items"]
        say("history", "dim", f"{who} finds {len(found)} items")


def decide_twice(at_once: Callable[[dict[str, Any]], list[dict[str, Any]]], approval: dict[str, Any]) -> None:
    """Approve what waits, twice; one of the answers is a refusal."""
    say("you", USER, "approve")
    for answer in sorted(at_once(approval), key=lambda answer: int(answer["status"])):
        show_answer(answer)


def conversations(environment: rie.Emulator) -> None:
    """Fork a conversation, and list its owner's with what they used.

    Raises:
        rie.FunctionError: The function failed.
    """

    def ask(name: str, **changes: Any) -> dict[str, Any]:
        answer: dict[str, Any] = environment.invoke(_event(name) | {"owner": FRIEND} | changes).answer
        return answer

    heading("conversations: one is forked, both go on, and their owner lists them")
    ask("first_turn")
    copy = ask("fork", title="Another way")
    if "session_id" in copy:
        ask("tool_turn", session_id=copy["session_id"])
    for found in ask("list").get("sessions", []):
        used = found["usage"]
        tokens = f"{used['total_tokens']} tokens in {_counted(used['requests'], 'model call')}"
        say("listed", "dim", f"{found['title']}   {found['total']} items, {tokens}")


class KilledRun:
    """A durable run, killed when the answer of the model is kept, and again when the output of the tool is.

    Args:
        stack: Where it runs.
        environment: Of the function that starts it.
    """

    def __init__(self, stack: LocalStack, environment: rie.Emulator) -> None:
        self._stack, self._environment = stack, environment
        self._left = {"model 1": "the model's answer", "tool issue_refund": "the tool's output"}
        self._killed: list[str] = []
        self._message = "Please refund 40 euros for order B-3."
        self._run = DurableRun(self._ask, "durable", self._message)

    def begin(self) -> None:
        """Start it; it goes on by itself, as far as it can without a decision."""
        self._stack.durable.told = self._kill
        self._run.begin()

    def show(self) -> None:
        """Show what it did meanwhile, approve what it waits for, and show how it ends.

        Raises:
            rie.FunctionError: The function that starts it failed.
        """
        heading("a durable run, begun before the bad day, goes on when its environments are killed")
        say("you", USER, self._message)
        answer = self._run.follow() or {}
        if pending := answer.get("pending"):
            say("you", USER, "approve")
            self._ask({"session_id": "durable", "action": "approve", "run_id": pending["run_id"]})
            self._run.follow()
        told = " and ".join(self._killed)
        environments = _counted(len(self._killed), "environment")
        say("killed", "bold red", f"{environments}, when {told} had been kept: the run went on")
        log = self._stack.durable.environments.log
        asked, refunds = log.count("model asked"), log.count("refund issued")
        say("counted", "dim", f"{_counted(asked, 'model call')}, {_counted(refunds, 'refund')}")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with console.status("a durable run …"):
            answer: dict[str, Any] = self._environment.invoke(request).answer
            return answer

    def _kill(self, operation: str, action: str) -> None:
        name = next((each for each in self._left if f"/{each}" in operation), None)
        if name and action == "SUCCEED":
            self._killed.append(self._left.pop(name))
            self._stack.durable.kill()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def advise() -> None:
    """Say what to do next."""
    heading("next")
    console.print(
        "  make chat                    talk to it yourself\n"
        "  OPENAI_API_KEY=… make demo   the same with OpenAI's model\n"
        "  functions/agent/agent.py     give it other instructions or tools\n"
        "  sam build && sam deploy      the same in your AWS account\n"
        "  make test                    what the library promises, on real engines"
    )


def _end_of(log: str, lines: int = 12) -> str:
    return "\n".join(log.strip().splitlines()[-lines:])


def _event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Play a conversation over several execution environments.")
    parser.add_argument("--runtime", default="3.13", help="the template's Python version (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
