"""The operator's command: sessions to files and from files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import StorageOptions
from tests.support.operator import Cli, World, json_of, message

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
