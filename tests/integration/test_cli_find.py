"""The operator's command: finding sessions among many, folding what is long, and deleting with care."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from typing import Any

import pytest

from openai_agents_session import StorageOptions
from openai_agents_session.cli import mend, selection, store
from openai_agents_session.cli.output import Output
from openai_agents_session.cli.views.conversation import MESSAGE_LINES
from openai_agents_session.storage.table import Table
from tests.support.operating import Cli, World, json_of, message

pytestmark = pytest.mark.one_engine

DIGEST = "0123456789abcdef0123456789abcdef"


async def test_show_finds_a_session_by_how_its_id_begins(world: World, cli: Cli) -> None:
    """The agent stores `ada` as `ada@<digest>`: the part that people know is enough where it is one session."""
    items = await world.fill(f"ada@{DIGEST}", count=2)
    await world.fill("bob@1", count=1)
    await world.fill("bob@2", count=1)
    await world.fill("eve", count=1)
    await world.fill("eve@3", count=1)
    assert (await json_of(cli("show", "ada", "--json")))["items"] == items
    assert (await json_of(cli("cost", "ada", "--json")))["session_id"] == f"ada@{DIGEST}"
    several = await cli("show", "bob")
    assert several.exit_code == 1
    assert "2 sessions begin with 'bob'" in several.stderr
    assert {"bob@1", "bob@2"} <= set(several.stderr.split())
    assert (await json_of(cli("show", "eve", "--json")))["session"]["session_id"] == "eve"  # the id itself goes first
    none = await cli("show", "nobody")
    assert (none.exit_code, "there is no session 'nobody'" in none.stderr) == (1, True)


async def test_list_sorts_the_whole_table_and_finds_by_prefix_and_time(world: World, cli: Cli) -> None:
    """The first page of a sorted list is the first page of the table, not of what happened to be read first."""
    now = int(time.time())
    for number in range(30):
        options = StorageOptions(cache=None, clock=lambda number=number: now - 3600 * ((number * 7) % 30))
        name = f"{'odd' if number % 2 else 'even'}-{number:02}"
        session = world.session(name, options=options, ttl_seconds=900_000 + 10 * number, owner=f"user:{30 - number}")
        await session.add_items([message("x" * 100)] * (number + 1))

    async def listed(*arguments: str) -> list[Any]:
        return [json.loads(line) for line in (await cli("list", "--json", *arguments)).stdout.splitlines()]

    everything = await listed()
    assert len(everything) == 30
    sorts = (("updated", "updated_at", -1), ("begun", "created", -1), ("items", "items", -1), ("expires", "ttl", 1))
    for word, name, sign in sorts:
        expected = sorted((entry[name] for entry in everything), key=lambda value, sign=sign: sign * value)[:4]
        assert [entry[name] for entry in await listed("--sort", word, "--limit", "4")] == expected
    assert [entry["session_id"] for entry in await listed("--sort", "id", "--limit", "2")] == ["even-00", "even-02"]
    assert {entry["session_id"][:3] for entry in await listed("--prefix", "odd")} == {"odd"}
    assert len(await listed("--since", "150min")) == 3
    shown = await cli("list", "--limit", "3")
    newest = sorted(everything, key=lambda entry: -entry["updated_at"])[:3]
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [entry["session_id"] for entry in newest]
    assert "these are 3 of 30 sessions: --limit 0 shows all" in shown.stderr


@pytest.mark.parametrize(
    "name", ["it's", "two words", "$HOME", "-x", "a\tb", "a\x1b[31mb", "zürich 日本", "back\\slash", "new\nline", "~"]
)
async def test_where_to_go_on_is_a_word_that_a_shell_understands(world: World, cli: Cli, name: str) -> None:
    """What list prints for --after, pasted into a shell, names the session; nothing in it moves a cursor."""
    await world.session(name).add_items([message("hello")])
    await world.session(f"{name}2").add_items([message("hello")])
    result = await cli("list", "--sort", "none", "--limit", 1)
    said = result.stderr.partition("there are more: ")[2].partition(", or --limit 0")[0]
    assert "\x1b" not in said
    after = said.removeprefix("--after=")
    echo = await asyncio.create_subprocess_exec("bash", "-c", f"printf %s {after}", stdout=subprocess.PIPE)
    printed = (await echo.communicate())[0].decode()
    assert printed in {name, f"{name}2"}
    rest = await json_of(cli("list", f"--after={printed}", "--json"))
    assert {rest["session_id"], printed} == {name, f"{name}2"}


async def test_long_messages_are_folded(world: World, cli: Cli) -> None:
    """Five megabytes print a page, which says how much is left out; --full prints them all."""
    lines = "\n".join(f"line {number} {'x' * 150}" for number in range(32_000))
    session = world.session("ada", options=StorageOptions(cache=None))
    await session.add_items([message(lines), message("y" * 50_000), message("end")])
    shown = (await cli("show", "ada")).stdout.splitlines()
    assert len(shown) < 4 * MESSAGE_LINES
    assert sum("(--full)" in line for line in shown) == 2
    assert "      end" in shown
    await world.session("bob").add_items([message("\n".join(map(str, range(900))))])
    assert len((await cli("show", "bob")).stdout.splitlines()) < 2 * MESSAGE_LINES
    assert len((await cli("show", "bob", "--full")).stdout.splitlines()) > 900


# --- deleting with care ----------------------------------------------------------------------------------------------


async def test_a_dry_run_of_delete_says_what_and_does_nothing(world: World, cli: Cli) -> None:
    """By id, owner, prefix or expiry."""
    await world.fill("ada-1", count=1, owner="user:1")
    await world.fill("ada-2", count=20, owner="user:2")
    before = await world.items()
    for arguments, named in (
        (["ada-1"], ["ada-1"]),
        (["--owner", "user:2"], ["ada-2"]),
        (["--prefix", "ada"], ["ada-1", "ada-2"]),
    ):
        result = await cli("delete", *arguments, "--dry-run")
        assert (result.exit_code, sorted(result.stdout.split())) == (0, named)
        assert f"{len(named)} session" in result.stderr
        assert "read units" in result.stderr
    for arguments in (["nobody"], ["--owner", "user:3"], ["ada-1", "nobody"]):
        assert (await cli("delete", *arguments, "--dry-run")).exit_code == 1
    assert await world.items() == before


async def test_many_sessions_are_deleted_only_when_their_number_is_typed(world: World, cli: Cli) -> None:
    """A y is typed too easily."""
    for number in range(12):
        await world.fill(f"ada-{number:02}", count=1)
    for answer in ("y\n", "yes\n", "11\n", "\n", ""):
        result = await cli("delete", "--prefix", "ada", input=answer)
        assert result.exit_code == 1
        assert "Type 12 to go on" in result.stderr
        assert len(await world.items()) == 12
    done = await cli("delete", "--prefix", "ada", input="12\n")
    assert done.exit_code == 0
    assert "write units" in done.stderr
    assert await world.items() == {}


async def test_many_deletions_are_summed_up(world: World, cli: Cli) -> None:
    """More than a page of sessions is a number."""
    for number in range(25):
        await world.session(f"s{number}").add_items([message("x")])
    result = await cli("delete", "--prefix", "s", "-y")
    assert result.stdout.splitlines() == ["✓ 25 sessions deleted"]


async def test_what_is_written_while_it_is_deleted_as_expired_is_kept(world: World) -> None:
    """Between the look through the table and the deletion somebody goes on with the session."""
    past = StorageOptions(item_bytes=600, head_bytes=512, clock=lambda: time.time() - 60, cache=None)
    await world.fill("old", ttl_seconds=1, options=past)
    await world.fill("older", ttl_seconds=1, options=past)
    opened = store.Store(Table(world.client, world.table), StorageOptions(cache=None), store.Spent())
    wanted = selection.Wanted(expired=True)
    named, slots = await selection.everything_of(opened, Output(as_json=True), wanted)
    assert sorted(named) == ["old", "older"]
    revived = world.session("old", ttl_seconds=600)
    await revived.add_items([message("I am back")])
    erased = [await mend.erase(opened, name, None, slots, only_expired=True) for name in sorted(named)]
    assert [(one.existed, one.kept) for one in erased] == [(False, "it has been written since"), (True, None)]
    assert await revived.get_items() == [message("I am back")]
    assert {key.partition("#~")[0] for key in await world.items()} == {"old"}


# --- a table that is not ours ----------------------------------------------------------------------------------------

THEIRS: dict[str, Any] = {
    "cart": {"total": {"N": "12"}, "lines": {"L": [{"S": "shoes"}]}},
    "visit": {"state": {"S": "CA"}, "commit": {"S": "abc"}, "ttl": {"N": "1"}},
    "cart#~1": {"data": {"B": b"xx"}, "count": {"N": "3"}},
    "cart#~run": {"data": {"S": "x"}},
}


async def test_somebody_elses_items_are_told_and_never_touched(world: World, cli: Cli) -> None:
    """A table with the same key and other items is recognised: nothing in it is listed, exported or deleted."""
    for key, attributes in THEIRS.items():
        await world.put({"session_id": {"S": key}, **attributes})
    before = await world.items()
    verified = await cli("verify")
    assert verified.exit_code == 1
    assert "in order" not in verified.stdout
    assert "holds no sessions" in verified.stderr
    assert (await cli("list", "--json")).stdout == ""
    for arguments in (
        ["show", "cart"],
        ["cost", "cart"],
        ["export", "cart"],
        ["salvage", "cart"],
        ["verify", "cart"],
        ["repair", "-y"],
        ["repair", "cart", "-y"],
        ["delete", "cart", "-y"],
        ["delete", "visit", "-y"],
        ["delete", "cart", "--dry-run"],
        ["delete", "--prefix", "", "-y"],
    ):
        result = await cli(*arguments)
        assert result.exit_code == 1, (arguments, result.stdout, result.stderr)
        assert await world.items() == before
    await cli("delete", "--expired", "-y")
    sessions = "\n".join(
        json.dumps(line)
        for line in (
            {"session_id": "cart", "session": {"items": 1}},
            {"session_id": "cart", "item": message("x")},
            {"exported": {"sessions": 1, "items": 1}},
        )
    )
    for how in ([], ["--append"], ["--replace"], ["--skip-existing"]):
        result = await cli("import", "-", *how, input=sessions)
        assert (result.exit_code, "not a session" in result.stdout) == (1, True), result.stdout
    assert await world.items() == before


async def test_a_session_among_somebody_elses_items(world: World, cli: Cli) -> None:
    """The sessions of a mixed table are deleted as ever; what lies under their keys and is not ours stays."""
    await world.fill("ada", count=20)
    await world.put({"session_id": {"S": "ada#~77"}, "hello": {"S": "not ours"}})
    await world.put({"session_id": {"S": "cart"}, "total": {"N": "1"}})
    verified = await cli("verify")
    assert verified.exit_code == 1
    assert "1 item that this library did not write" in verified.stdout
    assert (await cli("delete", "ada", "-y")).exit_code == 0
    assert (await world.items()).keys() == {"ada#~77", "cart"}


@pytest.mark.needs("key types")
@pytest.mark.parametrize("key", ["id", "composite", "number"])
async def test_a_table_with_another_key_is_refused_in_one_line(world: World, cli: Cli, key: str) -> None:
    """Every command says that it is no table of sessions, whatever its key is."""
    name = f"{world.table}-{key}"
    keys = {"id": [("id", "S")], "composite": [("session_id", "S"), ("at", "N")], "number": [("session_id", "N")]}
    attributes = keys[key]
    await world.client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for (attribute, _), kind in zip(attributes, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in attributes],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {attribute: {kind: "1"} for attribute, kind in attributes}
    await world.client.put_item(TableName=name, Item=item)
    for arguments in (["show", "1"], ["ping"], ["verify"], ["delete", "1", "-y"], ["create-table"], ["list"]):
        result = await cli(*arguments, "--table", name)
        if (key, arguments) == ("composite", ["list"]):
            continue  # a list reads no key: it shows that nothing there is a session
        assert result.exit_code in {1, 3}, (arguments, result.stdout)
        assert re.search("no table of sessions|holds no sessions", result.stderr), (
            arguments,
            result.stderr,
            result.stdout,
        )
    assert (await world.client.scan(TableName=name))["Items"] == [item]


async def test_verify_of_a_typing_mistake_finds_nothing_and_says_so(world: World, cli: Cli) -> None:
    """What is not there is not in order."""
    await world.fill("ada", count=1)
    result = await cli("verify", "adda")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no session 'adda'" in result.stderr
    both = await cli("verify", "ada", "adda")
    assert both.exit_code == 1
    assert "1 session" in both.stdout
    assert (await cli("repair", "adda", "-y")).exit_code == 1


async def test_create_table_makes_one_that_sessions_can_use(world: World, cli: Cli) -> None:
    """It does so once, and says which."""
    name = f"{world.table}-new"
    first = await json_of(cli("create-table", "--table", name, "--json"))
    second = await json_of(cli("create-table", "--table", name, "--json"))
    assert (first["created"], second["created"]) == (True, False)
    there = World(world.client, name)
    await there.session("ada", ttl_seconds=60).add_items([message("hello")])
    assert (await cli("verify", "--table", name)).exit_code == 0
