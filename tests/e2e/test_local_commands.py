"""`make demo` and `make chat`, as a newcomer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools import chat, local_stack
from tools.emulation import rie


def run(*arguments: str | Path, typed: str = "") -> str:
    variables = {name: value for name, value in os.environ.items() if name not in local_stack.MODEL_VARIABLES}
    ended = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=rie.ROOT,
        env=variables | {"COLUMNS": "120"},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_demo_shows_a_conversation_that_survives_and_what_it_cost() -> None:
    shown = run("tools.demo")
    assert shown.count("cold start") == 4
    assert "That makes 409.5." in shown
    assert "Your name is Ada." in shown
    assert "The first thing you said was: “Hello, my name is Ada.”" in shown
    assert "item ada-lovelace" in shown
    # A turn is a read, a write a batch (message, tool, answer), and a write each to take the lease and to give it back.
    assert "4 GetItem, 17 PutItem" in shown
    assert "needs approval" in shown
    assert "the same request is being served (status 409)" in shown
    assert "no such run waits for a decision (status 409)" in shown
    assert "issue_refund ran once" in shown
    assert "mallory finds 0 items" in shown
    assert f"python     {rie.python_version()}" in shown


def test_a_chat_is_picked_up_again_by_its_id(tmp_path: Path) -> None:
    store = tmp_path / "chat.jsonl"
    run("tools.chat", "ada", "--store", store, typed="Hello, my name is Ada\n/session bob\nMy name is Bob\n/quit\n")
    shown = run("tools.chat", "ada", "--store", store, typed="Who am I?\n/sessions\n/cold\n/clear\n/nonsense\n/cost\n")
    assert "Hello, my name is Ada" in shown
    assert "Your name is Ada." in shown
    assert "bob" in shown
    assert "there is no /nonsense" in shown
    assert "requests" in shown
    assert [item["session_id"]["S"] for item in chat.load(store)] == ["bob"]


def test_what_waits_in_a_chat_is_approved_there_after_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "chat.jsonl"
    asked = run("tools.chat", "ada", "--store", store, typed="/approve\nRefund 25 euros for order A-17\n")
    assert "nothing waits for approval" in asked
    assert "needs approval" in asked
    shown = run("tools.chat", "ada", "--store", store, typed="/approve\n/reject\n")
    assert "Refunded 25.00 euros for order A-17." in shown
    assert "nothing waits for approval" in shown


def test_the_store_of_a_chat_keeps_binary_values(tmp_path: Path) -> None:
    items = [{"session_id": {"S": "größe"}, "state": {"B": b"\x00\xff"}, "ttl": {"N": "1"}}]
    chat.save(items, tmp_path / "chat.jsonl")
    assert chat.load(tmp_path / "chat.jsonl") == items
    assert chat.load(tmp_path / "absent.jsonl") == []


def test_the_model_is_openais_with_a_key_and_offline_without() -> None:
    assert local_stack.chosen_model({}) == {"MODEL_PROVIDER": "offline"}
    assert local_stack.chosen_model({"OPENAI_API_KEY": "k"}) == {"MODEL_PROVIDER": "openai", "OPENAI_API_KEY": "k"}
    assert local_stack.chosen_model({"MODEL_BASE_URL": "u"}) == {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": "u"}
    assert local_stack.chosen_model({"OPENAI_API_KEY": "k", "MODEL_PROVIDER": "offline"})["MODEL_PROVIDER"] == "offline"
