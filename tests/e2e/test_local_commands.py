"""`make demo` and `make chat`, as a newcomer runs them, and changes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.terminal import Terminal
from tools import chat_store, conversation, demo, local_stack
from tools.emulation import rie

LEFT, UP = "\x1b[D", "\x1b[A"


def run(*arguments: str | Path, typed: str = "") -> str:
    return run_file("-m", *arguments, typed=typed)


def run_file(*arguments: str | Path, typed: str = "") -> str:
    variables = {name: value for name, value in os.environ.items() if name not in local_stack.MODEL_VARIABLES}
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=rie.ROOT,
        env=variables | {"COLUMNS": "120", "PYTHONPATH": str(rie.ROOT)},
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
    # A turn takes its lease with one write and ends with another; a tool without effects costs one more for its step.
    assert "9 GetItem, 9 PutItem" in shown
    # The same request at once has the same answer, or is told that it is being served: whichever was quicker. Then the
    # durable run asks, too.
    assert shown.count("needs approval") + shown.count("the same request is being served (status 409)") == 2 + 1
    assert "no such run waits for a decision (status 409)" in shown
    assert "issue_refund ran once" in shown
    assert "mallory finds 0 items" in shown
    assert "2 environments, when the model's answer and the tool's output had been kept" in shown
    assert "2 model calls, 1 refund" in shown
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
    # A cleared conversation leaves the names of its turns for a day: a message that comes again is not answered twice.
    assert [item["session_id"]["S"] for item in chat_store.load(store)] == ["ada#~done", "bob"]


def test_what_waits_in_a_chat_is_approved_there_after_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "chat.jsonl"
    asked = run("tools.chat", "ada", "--store", store, typed="/approve\nRefund 25 euros for order A-17\n")
    assert "nothing waits for approval" in asked
    assert "needs approval" in asked
    shown = run("tools.chat", "ada", "--store", store, typed="/approve\n/reject\n")
    assert "Refunded 25.00 euros for order A-17." in shown
    assert "nothing waits for approval" in shown


def test_the_tutorial_shows_what_a_chat_prints(tmp_path: Path) -> None:
    """The tutorial's sample of an approval has every line of the chat, but that a terminal shows what is typed."""
    (sample,) = re.findall(r"```text\n(.*?)```", (rie.ROOT / "docs/tutorials/approvals.md").read_text(), re.DOTALL)
    typed = "".join(f"{line}\n" for line in re.findall(r"^ +you  (.*)$", sample, re.MULTILINE))
    shown = run("tools.chat", "ada", "--store", tmp_path / "chat.jsonl", typed=typed)
    talk = shown.partition("session ada ")[2].partition("\n")[2].replace("you  ", "you\n")
    wanted = re.sub(r"you  .*", "you", sample)
    lines = [line.strip() for line in talk.splitlines() if line.strip()]
    assert lines == [*(line.strip() for line in wanted.splitlines()), "you"]  # where the next line would be typed


def test_the_tutorials_agent_answers_in_a_chat(tmp_path: Path) -> None:
    """Put where the tutorial says, its agent answers without a key."""
    function = tmp_path / "function"
    shutil.copytree(rie.FUNCTION, function)
    shutil.copy(rie.ROOT / "docs/examples/clerk.py", function / "agent.py")
    (tmp_path / "elsewhere.py").write_text(
        "import pathlib, runpy, sys\n"
        "from tools.emulation import rie\n"
        "rie.FUNCTION = pathlib.Path(sys.argv.pop(1))\n"
        "runpy.run_module('tools.chat', run_name='__main__')\n"
    )
    store = tmp_path / "chat.jsonl"
    shown = run_file(tmp_path / "elsewhere.py", function, "ada", "--store", store, typed="My name is Ada\n")
    assert "Nice to meet you, Ada." in shown


def test_a_durable_run_is_followed_decided_on_and_discarded_in_a_chat(tmp_path: Path) -> None:
    """A chat shows what a durable run does and asks for its approval; one whose execution is gone can be given up."""
    store = tmp_path / "chat.jsonl"
    typed = "/durable\n/durable What is 2 + 40?\n/durable Refund 25 euros for order A-17\n/cold\n/durable More.\n"
    shown = run("tools.chat", "ada", "--store", store, typed=f"{typed}/approve\n/durable Refund 5 for order A-18\n")
    assert shown.count("a run waits for approval; approve, reject or discard it first") == 1
    assert "1 long run ends with this chat" in shown
    assert "there is no durable run here to follow" in shown
    assert "returns  42" in shown
    assert shown.count("That makes 42.") == 1
    assert shown.count("needs approval: /approve or /reject") == 2
    assert shown.count("returns  Refunded 25.00 euros for order A-17.") == 1
    gone = run("tools.chat", "ada", "--store", store, typed="/approve\n/discard\n/discard\nHello\n")
    assert "the durable run has ended without an answer" in gone
    assert gone.count("needs approval: /approve or /reject") == 1, "also after a restart"
    assert "given up" in gone
    assert "nothing waits for approval" in gone
    assert "I have noted that, as message 4" in gone


def test_the_store_of_a_chat_keeps_binary_values(tmp_path: Path) -> None:
    items = [{"session_id": {"S": "größe"}, "state": {"B": b"\x00\xff"}, "ttl": {"N": "1"}}]
    chat_store.save(items, tmp_path / "chat.jsonl")
    assert chat_store.load(tmp_path / "chat.jsonl") == items
    assert chat_store.load(tmp_path / "absent.jsonl") == []


def test_the_model_is_openais_with_a_key_and_offline_without() -> None:
    assert local_stack.chosen_model({}) == {"MODEL_PROVIDER": "offline"}
    assert local_stack.chosen_model({"OPENAI_API_KEY": "k"}) == {"MODEL_PROVIDER": "openai", "OPENAI_API_KEY": "k"}
    assert local_stack.chosen_model({"MODEL_BASE_URL": "u"}) == {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": "u"}
    assert local_stack.chosen_model({"OPENAI_API_KEY": "k", "MODEL_PROVIDER": "offline"})["MODEL_PROVIDER"] == "offline"


AGENT = (rie.FUNCTION / "agent.py").read_text()


@pytest.mark.parametrize(
    ("old", "new", "explained"),
    [
        ("tools=[calculate, issue_refund]", "tools=[]", ("calculate", "issue_refund, with needs_approval")),
        ("@function_tool(needs_approval=True)", "@function_tool", ("issue_refund, with needs_approval",)),
    ],
    ids=["no tools", "no approval"],
)
def test_a_demo_of_another_agent_plays_what_it_can_and_says_what_its_lines_were_for(
    old: str, new: str, explained: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, shown = demo_of(AGENT.replace(old, new), tmp_path, monkeypatch)
    assert code == 0
    assert "the run went on" in shown
    for tool in explained:
        assert f"the example's tool {tool}, which this agent did not use" in shown
    assert shown.count("the example's tool") == len(explained)
    assert "Your name is Ada." in shown
    assert "mallory finds 0 items" in shown


@pytest.mark.parametrize(
    ("source", "told"),
    [(AGENT + "\nimport nonsense\n", "No module named 'nonsense'"), (AGENT + "\ndef unfinished(:\n", "invalid syntax")],
    ids=["import", "syntax"],
)
def test_a_demo_of_an_agent_that_fails_says_why(
    source: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, shown = demo_of(source, tmp_path, monkeypatch)
    assert code == 1
    assert "the demo could not run" in shown
    assert told in shown


def demo_of(agent: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The demo's exit code and what it shows, with another agent.py."""
    function = folder / "agent"
    shutil.copytree(rie.FUNCTION, function)
    (function / "agent.py").write_text(agent)
    monkeypatch.setattr(rie, "FUNCTION", function)
    monkeypatch.setattr(sys, "argv", ["demo"])
    for name in local_stack.MODEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with conversation.console.capture() as shown:
        code = demo.main()
    return code, " ".join(shown.get().split())


def test_two_chats_at_once_keep_a_file_each_and_each_is_found_again(tmp_path: Path) -> None:
    wanted = tmp_path / "chat.jsonl"
    with chat_store.claimed(wanted, "ada") as one, chat_store.claimed(wanted, "bob") as two:
        assert (one.name, two.name) == ("chat.jsonl", "chat-2.jsonl")
        for path, session_id in ((one, "ada"), (two, "bob")):
            chat_store.save([{"session_id": {"S": session_id}}], path)
    with chat_store.claimed(wanted, "bob") as path:
        assert path == two, "the file that knows the conversation comes before the first"
        with chat_store.claimed(wanted, "bob") as other, chat_store.claimed(wanted, "carol") as third:
            assert (other.name, third.name) == ("chat.jsonl", "chat-3.jsonl")
    with chat_store.claimed(wanted, "carol") as path:
        assert path == one, "a new conversation goes into the first file"


@pytest.mark.parametrize("moment", ["a cold start", "thinking"])
def test_a_durable_run_in_a_chat_is_left_with_ctrl_c_goes_on_and_survives_the_death_of_its_environment(
    tmp_path: Path, moment: str
) -> None:
    """Ctrl-C leaves a durable run alone and not the chat; killed meanwhile, it goes on, and is followed again."""
    command = [sys.executable, "-m", "tools.chat", "ada", "--store", str(tmp_path / "chat.jsonl")]
    variables = {name: value for name, value in os.environ.items() if name not in local_stack.MODEL_VARIABLES}
    with Terminal(command, rie.ROOT, variables) as terminal:
        terminal.sees("     you")
        terminal.type("/durable What is 2 + 40?\r")
        terminal.sees(moment)
        terminal.type("\x03")
        terminal.sees("it goes on without you")
        terminal.sees("     you", times=2)
        terminal.type("/cold\r")
        terminal.sees("     you", times=3)
        terminal.type("/durable\r")
        terminal.sees("That makes 42.")
        terminal.sees("     you", times=4)
        terminal.type("/quit\r")
        assert terminal.ends() == 0


def test_a_chat_on_a_terminal_has_line_editing_and_says_how_to_approve(tmp_path: Path) -> None:
    store = tmp_path / "chat.jsonl"
    command = [sys.executable, "-m", "tools.chat", "ada", "--store", str(store)]
    variables = {name: value for name, value in os.environ.items() if name not in local_stack.MODEL_VARIABLES}
    with Terminal(command, rie.ROOT, variables) as terminal:
        terminal.sees("you")
        terminal.type("Hello, my nam is Ada" + LEFT * 7 + "e\r")
        terminal.sees("Nice to meet you, Ada.")
        terminal.sees("     you", times=2)
        terminal.type("Refund 25 euros for order A-17\r")
        terminal.sees("needs approval: /approve or /reject")
        terminal.sees("     you", times=3)
        terminal.type(UP + UP + "\r")
        terminal.sees("a run waits for approval")
        terminal.type("/quit\r")
        assert terminal.ends() == 0
        assert "^[" not in terminal.shown
    said = [line for line in store.read_text().splitlines() if "my name is Ada" in line]
    assert said
