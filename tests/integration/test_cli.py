"""The operator's command against real engines: finding and showing sessions, and the command as such."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import time
from typing import Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cli import store, words
from openai_agents_session.conversations import Conversation, Usage
from openai_agents_session.runs import PendingCall, PendingRuns
from openai_agents_session.storage.turn_log import Outcome
from openai_agents_session.turn_journal import TurnJournal
from openai_agents_session.turns import delivery_of, named_turn
from tests.support.operating import Cli, World, json_of, message, python
from tests.support.short_turns import Invocation
from tools.emulation.proxy import FaultProxy

pytestmark = pytest.mark.one_engine

# --- list ------------------------------------------------------------------------------------------------------------


async def test_list_shows_every_session_and_nothing_else(world: World, cli: Cli) -> None:
    await world.fill("ada", owner="user:1", ttl_seconds=3600)
    await world.fill("bob", count=1)
    await PendingRuns(world.session("ada", owner="user:1")).park("{}", [PendingCall("c", "transfer", "{}")])
    result = await cli("list")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["SESSION", "ITEMS", "SIZE", "UPDATED", "(UTC)", "EXPIRES", "OWNER"]
    assert sorted(line.split()[:2] for line in lines[1:]) == [["ada", "12"], ["bob", "1"]]
    assert "in 1 h" in result.stdout
    assert "user:1" in result.stdout
    listed = [json.loads(line) for line in (await cli("list", "--json")).stdout.splitlines()]
    by_id = {entry["session_id"]: entry for entry in listed}
    assert by_id.keys() == {"ada", "bob"}
    assert by_id["ada"]["parts"] == len(await world.live_parts("ada"))
    assert (by_id["ada"]["owner"], by_id["bob"]["ttl"]) == ("user:1", None)


async def test_list_goes_through_the_table_page_by_page(world: World, cli: Cli) -> None:
    names = {f"session-{number}" for number in range(17)}
    for name in names:
        await world.session(name).add_items([message("hello")])
    seen: list[str] = []
    after: list[str] = ["--sort", "none"]
    while True:
        result = await cli("list", "--limit", 5, *after)
        seen += [line.split()[0] for line in result.stdout.splitlines()[1:]]
        if "there are more" not in result.stderr:
            break
        after = [word for word in shlex.split(result.stderr.replace(",", " ")) if word.startswith("--after=")]
    assert sorted(seen) == sorted(names)
    assert (await cli("list", "--sort", "items", "--after", "a")).exit_code == 2


async def test_list_filters_by_owner_and_expiry(world: World, cli: Cli) -> None:
    await world.fill("ada", count=1, owner="user:1")
    await world.fill("bob", count=1, owner="user:2", ttl_seconds=1)
    await world.put({"session_id": {"S": "eve"}, "conversation_data": {"S": "no JSON"}})
    while time.time() < int((await world.items())["bob"]["ttl"]["N"]):
        await asyncio.sleep(0.05)

    async def listed(*arguments: str) -> set[str]:
        return {
            json.loads(line)["session_id"] for line in (await cli("list", "--json", *arguments)).stdout.splitlines()
        }

    assert await listed() == {"ada", "bob", "eve"}
    assert await listed("--owner", "user:1") == {"ada"}
    assert await listed("--expired") == {"bob"}
    assert await listed("--expired", "--owner", "user:1") == set()
    assert "damaged" in (await cli("list")).stdout


# --- show ------------------------------------------------------------------------------------------------------------

TALK: list[Any] = [
    message("What is the weather?"),
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I need the tool."}]},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "\n".join(f"hour {n}: sunny" for n in range(24))},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny.\x1b[2Jevil\u202e"}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{'A' * 3000}"}]},
    {"type": "computer_call", "call_id": "call_2", "action": {"type": "click"}},
]


async def test_show_tells_who_said_what_and_folds_what_tools_said(world: World, cli: Cli) -> None:
    session = world.session("ada", owner="user:1")
    await session.add_items(TALK)
    await PendingRuns(session).park("{}", [PendingCall("call_3", "transfer", '{"amount": 5}')])
    shown = (await cli("show", "ada")).stdout
    order = [
        "1  user",
        "What is the weather?",
        "reasoning",
        'weather(city="Rome")',
        "hour 5",
        "18 more lines",
        "Sunny.",
    ]
    assert [shown.index(text) for text in order] == sorted(shown.index(text) for text in order)
    assert "hour 6" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[input_image 3,022 characters]" in shown
    assert "computer(" in shown
    assert "waits for approval" in shown
    assert 'transfer({"amount": 5})' in shown
    assert "hour 23" in (await cli("show", "ada", "--full")).stdout


async def test_show_limits_and_gives_what_is_stored(world: World, cli: Cli) -> None:
    items = await world.fill("ada")
    shown = (await cli("show", "ada", "--limit", 2)).stdout
    assert "10 earlier items" in shown
    assert " 11  user" in shown
    assert " 10  user" not in shown
    raw = (await cli("show", "ada", "--raw", "--limit", 0)).stdout
    assert [json.loads(line) for line in raw.splitlines()] == items
    data = await json_of(cli("show", "ada", "--json", "--limit", 3))
    assert (data["items"], data["session"]["items"], data["run"]) == (items[-3:], 12, None)


async def test_show_tells_how_turns_ended(world: World, cli: Cli) -> None:
    """Every outcome is told in a word, of the turns whose items are shown, with what it used where that is kept; the
    JSON has what the history has."""
    session = world.session("ada")
    for number, outcome in enumerate(Outcome):
        request = delivery_of(f"turn {number}", "Go.")
        async with named_turn(session, Invocation(), request, [message(f"Question {number}")]) as journal:
            assert isinstance(journal, TurnJournal)
            await journal.end(outcome, [message(f"Answer {number}", "assistant")], usage=Usage(2, 1500, 0, 70, 0))
    shown = (await cli("show", "ada")).stdout
    for number, outcome in enumerate(Outcome):
        line = next(line for line in shown.splitlines() if f"items {2 * number + 1} to {2 * number + 2}:" in line)
        assert outcome.name.lower() in line
        assert ("(2 model calls, 1,500 input tokens, 70 output tokens)" in line) is (number >= len(Outcome) - 4)
    assert (await cli("show", "ada", "--limit", 3)).stdout.count("\nturn ") == 2
    data = await json_of(cli("show", "ada", "--json", "--limit", 1))
    assert data["turns"] == [turn.to_dict() for turn in (await Conversation(session).history()).turns]
    assert [turn["outcome"] for turn in data["turns"]] == [outcome.name.lower() for outcome in Outcome]


async def test_show_tells_of_a_turn_that_is_not_done(world: World, cli: Cli) -> None:
    """A turn that runs is told by its lease alone; one that nobody works on any more is told as unfinished."""
    session = world.session("ada")
    await session.add_items([message("Hello.")])
    async with named_turn(session, Invocation(), delivery_of("turn", "Go."), [message("Go.")]):
        shown = (await cli("show", "ada")).stdout
        assert ("running, its lease ends" in shown, "unfinished" in shown) == (True, False)
    shown = (await cli("show", "ada")).stdout
    assert "turn     item 2: unfinished: stopped or failed, or its environment died" in shown
    assert "its lease ends" not in shown
    assert (await json_of(cli("show", "ada", "--json")))["turns"] == []


async def test_show_of_what_is_not_there_or_damaged_says_so(world: World, cli: Cli) -> None:
    result = await cli("show", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no session 'nobody'" in result.stderr
    await world.fill("ada")
    await world.delete((await world.live_parts("ada"))[0])
    result = await cli("show", "ada")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "of 12 items can still be read" in result.stderr


async def test_show_of_an_expired_session_tells_that_it_is_empty(world: World, cli: Cli) -> None:
    past = StorageOptions(clock=lambda: time.time() - 60, cache=None)
    await world.fill("ada", ttl_seconds=1, options=past)
    result = await cli("show", "ada")
    assert result.exit_code == 0
    assert "it has expired" in result.stdout


# --- cost and ping ---------------------------------------------------------------------------------------------------


async def test_cost_is_what_the_next_turns_really_cost(world: World, cli: Cli, connect: Any, proxy: FaultProxy) -> None:
    options = StorageOptions()

    async def turn(client: Any, number: int) -> None:
        session = DynamoDBSession("ada", client, world.table, options=options)
        await session.get_items()
        await session.add_items([message(f"{number} {os.urandom(500).hex()}")])
        await session.add_items([message(f"{number} {os.urandom(1500).hex()}", "assistant")])

    metered = await connect(proxy.url)
    for number in range(60):
        await turn(metered, number)
    told = await json_of(cli("cost", "ada", "--json"))
    proxy.reset()
    turns = 60
    for number in range(turns):
        await turn(metered, number)
    assert told["read_units_warm"] == pytest.approx(proxy.bill.read_units / turns, abs=0.1)
    assert told["write_units"] == pytest.approx(proxy.bill.write_units / turns, rel=0.2)
    dollars = (proxy.bill.read_units * 0.125 + proxy.bill.write_units * 0.625) / turns / 1000
    assert told["dollars_warm"] == pytest.approx(dollars, rel=0.2)
    dearer = await json_of(cli("cost", "ada", "--json", "--write-price", 1.25, "--read-price", 0.25))
    shown = (await cli("cost", "ada")).stdout
    assert "dollars for 1,000 turns" in shown
    assert dearer["dollars_cold"] > 1.9 * told["dollars_cold"]


async def test_ping_tells_how_long_a_read_takes(cli: Cli, table: str) -> None:
    data = await json_of(cli("ping", "--json"))
    assert data["table"] == table
    assert 0 < data["ms"] < 5000


# --- as a command ----------------------------------------------------------------------------------------------------


async def test_exit_codes_tell_wrong_usage_from_an_unusable_table(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.2)
    for arguments, code, said in (
        (["list", "--table", "nowhere"], 3, "does not exist"),
        (["list", "--endpoint-url", "http://127.0.0.1:1"], 3, "DynamoDB kept failing"),
        (["list", "--endpoint-url", "nonsense"], 3, "Invalid endpoint"),
        (["list", "--profile", "nobody"], 3, "could not be found"),
        (["show", "a#~1"], 2, "marks the parts of sessions"),
        (["export"], 2, "name sessions"),
        (["export", "a", "--all"], 2, "name sessions"),
        (["export", "a", "--after", "b"], 2, "--after"),
        (["list", "--since", "yesterday"], 2, "is not a time"),
        (["delete", "a", "--owner", "b"], 2, "name sessions"),
        (["frobnicate"], 2, "No such command"),
        (["list", "--limit", "many"], 2, "for '--limit'"),
    ):
        result = await cli(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), arguments
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    failed = await cli("list", "--json", "--table", "nowhere")
    assert json.loads(failed.stderr)["kind"] == "TableNotFoundError"


def test_the_command_runs_as_a_module_and_its_help_documents_the_exit_codes() -> None:
    result = python("-m", "openai_agents_session.cli", "--help", COLUMNS="200")
    assert result.returncode == 0
    assert "Exit codes: 0 done; 1 problems found" in result.stdout
    assert python("-m", "openai_agents_session.cli", "list").returncode == 2


def test_the_command_says_what_to_install_where_its_libraries_are_missing() -> None:
    hidden = "import sys; sys.modules['typer'] = None\nimport importlib.util as u; find = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest)\n"
    result = python("-c", f"{hidden}from openai_agents_session.cli.__main__ import main; main()")
    said = "typer missing: install the library with its extra cli, pip install './layer[cli]'\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_the_library_imports_nothing_of_the_command() -> None:
    code = (
        "import pkgutil, importlib, sys, openai_agents_session as package\n"
        "paths = [*package.__path__, *(path + '/storage' for path in package.__path__)]\n"
        "found = [m for m in pkgutil.iter_modules(paths) if m.name != 'cli']\n"
        "names = [('storage.' if m.module_finder.path.endswith('storage') else '') + m.name for m in found]\n"
        "for name in names: importlib.import_module(f'openai_agents_session.{name}')\n"
        "assert len(names) > 15, names\n"
        "print({'typer', 'rich', 'openai_agents_session.cli'} & set(sys.modules))"
    )
    result = python("-c", code)
    assert result.stdout == "set()\n", result.stderr


def test_controls_in_a_history_cannot_reach_the_terminal() -> None:
    assert words.printable("a\x1b[31mb\x07\u202ec\r\n\td👩\u200d🔬") == "a\ufffd[31mb\ufffd\ufffdc\ufffd\n\td👩\u200d🔬"
