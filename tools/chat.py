"""Talk to the agent on this machine (`make chat`), and pick an earlier conversation up again by its id.

The table lives in memory while the chat runs; what it holds is written to .work/chat.jsonl after every turn and read
back at the next start. A second chat, or the page, at the same time keeps its conversations in .work/chat-2.jsonl.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from rich.text import Text

from tools import interrupts, local_stack
from tools.chat_store import STORE, claimed, load, save
from tools.conversation import (
    USER,
    announce,
    announce_store,
    console,
    heading,
    show_answer,
    show_bill,
    show_history,
    show_stored,
)
from tools.emulation import rie
from tools.following import DurableRun
from tools.local_stack import LocalStack

try:
    import readline  # from now on, input() has line editing
except ImportError:  # not every Python was built with it
    readline = None  # type: ignore[assignment]

HELP = """\
  /history        the conversation so far
  /session ID     go to another conversation, old or new
  /sessions       the conversations in the table
  /durable TEXT   say it to a durable run and follow that; Ctrl-C leaves it, /durable follows it again
  /approve        let the agent do what waits for approval
  /reject         don't
  /discard        give up what waits, whatever it is
  /clear          forget this conversation
  /cold           kill the execution environments; the next turn starts another, a durable run goes on in another
  /table          what the table holds
  /cost           what the requests to the table cost since the start
  /log            what the functions wrote last
  /env            variables with which `openai-agents-session` finds this table
  /quit           leave; the conversations are kept"""

DECIDING = "/approve or /reject"

LOG_LINES = 25
EMULATORS_LINE = re.compile(r"\(rapid\)|^(START|END|REPORT) RequestId|\{\"_aws\"")


class Chat:
    """One person at one terminal.

    Args:
        stack: Where the function runs.
        session_id: The conversation to begin with.
        store: The file that keeps the table's items.
    """

    def __init__(self, stack: LocalStack, session_id: str, store: Path) -> None:
        self.session_id = session_id
        self._stack = stack
        self._store = store
        self._environment: rie.Emulator | None = None
        self._turns = 0
        self._durable: dict[str, DurableRun] = {}
        self._commands: dict[str, Callable[[str], object]] = {
            "/history": lambda _: self.history(),
            "/session": self.go_to,
            "/sessions": lambda _: console.print("\n".join(f"  {known}" for known in self.sessions()) or "  none yet"),
            "/durable": self.send_durably,
            "/approve": lambda _: self.decide("approve"),
            "/reject": lambda _: self.decide("reject"),
            "/discard": lambda _: self.decide("discard"),
            "/clear": lambda _: self.clear(),
            "/cold": lambda _: self.go_cold(),
            "/log": lambda _: self.log(),
            "/env": lambda _: console.print(self._stack.exports(), markup=False, soft_wrap=True),
            "/table": lambda _: show_stored(self._stack.items()),
            "/cost": lambda _: self.cost(),
            "/help": lambda _: console.print(HELP),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cool()

    def run(self) -> None:
        """Take lines until /quit, or the end of the input."""
        self.go_to(self.session_id)
        self._take_lines()
        self.leave()

    def _take_lines(self) -> None:
        while (line := self._line()) is not None:
            command, _, argument = line.partition(" ")
            if command in self._commands:
                self._commands[command](argument.strip())
            elif command.startswith("/"):
                console.print(f"  there is no {command}; what there is:\n{HELP}", markup=False)
            elif line:
                self.send(line)

    def send(self, message: str) -> None:
        """Send a message, and show the answer."""
        answer = self._invoke({"session_id": self.session_id, "message": message})
        self._turns += 1
        save(self._stack.items(), self._store)
        show_answer(answer, DECIDING)

    def send_durably(self, message: str) -> None:
        """Have a message answered by a durable run, and show what it does; without a message, that of the last one."""
        with interrupts.noted() as noted:
            if message and not self._begun(message):
                return
            if self.session_id in self._durable:
                self.follow(noted)
            else:
                console.print("  [dim]there is no durable run here to follow[/]")

    def _begun(self, message: str) -> bool:
        """Start a durable run. One that is refused leaves the one that is there."""
        run = DurableRun(self._invoke, self.session_id, message)
        answer = run.begin()
        if "error" in answer:
            show_answer(answer, DECIDING)
            return False
        self._durable[self.session_id] = run
        self._turns += 1
        return True

    def follow(self, noted: threading.Event) -> None:
        """Show what this conversation's durable run does, until it ends, waits, or somebody presses Ctrl-C."""
        answer = self._durable[self.session_id].follow(DECIDING, noted.is_set)
        save(self._stack.items(), self._store)
        if answer is None:
            console.print("  [dim]it goes on without you; /durable follows it again[/]")
        elif answer.get("code") in ("run_failed", "run_ended"):
            console.print("  [dim]/log shows what the functions wrote[/]")

    def decide(self, decision: str) -> None:
        """Approve, reject or discard what waits in this conversation, and show what comes of it."""
        waiting = self._invoke({"session_id": self.session_id, "action": "approvals"})
        if run := waiting.get("pending"):
            waiting = self._invoke({"session_id": self.session_id, "action": decision, "run_id": run["run_id"]})
            save(self._stack.items(), self._store)
        if "durable" in waiting and self.session_id in self._durable:
            with interrupts.noted() as noted:
                self.follow(noted)
        elif waiting.get("discarded"):
            console.print("  [dim]given up[/]")
        elif waiting.get("pending", waiting):
            show_answer(waiting, DECIDING)
        else:
            console.print("  [dim]nothing waits for approval[/]")

    def history(self) -> None:
        """Show the conversation so far."""
        answer = self._invoke({"session_id": self.session_id, "action": "history"})
        if "error" in answer:
            show_answer(answer)
        elif answer["items"]:
            show_history(answer["items"])
            self._show_end(answer)
        else:
            console.print("  [dim]nothing has been said yet[/]")

    def _show_end(self, history: dict[str, Any]) -> None:
        """Show what the conversation waits for, or that its last turn has no answer."""
        if history["state"] == "waiting":
            pending = self._invoke({"session_id": self.session_id, "action": "approvals"})["pending"]
            show_answer({"pending": pending}, DECIDING)
        elif history["state"] == "unfinished":
            console.print("  [dim]the last message has no answer yet: say it again[/]")
        elif history["turns"] and (ended := history["turns"][-1]["outcome"]) not in ("answered", "refused", "waiting"):
            console.print(f"  [dim]the last turn has no answer: {ended.replace('_', ' ')}[/]")

    def clear(self) -> None:
        """Forget the conversation."""
        self._invoke({"session_id": self.session_id, "action": "clear"})
        save(self._stack.items(), self._store)
        console.print("  [dim]forgotten[/]")

    def go_to(self, session_id: str) -> None:
        """Go to a conversation, and show what was said in it."""
        self.session_id = session_id or self.session_id
        heading(f"session {self.session_id}")
        if self.session_id in self.sessions():
            self.history()

    def cool(self) -> None:
        """Kill the execution environment, and those of durable runs."""
        environment, self._environment = self._environment, None
        if environment:
            environment.kill()
        self._stack.durable.kill()

    def go_cold(self) -> None:
        """Kill them, and say so."""
        self.cool()
        console.print("  [dim]killed[/]")

    def cost(self) -> None:
        """Show what the requests to the table cost so far."""
        show_bill(self._stack.bill(), max(1, self._turns))
        if self._durable:
            console.print("  [dim]the looks that followed long runs are among them[/]")

    def log(self) -> None:
        """Show the last that the environments wrote, without what the emulator adds."""
        written = (self._environment.log if self._environment else "") + self._stack.durable.environments.log
        lines = [line for line in written.splitlines() if line and not EMULATORS_LINE.search(line)]
        console.print("\n".join(lines[-LOG_LINES:]) or "  nothing yet", markup=False, soft_wrap=True)

    def leave(self) -> None:
        """Say what ends with the chat."""
        if self._durable and (running := self._stack.durable.running):
            console.print(f"  [dim]{running} long {'run ends' if running == 1 else 'runs end'} with this chat[/]")

    def sessions(self) -> list[str]:
        """The ids of the conversations in the table."""
        ids = (item["session_id"]["S"] for item in self._stack.items())
        return sorted(session_id for session_id in ids if "#~" not in session_id)

    def _invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        if self._environment is None:
            self._environment = self._stack.environment().start()
            waiting = "a cold start …"
        else:
            waiting = "thinking …"
        try:
            with console.status(waiting):
                answer: dict[str, Any] = self._environment.invoke(event).answer
        except rie.FunctionError as error:
            return {"status": 500, "error": str(error)}
        return answer

    def _line(self) -> str | None:
        try:
            line = ask(f"{'you':>8}", USER).strip()
        except EOFError:
            console.print()
            return None
        return None if line == "/quit" else line


def ask(who: str, style: str) -> str:
    """Read a line, on a terminal with the arrow keys and what was typed before.

    Raises:
        EOFError: There is no more input.
    """
    prompt = Text.assemble((who, style), "  ")
    if readline is None or not (sys.stdin.isatty() and console.is_terminal):
        return console.input(prompt)
    if "libedit" in (readline.__doc__ or ""):  # which would count the colours as letters
        return input(prompt.plain)
    with console.capture() as shown:
        console.print(prompt, end="")
    return input(re.sub(r"(\x1b\[[0-9;]*m)", "\001\\1\002", shown.get()))  # marked as taking no room


def main() -> int:
    """Chat until the person leaves."""
    parser = argparse.ArgumentParser(description="Talk to the agent on this machine.")
    parser.add_argument("session_id", nargs="?", default="you", help="the conversation (default: %(default)s)")
    parser.add_argument("--store", type=Path, default=STORE, help="keeps the conversations (default: .work/chat.jsonl)")
    arguments = parser.parse_args()
    try:
        with claimed(arguments.store, arguments.session_id) as store, local_stack.running(announce) as stack:
            announce_store(store, arguments.store)
            stack.restore(load(store))
            console.print(f"The {stack.model['MODEL_PROVIDER']} model answers. /help lists what else there is.")
            with Chat(stack, arguments.session_id, store) as chat:
                chat.run()
    except RuntimeError as error:
        console.print(f"[bold red]the chat could not run:[/] {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
