"""Ctrl-C at any moment of a command: one line, exit code 130, nothing left running and nothing half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.terminal import CTRL_C, Terminal
from tools import chat_store, local_stack
from tools.emulation import rie

STOPPED = "stopped: everything that this had started was ended"


def environ(**more: str) -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in local_stack.MODEL_VARIABLES} | more


def stops(terminal: Terminal) -> None:
    """Press Ctrl-C, twice as people do, and see it end well."""
    before = len(terminal.shown)
    terminal.type(CTRL_C)
    terminal.type(CTRL_C)
    # make prints a line of its own and ends by the signal, which a shell calls 130.
    assert terminal.ends() in (130, -signal.SIGINT), terminal.shown
    assert terminal.left() == set()
    lines = terminal.shown[before:].splitlines()
    assert lines.count(STOPPED) == 1, terminal.shown
    assert "Traceback" not in terminal.shown
    assert "Exception ignored" not in terminal.shown


@pytest.mark.parametrize(
    "moment",
    [
        "building the layer",
        "starting DynamoDB",
        "a cold start",
        "environment 3",
        "a bad day",
        "approve",
        "goes on when its environments are killed",
    ],
)
def test_a_demo_stops_at_once(moment: str) -> None:
    with Terminal(["make", "demo"], rie.ROOT, environ()) as terminal:
        terminal.sees(moment)
        stops(terminal)


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.06, 0.1, 0.2, 0.4, 0.8])
def test_a_demo_stops_while_make_and_python_start(seconds: float) -> None:
    with Terminal(["make", "demo"], rie.ROOT, environ()) as terminal:
        time.sleep(seconds)
        terminal.type(CTRL_C)
        assert terminal.ends() in (130, -signal.SIGINT), terminal.shown
        assert terminal.left() == set()
        assert "Traceback" not in terminal.shown


NOTED = """
import os, signal, sys, time
from tools import interrupts

def main():
    for _ in range(5):
        with interrupts.noted() as noted:
            os.kill(os.getpid(), signal.SIGINT)
            assert noted.wait(5)
        time.sleep(0.3)
    print("noted, and nothing else")
    return 0

sys.exit(interrupts.run(main))
"""


def test_a_ctrl_c_that_is_only_noted_ends_nothing_later_either() -> None:
    """Where what notes it ends at once, it does not reach what comes next."""
    done = subprocess.run([sys.executable, "-c", NOTED], cwd=rie.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "noted, and nothing else\n"), done.stderr


def test_a_chat_stops_at_its_prompt_and_in_a_turn(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.chat", "ada", "--store", str(tmp_path / "chat.jsonl")]
    with Terminal(command, rie.ROOT, environ()) as terminal:
        terminal.sees("you")
        terminal.type("Hello")
        stops(terminal)
    with Terminal(command, rie.ROOT, environ()) as terminal:
        terminal.sees("you")
        terminal.type("My name is Ada\r")
        terminal.sees("Nice to meet you, Ada.")
        terminal.type("/cold\rHello again\r")
        terminal.sees("Hello again")
        stops(terminal)
    assert {item["session_id"]["S"] for item in chat_store.load(tmp_path / "chat.jsonl")} == {"ada"}


@pytest.mark.parametrize("moment", ["starting DynamoDB", "starting the agent", "Ctrl-C ends it"])
def test_the_page_stops_at_once(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.page", "--store", str(tmp_path / "chat.jsonl")]
    with Terminal(command, rie.ROOT, environ()) as terminal:
        terminal.sees(moment)
        stops(terminal)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_terminated_or_loses_its_terminal_leaves_nothing_either(
    number: signal.Signals, code: int
) -> None:
    with Terminal([sys.executable, "-m", "tools.demo"], rie.ROOT, environ()) as terminal:
        terminal.sees("a cold start")
        os.kill(terminal.process_id, number)
        assert terminal.ends() == code
        assert terminal.left() == set()
        assert "Traceback" not in terminal.shown


def test_a_set_up_that_was_stopped_goes_on_when_it_is_called_again(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements", "tools", "layer"):
        (shutil.copytree if (rie.ROOT / name).is_dir() else shutil.copy)(rie.ROOT / name, tmp_path / name)
    command = ["make", ".work/envs/boto3-1.40/.ready", f"RUNTIME={rie.python_version()}"]
    for moment in ("installer:", "boto3-1.40: installing"):
        with Terminal(command, tmp_path, environ()) as terminal:
            terminal.sees(moment)
            stops(terminal)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=100)
    python = tmp_path / ".work" / "envs" / "boto3-1.40" / "bin" / "python"
    subprocess.run([python, "-c", "import boto3; boto3.client('s3', region_name='x')"], check=True)
