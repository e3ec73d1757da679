"""The operator's command: sessions to files and from files."""

from __future__ import annotations

import asyncio
import bz2
import codecs
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import StorageOptions
from tests.support.operating import Cli, World, create_table, environment, json_of, message
from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

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
    await create_table(world.client, elsewhere)
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
    assert "as it exists" in result.stdout
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
    result = await cli("import", "-", input="".join(text.splitlines(keepends=True)[:-2]))
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
        '{"exported": {"sessions": 1, "items": 1}}\n'
    )
    assert (await cli("import", "-", input=text)).exit_code == 1
    assert await world.items() == {}
    assert (await cli("import", "-", "--ttl-seconds", 60, input=text)).exit_code == 0
    assert await world.session("ada").get_items() == [{"role": "user"}]


# --- what files are like ---------------------------------------------------------------------------------------------

ENCODED: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 with a byte order mark": lambda text: text.encode("utf-16"),
    "UTF-16 big-endian": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "UTF-16 with CRLF, as PowerShell writes": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
    "two gzips behind each other": lambda text: gzip.compress(text[:99].encode()) + gzip.compress(text[99:].encode()),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
}


@pytest.mark.parametrize("encoding", ENCODED)
async def test_a_file_is_read_in_every_encoding_that_people_have(
    world: World, cli: Cli, tmp_path: Path, encoding: str
) -> None:
    """The same sessions come out of it, from a file and from a pipe."""
    await world.session("ada").add_items(ODD[:2])
    text = (await cli("export", "ada")).stdout
    await world.session("ada").clear_session()
    file = tmp_path / "sessions"
    file.write_bytes(ENCODED[encoding](text))
    for number, source in enumerate((file, "-")):
        given = {"input": file.read_bytes()} if source == "-" else {}
        result = await cli("import", source, "--as", f"copy-{number}", **given)
        assert result.exit_code == 0, result.stderr
        assert await world.session(f"copy-{number}").get_items() == ODD[:2]


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "latin-1": lambda data: data.replace("ü".encode(), b"\xfc"),
    "a cut-off gzip": lambda data: gzip.compress(data)[:-20],
    "a changed gzip": lambda data: gzip.compress(data)[:60] + b"\0\0\0" + gzip.compress(data)[63:],
    "a cut-off xz": lambda data: lzma.compress(data)[:-20],
    "an image": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "zeros": lambda data: bytes(1000),
    "nested too deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize("kind", SPOILED)
async def test_a_file_that_is_spoiled_is_one_line(world: World, cli: Cli, tmp_path: Path, kind: str) -> None:
    """Whatever a file is, the command says in one line what is wrong with it, and stores nothing of half a session."""
    await world.session("ada").add_items([message("Zürich")])
    text = (await cli("export", "ada")).stdout
    await world.session("ada").clear_session()
    file = tmp_path / "sessions"
    file.write_bytes(SPOILED[kind](text.encode()))
    result = await cli("import", file)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert {key for key in await world.items() if key != "ada"} == set()


async def test_a_file_that_does_not_exist_is_one_line(cli: Cli, tmp_path: Path) -> None:
    """So is a directory, and a file that cannot be written."""
    for arguments in (
        ["import", tmp_path / "nothing"],
        ["import", tmp_path],
        ["export", "--all", "-o", tmp_path / "no" / "file"],
        ["export", "--all", "-o", tmp_path],
    ):
        result = await cli(*arguments)
        assert result.exit_code == 3
        assert str(tmp_path) in result.stderr


# --- whole or incomplete ---------------------------------------------------------------------------------------------


async def test_an_export_ends_with_its_sum_and_without_it_is_incomplete(world: World, cli: Cli, tmp_path: Path) -> None:
    """Wherever a file was cut off, import says "incomplete"; what was whole is stored."""
    for name in ("ada", "bob", "eve"):
        await world.fill(name, count=2)
    file = tmp_path / "all.jsonl"
    assert (await cli("export", "--all", "-o", file)).exit_code == 0
    lines = file.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1]) == {"exported": {"sessions": 3, "items": 6}}
    assert not file.with_name("all.jsonl.part").exists()
    for end in range(1, len(lines)):
        for name in ("ada", "bob", "eve"):
            await world.session(name).clear_session()
        result = await cli("import", "-", input="".join(lines[:end]))
        assert result.exit_code == 1, end
        assert "incomplete" in result.stderr
        assert len(await world.items()) == end // 3
    lost = [*lines[:3], *lines[6:]]  # a session in the middle
    assert "tells of 3 sessions" in (await cli("import", "-", "--skip-existing", input="".join(lost))).stderr


async def test_files_may_be_put_one_behind_the_other(world: World, cli: Cli) -> None:
    """Several exports make one file, each with its own sum."""
    ada, bob = await world.fill("ada"), await world.fill("bob")
    text = (await cli("export", "ada")).stdout + (await cli("export", "bob")).stdout
    for name in ("ada", "bob"):
        await world.session(name).clear_session()
    assert (await cli("import", "-", input=text)).exit_code == 0
    assert await world.session("ada").get_items() == ada
    assert await world.session("bob").get_items() == bob


async def test_an_export_goes_on_after_where_it_stopped(world: World, cli: Cli, tmp_path: Path) -> None:
    """The pages of ``--after`` together are the whole table, each session once."""
    for number in range(7):
        await world.session(f"s {number}").add_items([message("hello")])
    whole = [json.loads(line) for line in (await cli("export", "--all")).stdout.splitlines()]
    names = [line["session_id"] for line in whole if "session" in line]
    rest = [json.loads(line) for line in (await cli("export", "--all", "--after", names[2])).stdout.splitlines()]
    assert [line["session_id"] for line in rest if "session" in line] == names[3:]


async def test_export_finds_by_prefix_owner_and_time(world: World, cli: Cli) -> None:
    """The same words as for list say which sessions to export."""
    await world.fill("ada@1", count=1, owner="user:1")
    await world.fill("ada@2", count=1, owner="user:2")
    await world.fill("bob@1", count=1, owner="user:1")

    async def exported(*arguments: str) -> set[str]:
        lines = (await cli("export", *arguments)).stdout.splitlines()
        return {line["session_id"] for line in map(json.loads, lines) if "session" in line}

    assert await exported("--prefix", "ada") == {"ada@1", "ada@2"}
    assert await exported("--owner", "user:1") == {"ada@1", "bob@1"}
    assert await exported("--prefix", "ada", "--owner", "user:1") == {"ada@1"}
    assert await exported("--since", "1h") == {"ada@1", "ada@2", "bob@1"}
    assert await exported("--since", "2999-01-01") == set()


# --- importing carefully ---------------------------------------------------------------------------------------------


def lines_of(name: str, count: int = 1, **session: Any) -> str:
    """A session as export writes it, without the sum."""
    told = json.dumps({"session_id": name, "session": {"items": count, **session}})
    items = [json.dumps({"session_id": name, "item": message(str(number))}) for number in range(count)]
    return "\n".join([told, *items, ""])


def summed(*sessions: str) -> str:
    """Sessions as a whole file."""
    items = sum(text.count('"item"') for text in sessions)
    return "".join(sessions) + json.dumps({"exported": {"sessions": len(sessions), "items": items}}) + "\n"


async def test_what_cannot_be_meant_is_refused_before_anything_is_written(world: World, cli: Cli) -> None:
    """An id that none can have, one id for two sessions, and options that exclude each other."""
    two = summed(lines_of("a"), lines_of("b"))
    for arguments in (
        ["--as", ""],
        ["--as", "a#~1"],
        ["--as", "one"],
        ["--append", "--skip-existing"],
        ["--owner", "x" * 513],
    ):
        assert (await cli("import", "-", *arguments, input=two)).exit_code == 2
        assert await world.items() == {}


@pytest.mark.parametrize("count", [1, 60])
async def test_of_two_imports_at_once_one_stores_each_session(
    world: World, cli: Cli, engine: Engine, count: int
) -> None:
    """Sessions are created conditionally, small and large: nobody's history is doubled."""
    text = summed(*(lines_of(f"s{number}", count) for number in range(12)))
    text = text.replace('"content": "', f'"content": "{"x" * 150}')
    variables = os.environ | environment(engine.endpoint_url, world.table)

    async def run() -> Any:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openai_agents_session.cli", "import", "-", "--json"),
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return json.loads((await process.communicate(text.encode()))[0])

    outcomes = [entry["outcome"] for one in await asyncio.gather(run(), run()) for entry in one]
    assert outcomes.count("imported") == 12, outcomes
    for number in range(12):
        assert len(await world.session(f"s{number}").get_items()) == count
    assert (await cli("verify")).exit_code == 0


async def test_an_import_goes_on_where_it_was_interrupted_and_sums_up(world: World, cli: Cli) -> None:
    """--skip-existing passes over what is stored; many sessions are summed up, and those refused are named."""
    half = summed(*(lines_of(f"s{number:02}") for number in range(15)))
    whole = summed(*(lines_of(f"s{number:02}") for number in range(30)), lines_of("old", ttl=1000))
    assert (await cli("import", "-", input=half)).exit_code == 0
    result = await cli("import", "-", "--skip-existing", input=whole)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert set(lines[:2]) == {
        "15 sessions with 15 items imported",
        "15 sessions with 15 items skipped, as it exists",
    }
    assert len(lines) == 4
    assert lines[3].startswith("old: 1 item not imported, it has expired")
    assert (await cli("import", "-", "--skip-existing", input=half)).exit_code == 0
    assert len((await cli("import", "-", input=half)).stdout.splitlines()) == 15


async def test_an_import_restores_when_a_conversation_began(world: World, cli: Cli) -> None:
    """Owner, expiry and beginning come along, for small sessions and for large ones."""
    later = int(time.time()) + 5000
    told: dict[str, Any] = {"created": 1_700_000_000, "owner": "user:1", "ttl": later}
    large = lines_of("large", 60, **told).replace('"content": "', f'"content": "{"x" * 150}')
    assert (await cli("import", "-", input=summed(lines_of("small", **told), large))).exit_code == 0
    for name, count in (("small", 1), ("large", 60)):
        info = await world.session(name, owner="user:1").describe()
        assert (info.created, info.owner, info.items) == (1_700_000_000, "user:1", count)
        assert info.ttl is not None
        assert abs(info.ttl - later) <= 5
    assert (
        await cli("import", "-", "--as", "other", "--owner", "user:2", input=summed(lines_of("x", **told)))
    ).exit_code == 0
    assert (await world.session("other").describe()).owner == "user:2"


async def test_an_import_begins_again_where_a_session_is_empty_or_has_expired(world: World, cli: Cli) -> None:
    """Such a session is absent to everybody, hence also to an import."""
    past = StorageOptions(clock=lambda: time.time() - 60, cache=None)
    await world.fill("ada", ttl_seconds=1, options=past)
    await world.session("bob").add_items([message("x")])
    await world.session("bob").pop_item()
    result = await cli("import", "-", "--json", input=summed(lines_of("ada", 2), lines_of("bob", 2)))
    assert [entry["outcome"] for entry in json.loads(result.stdout)] == ["imported", "imported"]
    assert len(await world.session("ada").get_items()) == len(await world.session("bob").get_items()) == 2
