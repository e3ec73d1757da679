"""The operator's command: what it finds wrong, puts right and deletes."""

from __future__ import annotations

import asyncio
import json
import os
import time
import zlib
from dataclasses import dataclass
from typing import Any

import pytest

from openai_agents_session import StorageOptions
from openai_agents_session.cli import store, survey
from openai_agents_session.runs import PendingCall, PendingRuns
from openai_agents_session.storage.table import Table
from tests.support.operating import LARGE_STATE, Cli, World, json_of, message

pytestmark = pytest.mark.one_engine

# --- verify and repair -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """What was planted, as (session, key, kind), and the histories that must survive."""

    problems: set[tuple[str, str, str]]
    leftovers: set[str]
    intact: dict[str, list[Any]]

    @property
    def not_ours(self) -> set[str]:
        """Keys of what this library did not write."""
        return {"whole#~99", *(key for session_id, key, _ in self.problems if session_id == "foreign")}

    @property
    def beyond_repair(self) -> set[str]:
        """Keys of what only a person can put right."""
        heads = {key for session_id, key, kind in self.problems if (kind, key) == ("damaged head", session_id)}
        return heads | self.not_ours


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
    problems.add(("whole", "whole#~99", "not ours"))
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
    """Repair gives up what cannot be read, deletes what nobody uses, and leaves to a person what it cannot know."""
    before = await world.items()
    tried = await cli("repair", "--dry-run")
    assert tried.exit_code == 1
    assert "flipped: keep " in tried.stdout
    assert "beheaded: nothing, as its head cannot be read: salvage" in tried.stdout
    assert "whole: leave alone what this library did not write" in tried.stdout
    assert f"gone: delete {len(planted.leftovers)} items" in tried.stdout
    declined = await cli("repair", input="n\n")
    assert declined.exit_code == 1
    assert await world.items() == before

    done = await cli("repair", "--yes")
    assert done.exit_code == 1, done.stdout
    found = await json_of(cli("verify", "--json"))
    assert {problem["key"] for problem in found["problems"]} == planted.beyond_repair
    assert found["leftovers"] == []
    after = await world.items()
    assert {key: after[key] for key in planted.beyond_repair} == {key: before[key] for key in planted.beyond_repair}
    assert not {key for _, key, kind in planted.problems if kind == "orphan"} & after.keys()
    assert not planted.leftovers & after.keys()
    for session_id, items in planted.intact.items():
        assert await world.session(session_id).get_items() == items
    for name in ("missing", "flipped", "foreign"):
        kept = [item["content"].split(":")[0] for item in await world.session(name).get_items()]
        assert 0 < len(kept) < 12
        assert kept == [entry for entry in (f"{name} {n}" for n in range(12)) if entry in kept]


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
    assert (await world.items())["ada"] == newer


async def test_repair_of_a_table_that_looks_damaged_all_over_is_refused(world: World, cli: Cli) -> None:
    for number in range(6):
        await world.put({"session_id": {"S": f"s{number}"}, "conversation_data": {"S": "not ours"}})
    before = await world.items()
    result = await cli("repair", "--yes")
    assert result.exit_code == 1
    assert "most sessions look damaged" in result.stderr
    assert await world.items() == before
    assert (await cli("repair", "s1", "--yes")).exit_code == 1
    assert await world.items() == before


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
        assert result.exit_code == 0, (session_id, result.stderr, result.stdout)
    left = await world.items()
    assert {key.partition("#~")[0] for key in left} == (planted.intact.keys() - {"reborn"}) | {"foreign"}
    assert {key for key, item in left.items() if "hello" in item} == planted.not_ours
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
