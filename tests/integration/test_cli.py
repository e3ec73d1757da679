"""The operator's command against real engines: what it shows, moves, finds, repairs and deletes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from openai_agents_session import CorruptSessionError, DynamoDBSession, StorageOptions
from openai_agents_session.cli import reports, store, survey
from openai_agents_session.cli.app import app
from openai_agents_session.runs import PendingCall, PendingRuns
from openai_agents_session.storage.keys import slot_key
from openai_agents_session.storage.table import Table
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

LARGE_STATE = os.urandom(60_000).hex()
SMALL = StorageOptions(item_bytes=600, head_bytes=512, part_bytes=2048, fan_out=3, cache=None)
Cli = Callable[..., Awaitable[Result]]


@dataclass(frozen=True)
class World:
    """A table, sessions in it, and what lies in it."""

    client: Any
    table: str

    def session(self, session_id: str, **settings: Any) -> DynamoDBSession:
        return DynamoDBSession(session_id, self.client, self.table, **{"options": SMALL, **settings})

    async def fill(self, session_id: str, count: int = 12, **settings: Any) -> list[Any]:
        items = [message(f"{session_id} {number}: {os.urandom(60).hex()}") for number in range(count)]
        for item in items:
            await self.session(session_id, **settings).add_items([item])
        return items

    async def items(self) -> dict[str, Any]:
        """Every item of the table."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        return {item["session_id"]["S"]: item async for page in pages for item in page["Items"]}

    async def put(self, item: Any) -> None:
        await self.client.put_item(TableName=self.table, Item=item)

    async def delete(self, key: str) -> None:
        await self.client.delete_item(TableName=self.table, Key={"session_id": {"S": key}})

    async def live_parts(self, session_id: str) -> list[str]:
        """The keys of the parts that hold a session's history, oldest first."""
        engine = self.session(session_id)._store
        head = engine.decoded(await engine.table.read_item(session_id, engine.patience()))
        return [slot_key(session_id, slot) for segment in head.manifest.segments for slot in segment.slots]

    async def orphan(self, session_id: str, **settings: Any) -> set[str]:
        """Leave the parts of a session behind without their head."""
        await self.fill(session_id, **settings)
        await self.delete(session_id)
        return {key for key in await self.items() if key.startswith(f"{session_id}#~")}


@pytest.fixture
def world(client: Any, table: str) -> World:
    return World(client, table)


@pytest.fixture
def cli(engine: Engine, table: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs the command as a process would, in a thread with an event loop of its own."""
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 5.0)
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint_url,
        "SESSION_TABLE": table,
    }

    async def cli(*arguments: Any, **settings: Any) -> Result:
        given = [str(argument) for argument in arguments]
        result = await asyncio.to_thread(CliRunner().invoke, app, given, env=environment, **settings)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return cli


def message(text: str, role: str = "user") -> Any:
    return {"role": role, "content": text}


async def json_of(result: Awaitable[Result]) -> Any:
    return json.loads((await result).stdout)


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
    after: list[str] = []
    while True:
        result = await cli("list", "--limit", 5, *after)
        seen += [line.split()[0] for line in result.stdout.splitlines()[1:]]
        if "there are more" not in result.stderr:
            break
        after = ["--after", result.stderr.partition("--after '")[2].partition("'")[0]]
    assert sorted(seen) == sorted(names)


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


async def test_show_of_what_is_not_there_or_damaged_says_so(world: World, cli: Cli) -> None:
    result = await cli("show", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no session 'nobody'" in result.stderr
    await world.fill("ada")
    await world.delete((await world.live_parts("ada"))[0])
    result = await cli("show", "ada")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "of 12 items are intact" in result.stderr


async def test_show_of_an_expired_session_tells_that_it_is_empty(world: World, cli: Cli) -> None:
    past = StorageOptions(clock=lambda: time.time() - 60, cache=None)
    await world.fill("ada", ttl_seconds=1, options=past)
    result = await cli("show", "ada")
    assert result.exit_code == 0
    assert "it has expired" in result.stdout


# --- export and import -----------------------------------------------------------------------------------------------

ODD: list[Any] = [
    message("Zürich 🏔 \u2028 \ud800 lone"),
    {"role": "user", "content": "x", "number": 2**70, "fraction": 0.1, "nothing": None, "nested": [[], {}, True]},
    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + "QUJD" * 400_000}]},
]


async def test_megabytes_survive_export_and_import_into_another_table(world: World, cli: Cli, tmp_path: Path) -> None:
    big = world.session("big", owner="user:1", ttl_seconds=7200, options=StorageOptions(cache=None))
    await big.add_items(ODD)
    for number in range(30):
        await big.add_items([message(f"{number} {os.urandom(30_000).hex()}")])
    small = await world.fill("small")
    history = await big.get_items()
    before = await world.items()
    file = tmp_path / "sessions.jsonl"
    result = await cli("export", "--all", "-o", file)
    assert result.exit_code == 0
    assert file.stat().st_size > 3_000_000
    elsewhere = f"{world.table}-copy"
    await world.client.create_table(
        TableName=elsewhere,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert await json_of(cli("import", file, "--table", elsewhere, "--json")) == [
        {"session_id": name, "items": count, "outcome": "imported"}
        for name, count in sorted([("big", 33), ("small", 12)], key=lambda pair: list(before).index(pair[0]))
    ]
    there = World(world.client, elsewhere)
    assert await there.session("big", owner="user:1").get_items() == history
    assert await there.session("small").get_items() == small
    info, old = await there.session("big").describe(), await big.describe()
    assert info.owner == "user:1"
    assert info.ttl is not None
    assert old.ttl is not None
    assert abs(info.ttl - old.ttl) <= 2
    assert (await there.session("small").describe()).ttl is None
    assert await world.items() == before  # exporting changed nothing


async def test_import_leaves_existing_sessions_alone_unless_told(world: World, cli: Cli, tmp_path: Path) -> None:
    items = await world.fill("ada")
    file = tmp_path / "ada.jsonl"
    await cli("export", "ada", "-o", file)
    result = await cli("import", file)
    assert result.exit_code == 1
    assert "the session exists" in result.stdout
    assert await world.session("ada").get_items() == items
    assert (await cli("import", file, "--append")).exit_code == 0
    assert await world.session("ada").get_items() == items + items
    assert (await cli("import", file, "--replace")).exit_code == 0
    assert await world.session("ada").get_items() == items
    assert (await cli("import", file, "--append", "--replace")).exit_code == 2
    assert (await cli("import", file, "--as", "copy")).exit_code == 0
    assert await world.session("copy").get_items() == items


async def test_a_file_that_was_cut_off_is_noticed_and_its_last_session_not_stored(
    world: World, cli: Cli, tmp_path: Path
) -> None:
    ada, bob = await world.fill("ada"), await world.fill("bob")
    text = (await cli("export", "ada", "bob")).stdout
    for name in ("ada", "bob"):
        await world.session(name).clear_session()
    result = await cli("import", "-", input="".join(text.splitlines(keepends=True)[:-1]))
    assert result.exit_code == 1
    assert "session 'bob' lacks 1 of its items" in result.stderr
    assert "ada: 12 items imported" in result.stdout
    assert await world.session("ada").get_items() == ada
    assert await world.session("bob").get_items() == []
    assert len(bob) == 12


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "line 1 is not JSON"),
        ('{"session_id": "ada", "item": {}}', "line 1: an item of session 'ada', which was not announced"),
        ('{"session_id": "ada"}', "line 1 is neither"),
        ('{"session_id": "ada", "session": {}}', "line 1 does not describe"),
    ],
)
async def test_a_file_that_is_something_else_is_refused_with_the_line(
    world: World, cli: Cli, text: str, reason: str
) -> None:
    result = await cli("import", "-", input=text)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert await world.items() == {}


async def test_an_expired_session_is_imported_only_with_a_new_expiry(world: World, cli: Cli) -> None:
    text = (
        '{"session_id": "ada", "session": {"items": 1, "ttl": 1000}}\n{"session_id": "ada", "item": {"role": "user"}}\n'
    )
    assert (await cli("import", "-", input=text)).exit_code == 1
    assert await world.items() == {}
    assert (await cli("import", "-", "--ttl-seconds", 60, input=text)).exit_code == 0
    assert await world.session("ada").get_items() == [{"role": "user"}]


# --- verify and repair -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """What was planted, as (session, key, kind), and the histories that must survive."""

    problems: set[tuple[str, str, str]]
    leftovers: set[str]
    intact: dict[str, list[Any]]


@pytest.fixture
async def planted(world: World) -> Planted:
    intact = {"whole": await world.fill("whole", owner="user:1"), "short": await world.fill("short", count=1)}
    intact |= {f"whole-{number}": await world.fill(f"whole-{number}", count=1) for number in range(4)}
    problems: set[tuple[str, str, str]] = set()

    for session_id in ("missing", "flipped", "foreign"):
        await world.fill(session_id)
    missing = (await world.live_parts("missing"))[0]
    await world.delete(missing)
    flipped = (await world.live_parts("flipped"))[-1]
    part = (await world.items())[flipped]
    data = part["data"]["B"]
    await world.put({**part, "data": {"B": data[:20] + bytes([data[20] ^ 1]) + data[21:]}})
    foreign = (await world.live_parts("foreign"))[0]
    await world.put({"session_id": {"S": foreign}, "hello": {"S": "not ours"}})
    for session_id, key in (("missing", missing), ("flipped", flipped), ("foreign", foreign)):
        problems.add((session_id, key, "damaged part"))

    await world.fill("beheaded")
    head = (await world.items())["beheaded"]
    await world.put({**head, "state": {"B": b"what?"}})
    problems.add(("beheaded", "beheaded", "damaged head"))
    await world.put({"session_id": {"S": "reference"}, "conversation_data": {"S": "[1, 2"}})
    problems.add(("reference", "reference", "damaged head"))

    problems |= {("orphaned", key, "orphan") for key in await world.orphan("orphaned")}
    await world.orphan("reborn", count=60)
    intact["reborn"] = await world.fill("reborn")
    live = (await world.items())[(await world.live_parts("reborn"))[0]]
    old = {k for k, i in (await world.items()).items() if k.startswith("reborn#~") and i["epoch"] != live["epoch"]}
    assert len(old) > 1
    problems |= {("reborn", key, "orphan") for key in old}
    await world.put({"session_id": {"S": "whole#~99"}, "hello": {"S": "not ours"}})
    problems.add(("whole", "whole#~99", "not a part"))
    return Planted(problems, await world.orphan("gone", ttl_seconds=600), intact)


async def test_verify_finds_nothing_in_a_table_that_is_in_order(world: World, cli: Cli) -> None:
    await world.fill("ada", count=40)
    await world.fill("bob", ttl_seconds=600)
    await PendingRuns(world.session("ada")).park(LARGE_STATE, [PendingCall("c", "transfer", "{}")])
    for _ in range(3):
        await world.session("ada").pop_item()
    found = await json_of(cli("verify", "--json"))
    assert (found["problems"], found["leftovers"]) == ([], [])
    assert (found["sessions"], found["runs"]) == (2, 1)
    assert found["items"] == len(await world.items()) == found["parts"] + 3
    result = await cli("verify")
    assert result.exit_code == 0
    assert "everything is in order" in result.stdout
    assert (await cli("repair", "-y")).stdout == "there is nothing to repair\n"


async def test_verify_finds_what_is_damaged_and_what_is_left_behind(world: World, cli: Cli, planted: Planted) -> None:
    before = await world.items()
    result = await cli("verify", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {(p["session_id"], p["key"], p["kind"]) for p in found["problems"]} == planted.problems
    assert {p["key"] for p in found["leftovers"]} == planted.leftovers
    assert await world.items() == before


async def test_verify_of_some_sessions_looks_at_these(cli: Cli, planted: Planted) -> None:
    for session_id in ("orphaned", "missing", "reborn", "beheaded"):
        found = await json_of(cli("verify", session_id, "--json"))
        expected = {problem for problem in planted.problems if problem[0] == session_id}
        assert {(p["session_id"], p["key"], p["kind"]) for p in found["problems"]} == expected
    assert (await cli("verify", "short", "gone")).exit_code == 0


async def test_repair_says_what_it_would_do_and_then_does_it(world: World, cli: Cli, planted: Planted) -> None:
    before = await world.items()
    tried = await cli("repair", "--dry-run")
    assert tried.exit_code == 1
    assert "flipped: keep " in tried.stdout
    assert "beheaded: make a new head from the 12 items that can be read" in tried.stdout
    assert f"gone: delete {len(planted.leftovers)} items" in tried.stdout
    declined = await cli("repair", input="n\n")
    assert declined.exit_code == 1
    assert await world.items() == before

    done = await cli("repair", "--yes")
    assert done.exit_code == 0, done.stdout
    found = await json_of(cli("verify", "--json"))
    assert (found["problems"], found["leftovers"]) == ([], [])
    after = await world.items()
    assert not {key for _, key, kind in planted.problems if kind in {"orphan", "not a part"}} & after.keys()
    assert not planted.leftovers & after.keys()
    for session_id, items in planted.intact.items():
        assert await world.session(session_id).get_items() == items
    kept = {
        name: [item["content"].split(":")[0] for item in await world.session(name).get_items()] for name in _RESCUED
    }
    assert kept["beheaded"] == [f"beheaded {number}" for number in range(12)]
    for name in ("missing", "flipped", "foreign"):
        assert 0 < len(kept[name]) < 12
        assert kept[name] == [entry for entry in (f"{name} {n}" for n in range(12)) if entry in kept[name]]


_RESCUED = ("beheaded", "missing", "flipped", "foreign")


async def test_repair_leaves_alone_what_a_newer_version_wrote(world: World, cli: Cli) -> None:
    await world.fill("ada", count=2)
    head = (await world.items())["ada"]
    body = b"\x7f" + head["state"]["B"][1:-4]  # another format number, under a checksum that holds
    newer = {**head, "state": {"B": body + zlib.crc32(body).to_bytes(4, "big")}}
    await world.put(newer)
    found = await json_of(cli("verify", "--json"))
    assert [problem["kind"] for problem in found["problems"]] == ["unknown format"]
    for arguments in (["repair", "-y"], ["repair", "ada", "-y"]):
        assert (await cli(*arguments)).exit_code == 1
    with pytest.raises(CorruptSessionError, match="not one this version knows"):
        await world.session("ada").recover()
    assert (await world.items())["ada"] == newer


async def test_repair_of_a_table_that_looks_damaged_all_over_is_refused(world: World, cli: Cli) -> None:
    for number in range(6):
        await world.put({"session_id": {"S": f"s{number}"}, "conversation_data": {"S": "not ours"}})
    before = await world.items()
    result = await cli("repair", "--yes")
    assert result.exit_code == 1
    assert "most sessions look damaged" in result.stderr
    assert await world.items() == before
    assert (await cli("repair", "s1", "--yes")).exit_code == 0
    assert await world.session("s1").get_items() == []


async def test_a_parked_run_that_is_damaged_is_discarded_and_its_session_kept(world: World, cli: Cli) -> None:
    items = await world.fill("ada")
    await PendingRuns(world.session("ada")).park(LARGE_STATE, [PendingCall("c", "transfer", "{}")])
    part = next(key for key in await world.items() if key.startswith("ada#~run#~"))
    await world.delete(part)
    assert (await cli("verify")).exit_code == 1
    assert "discard the parked run" in (await cli("repair", "--dry-run")).stdout
    assert (await cli("repair", "-y")).exit_code == 0
    assert (await cli("verify")).exit_code == 0
    assert await PendingRuns(world.session("ada")).get() is None
    assert await world.session("ada").get_items() == items


async def test_what_a_scan_saw_and_a_clear_deleted_since_is_no_orphan(world: World) -> None:
    await world.fill("ada")
    opened = store.Store(Table(world.client, world.table), StorageOptions(cache=None), store.Spent())
    result, suspects = await survey.collect_table(opened, lambda count: None)
    assert len(suspects["ada"]) > 1
    await world.session("ada").clear_session()
    await survey.examine_all(opened, result, suspects)
    assert (result.problems, result.leftovers) == ([], [])


async def test_verify_and_repair_do_no_harm_beside_busy_writers(world: World, cli: Cli) -> None:
    histories: dict[str, list[Any]] = {name: [] for name in ("a", "b", "c")}
    stop = asyncio.Event()

    async def write(name: str) -> None:
        session = world.session(name)
        while not stop.is_set():
            item = message(f"{len(histories[name])} {os.urandom(40).hex()}")
            await session.add_items([item])
            histories[name].append(item)
            if name == "c" and len(histories[name]) == 15:
                await session.clear_session()
                histories[name].clear()

    writers = [asyncio.create_task(write(name)) for name in histories]
    try:
        for _ in range(3):
            found = await json_of(cli("verify", "--json"))
            assert (found["problems"], found["leftovers"]) == ([], [])
            assert (await cli("repair", "-y")).exit_code == 0
    finally:
        stop.set()
        await asyncio.gather(*writers)
    for name, history in histories.items():
        assert await world.session(name).get_items() == history


# --- delete ----------------------------------------------------------------------------------------------------------


async def test_delete_leaves_nothing_of_a_session(world: World, cli: Cli) -> None:
    await world.orphan("ada")
    await world.fill("ada", owner="user:1", count=30)
    await PendingRuns(world.session("ada", owner="user:1")).park(LARGE_STATE, [PendingCall("c", "t", "{}")])
    await world.fill("ada2", count=1)
    assert {"ada", "ada#~run", "ada#~run#~0"} <= (await world.items()).keys()
    declined = await cli("delete", "ada", input="n\n")
    assert declined.exit_code == 1
    assert "ada" in await world.items()
    assert (await cli("delete", "ada", "--yes")).exit_code == 0
    assert (await world.items()).keys() == {"ada2"}
    again = await cli("delete", "ada", "--yes")
    assert again.exit_code == 1
    assert "there was nothing" in again.stdout


async def test_delete_takes_damaged_sessions_and_orphans_too(world: World, cli: Cli, planted: Planted) -> None:
    for session_id in ("beheaded", "missing", "flipped", "foreign", "reference", "orphaned", "reborn", "gone"):
        result = await cli("delete", session_id, "-y")
        assert result.exit_code == 0, (session_id, result.stderr)
    assert {key.partition("#~")[0] for key in await world.items()} == planted.intact.keys() - {"reborn"}
    assert await world.session("whole", owner="user:1").get_items() == planted.intact["whole"]


async def test_delete_of_an_owner_takes_all_that_is_theirs_and_no_more(world: World, cli: Cli) -> None:
    for number in range(4):
        await world.fill(f"ada-{number}", owner="user:1", ttl_seconds=[None, 1][number % 2])
    await PendingRuns(world.session("ada-0", owner="user:1")).park(LARGE_STATE, [PendingCall("c", "t", "{}")])
    others = {name: await world.fill(name, owner=owner) for name, owner in (("bob", "user:11"), ("eve", None))}
    result = await cli("delete", "--owner", "user:1", "--yes", "--json")
    assert {entry["session_id"] for entry in json.loads(result.stdout)} == {f"ada-{number}" for number in range(4)}
    assert {key.partition("#~")[0] for key in await world.items()} == others.keys()
    for name, items in others.items():
        assert await world.session(name).get_items() == items
    assert (await cli("delete", "--owner", "user:1", "-y")).exit_code == 1


async def test_delete_of_what_has_expired(world: World, cli: Cli) -> None:
    past = StorageOptions(item_bytes=600, head_bytes=512, clock=lambda: time.time() - 60, cache=None)
    await world.fill("old", ttl_seconds=1, options=past)
    items = await world.fill("new", ttl_seconds=600)
    assert (await cli("delete", "--expired", "-y")).exit_code == 0
    assert {key.partition("#~")[0] for key in await world.items()} == {"new"}
    assert await world.session("new").get_items() == items
    assert (await cli("delete", "--expired", "-y")).exit_code == 0


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


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "SESSION_TABLE"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=clean | environment, check=False
    )


def test_the_command_runs_as_a_module_and_its_help_documents_the_exit_codes() -> None:
    result = python("-m", "openai_agents_session.cli", "--help", COLUMNS="200")
    assert result.returncode == 0
    assert "Exit codes: 0 done; 1 problems found" in result.stdout
    assert python("-m", "openai_agents_session.cli", "list").returncode == 2


def test_the_command_says_what_to_install_where_its_libraries_are_missing() -> None:
    hidden = "import sys; sys.modules['typer'] = None\nimport importlib.util as u; find = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest)\n"
    result = python("-c", f"{hidden}from openai_agents_session.cli.__main__ import main; main()")
    assert (result.returncode, result.stderr) == (2, "typer missing: pip install 'openai-agents-session-layer[cli]'\n")


def test_the_library_imports_nothing_of_the_command() -> None:
    code = (
        "import pkgutil, importlib, sys, openai_agents_session as package\n"
        "names = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name != 'cli']\n"
        "for name in names: importlib.import_module(f'openai_agents_session.{name}')\n"
        "assert len(names) > 15, names\n"
        "print({'typer', 'rich', 'openai_agents_session.cli'} & set(sys.modules))"
    )
    result = python("-c", code)
    assert result.stdout == "set()\n", result.stderr


def test_controls_in_a_history_cannot_reach_the_terminal() -> None:
    assert (
        reports.printable("a\x1b[31mb\x07\u202ec\r\n\td👩\u200d🔬") == "a\ufffd[31mb\ufffd\ufffdc\ufffd\n\td👩\u200d🔬"
    )
