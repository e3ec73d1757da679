"""Salvage: what can still be read of a damaged session, what of it is certain, and the way back into the table."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import DynamoDBSession
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.items import from_values
from openai_agents_session.storage.keys import slot_key
from openai_agents_session.storage.manifest import Manifest, Segment
from openai_agents_session.storage.part import part_attributes, part_from_attributes
from openai_agents_session.storage.record import RecordWriter
from openai_agents_session.storage.retry import RetryBudget
from openai_agents_session.storage.salvage import Salvage, salvage
from openai_agents_session.storage.table import Table
from tests.support.operating import SMALL, Cli, World

pytestmark = pytest.mark.one_engine

Change = Callable[[dict[str, Any]], Any]


async def left_of(world: World, session_id: str, **limits: int) -> Salvage:
    """What salvage finds of a session."""
    item = (await world.items()).get(session_id)
    return await salvage(Table(world.client, world.table), session_id, item, RetryBudget(5), **limits)


def texts(left: Salvage, *, certain: bool) -> list[Any]:
    """The items that are certain, or those that are not."""
    return [item for piece in left.pieces if piece.is_certain == certain for item in piece.items]


async def change(world: World, session_id: str, change: Change) -> None:
    """Damage a head."""
    head = dict((await world.items())[session_id])
    change(head)
    await world.put(head)


def lose(name: str) -> Change:
    return lambda item: item.pop(name)


def put(name: str, value: Any) -> Change:
    return lambda item: item.update({name: value})


def flip(name: str, position: int) -> Change:
    def change(item: dict[str, Any]) -> None:
        content = bytearray(item[name]["B"])
        content[position] ^= 4
        item[name] = {"B": bytes(content)}

    return change


# How much of a session of which attribute is damaged is certain: all, what parts the manifest names, or nothing.
DAMAGE: dict[str, tuple[Change, str]] = {
    "ttl of a wrong type": (put("ttl", {"S": "soon"}), "all"),
    "updated_at of a wrong type": (put("updated_at", {"B": b"1"}), "all"),
    "no commit": (lose("commit"), "parts"),
    "other commit": (flip("commit", 2), "parts"),
    "no tail": (lose("tail"), "parts, no tail"),
    "changed tail": (flip("tail", -2), "parts, no tail"),
    "tail of an unknown codec": (flip("tail", 0), "parts, no tail"),
    "no owner": (lose("owner"), "parts"),
    "another owner": (put("owner", {"S": "eve"}), "parts"),
    "another history": (put("conversation_data", {"S": "[]"}), "parts"),
    "no state": (lose("state"), "nothing"),
    "changed state": (flip("state", 6), "nothing"),
    "no list of parts": (lose("parts"), "nothing"),
    "changed list of parts": (flip("parts", 4), "nothing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_what_is_certain_is_what_the_head_vouches_for(world: World, kind: str) -> None:
    """Where the head's checksum holds it is all; else what a readable manifest names in the head's epoch; else nothing.

    Whatever is damaged, everything that can be read is there, once and in order, and the table is as it was.
    """
    damage, certain = DAMAGE[kind]
    history = await world.fill("ada", count=40, owner="user:1")
    head = from_attributes("ada", (await world.items())["ada"], 0)
    sealed = history[: head.manifest.count]
    assert 0 < len(sealed) < len(history)
    await change(world, "ada", damage)
    before = await world.items()
    left = await left_of(world, "ada")
    found = texts(left, certain=True) + texts(left, certain=False)
    assert found == (sealed if certain == "parts, no tail" else history)
    assert texts(left, certain=True) == {"all": history, "nothing": []}.get(certain, sealed)
    assert left.owner_is_certain == (certain == "all")
    assert await world.items() == before


async def test_what_was_popped_does_not_come_back(world: World) -> None:
    """A readable manifest says how many items of a segment count."""
    history = await world.fill("ada", count=40)
    for _ in range(26):
        assert await world.session("ada").pop_item() == history.pop()
    await change(world, "ada", lose("commit"))
    left = await left_of(world, "ada")
    assert texts(left, certain=True) + texts(left, certain=False) == history


async def test_slots_far_apart_are_found_when_a_manifest_names_them(world: World) -> None:
    """Exactly the named slots are asked for: hundreds of empty ones before them hide nothing."""
    history = await world.fill("ada", count=40)
    item = (await world.items())["ada"]
    head = from_attributes("ada", item, 0)
    moved = []
    for number, segment in enumerate(head.manifest.segments):
        slots = tuple(1_000 * (number + 1) + slot for slot in segment.slots)
        for old, new in zip(segment.slots, slots, strict=True):
            part = part_from_attributes((await world.items())[slot_key("ada", old)])
            await world.delete(part.key)
            await world.put(part_attributes(replace(part, key=slot_key("ada", new))))
        moved.append(replace(segment, slots=slots))
    manifest = replace(head.manifest, segments=tuple(moved), free=(), slot_count=10_000)
    await change(world, "ada", put("parts", {"B": manifest.pack()}))
    left = await left_of(world, "ada")
    assert texts(left, certain=True) == history[: manifest.count]
    assert left.lost == ()


async def test_a_damaged_part_is_lost_and_named(world: World) -> None:
    """What cannot be read is told, with how many items that costs; the rest is there."""
    history = await world.fill("ada", count=40)
    key = (await world.live_parts("ada"))[0]
    part = (await world.items())[key]
    data = part["data"]["B"]
    await world.put({**part, "data": {"B": data[:20] + bytes([data[20] ^ 1]) + data[21:]}})
    await change(world, "ada", lose("commit"))
    left = await left_of(world, "ada")
    found = texts(left, certain=True) + texts(left, certain=False)
    assert [(lost.source, lost.reason) for lost in left.lost] == [(key, "checksum mismatch")]
    assert left.lost[0].items == len(history) - len(found)
    assert found == history[len(history) - len(found) :]


async def test_parts_of_another_life_are_never_certain_and_never_mixed_in(world: World) -> None:
    """What lies there of an earlier life of the session may be somebody else's conversation."""
    await world.orphan("ada", count=60, owner="user:old")
    history = await world.fill("ada", count=14, owner="user:new")
    for damage in (lose("parts"), lose("state")):
        before = await world.items()
        await change(world, "ada", damage)
        left = await left_of(world, "ada")
        assert texts(left, certain=False) == history
        assert left.certain == 0
        await world.put(before["ada"])
    await change(world, "ada", lose("parts"))
    assert (await left_of(world, "ada")).others > 0


async def test_an_expired_conversation_before_this_one_is_left_out(world: World) -> None:
    """An expired session goes on in the same epoch and slots: what it held before is not this history."""
    past = replace(SMALL, clock=lambda: time.time() - 9_000)
    await world.fill("ada", count=40, ttl_seconds=1, options=past, owner="user:old")
    history = await world.fill("ada", count=14, owner="user:new")
    await change(world, "ada", lose("parts"))
    left = await left_of(world, "ada")
    assert texts(left, certain=False) == history
    assert left.others > 0


async def test_a_session_whose_head_is_gone_is_probable(world: World) -> None:
    """With nothing but parts, everything is probable."""
    await world.orphan("ada", count=40)
    left = await left_of(world, "ada")
    assert left.probable > 20
    assert left.certain == 0


# --- crafted data ----------------------------------------------------------------------------------------------------


def sealed(*numbers: int, raw: bytes = b"") -> bytes:
    """A record whose checksum holds, whatever it says."""
    record = RecordWriter()
    for number in numbers:
        record.number(number)
    record.raw(raw)
    return record.seal()


HUGE = 1 << 20_000
CRAFTED: dict[str, dict[str, Any]] = {
    "nothing known": {"conversation_data": {"S": "sealed"}},
    "a manifest of huge numbers": {"parts": {"B": sealed(1, HUGE, HUGE, HUGE, 1, HUGE, HUGE, HUGE, HUGE, 1, HUGE)}},
    "a manifest of a million segments": {"parts": {"B": sealed(1, 1, 1, 0, 1_000_000)}},
    "a segment of no slots": {"parts": {"B": sealed(1, 5, 5, 0, 1, 0, 1, 3, 1, 0, raw=b"xx") + b""}},
    "a million slots": {
        "parts": {"B": Manifest((Segment(tuple(range(90_000)), 1, 3, 0, 1),), (), 90_000, 2).pack()},
    },
    "one slot many times": {"parts": {"B": Manifest((Segment((7,) * 50, 1, 3, 0, 1),), (), 9, 2).pack()}},
    "a state of huge numbers": {"state": {"B": sealed(1, raw=b"epoch!") + b""}, "tail": {"B": b"\x01"}},
    "a tail that is no list": {
        "tail": {"B": from_values([{}]).stored[:1] + zlib.crc32(b"{}").to_bytes(4, "big") + b"{}"}
    },
    "deep nesting": {"conversation_data": {"S": "[" * 100_000}},
    "kinds turned round": {"state": {"S": "x"}, "parts": {"N": "1"}, "tail": {"S": "y"}, "owner": {"B": b"z"}},
    "an attribute of many kinds": {"conversation_data": {"M": {"a": {"S": "b"}}}, "ttl": {"NULL": True}},
    "times from nowhere": {"ttl": {"N": "1e99"}, "updated_at": {"N": "-7"}, "conversation_data": {"S": "[1,"}},
}


@pytest.mark.parametrize("kind", CRAFTED)
async def test_crafted_heads_never_raise(world: World, cli: Cli, kind: str) -> None:
    """Whatever is stored, the answer is what can be read; nothing is raised, and the command says it in lines."""
    ours: dict[str, Any] = {"session_id": {"S": "ada"}, "conversation_data": {"S": "x"}, "commit": {"B": b"x"}}
    await world.put(ours | CRAFTED[kind])
    left = await left_of(world, "ada")
    assert left.certain == 0
    for arguments in (["salvage", "ada"], ["verify", "ada"], ["show", "ada"], ["export", "ada"]):
        result = await cli(*arguments)
        assert result.exit_code == 1, arguments
        assert "Traceback" not in result.stderr


CRAFTED_PARTS: dict[str, Change] = {
    "huge counts": lambda part: part.update(count={"N": str(10**30)}, first={"N": str(-(10**30))}),
    "chunks without end": lambda part: part.update(chunk={"S": f"0/{10**12}/00000000"}),
    "no number": lambda part: part.update(generation={"N": "1.5"}),
    "not JSON": lambda part: repack(part, b"[1, 2"),
    "no list": lambda part: repack(part, b'{"a": 1}'),
    "deep nesting": lambda part: repack(part, b"[" * 100_000),
}


def repack(part: dict[str, Any], text: bytes) -> None:
    """Put another text into a part, with checksums that hold."""
    data = bytes([0]) + zlib.crc32(text).to_bytes(4, "big") + text
    index, chunks, _ = part["chunk"]["S"].split("/")
    part.update(data={"B": data}, chunk={"S": f"{index}/{chunks}/{zlib.crc32(data):08x}"})


@pytest.mark.parametrize("kind", CRAFTED_PARTS)
@pytest.mark.parametrize("lost", ["commit", "parts"])
async def test_crafted_parts_never_raise(world: World, kind: str, lost: str) -> None:
    """A part that is not what it says is lost, with or without a manifest; those beside it are there."""
    history = await world.fill("ada", count=40)
    key = (await world.live_parts("ada"))[0]
    part = dict((await world.items())[key])
    CRAFTED_PARTS[kind](part)
    await world.put(part)
    await change(world, "ada", lose(lost))
    left = await left_of(world, "ada")
    found = texts(left, certain=True) + texts(left, certain=False)
    assert 0 < len(found) < len(history)
    assert found == [item for item in history if item in found]


async def test_what_inflates_without_end_is_bounded(world: World) -> None:
    """A few kilobytes that inflate to many megabytes are not unpacked."""
    await world.fill("ada", count=40)
    key = (await world.live_parts("ada"))[-1]
    part = dict((await world.items())[key])
    count = int(part["count"]["N"])
    bomb = from_values([{"role": "user", "content": " " * 3_000_000}] * count).deflated
    index, chunks, _ = part["chunk"]["S"].split("/")
    part.update(data={"B": bomb}, chunk={"S": f"{index}/{chunks}/{zlib.crc32(bomb):08x}"})
    await world.put(part)
    await change(world, "ada", lose("commit"))
    left = await left_of(world, "ada", most_bytes=1_000_000)
    assert [lost.source for lost in left.lost] == [key]
    assert left.certain + left.probable > 10


# --- the way back ----------------------------------------------------------------------------------------------------


async def test_salvage_delete_import_is_the_way_back(world: World, cli: Cli, tmp_path: Path) -> None:
    """The file marks each item; import takes what is certain, and with --probable all of it."""
    history = await world.fill("ada", count=40, owner="user:1")
    certain = history[: from_attributes("ada", (await world.items())["ada"], 0).manifest.count]
    await change(world, "ada", lose("owner"))
    file = tmp_path / "ada.jsonl"
    shown = await cli("show", "ada")
    assert (shown.exit_code, "salvage" in shown.stderr) == (1, True)
    result = await cli("salvage", "ada", "-o", file)
    assert result.exit_code == 0
    assert f"{len(certain)} certain and {len(history) - len(certain)} probable items" in result.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["item"] for line in lines[1:-1] if line["certain"]] == certain
    assert all(line["key"].startswith("ada") for line in lines[1:-1])
    assert (await cli("delete", "ada", "-y")).exit_code == 0
    assert await world.items() == {}
    refused = await cli("import", file)
    assert (refused.exit_code, "not certain whose it is" in refused.stdout) == (1, True)
    taken = await cli("import", file, "--owner", "user:1")
    assert taken.exit_code == 0
    assert f"without {len(history) - len(certain)} items that are not certain" in taken.stdout
    assert await world.session("ada", owner="user:1").get_items() == certain
    assert (await cli("import", file, "--owner", "user:1", "--probable", "--replace")).exit_code == 0
    assert await world.session("ada", owner="user:1").get_items() == history


async def test_salvage_of_what_is_whole_absent_or_newer(world: World, cli: Cli) -> None:
    """A whole session is certain to the last item; nothing is made of what is not there, or of a newer format."""
    history = await world.fill("ada", count=20)
    result = await cli("salvage", "ada")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["item"] for line in lines[1:-1]] == history
    assert all(line["certain"] for line in lines[1:-1])
    missing = await cli("salvage", "nobody")
    assert (missing.exit_code, "there is no session 'nobody'" in missing.stderr) == (1, True)
    head = (await world.items())["ada"]
    body = b"\x7f" + head["state"]["B"][1:-4]
    await world.put({**head, "state": {"B": body + zlib.crc32(body).to_bytes(4, "big")}})
    newer = await cli("salvage", "ada")
    assert (newer.exit_code, "use the version that wrote it" in newer.stderr) == (1, True)


async def test_the_reference_librarys_damage_is_told(world: World, cli: Cli) -> None:
    """An item of the reference library that is not JSON holds nothing that can be read."""
    await world.put({"session_id": {"S": "ada"}, "conversation_data": {"S": "[1, 2"}})
    result = await cli("salvage", "ada")
    assert (result.exit_code, "it is not JSON" in result.stderr) == (1, True)
    session = DynamoDBSession("ok", world.client, world.table)
    await world.put({"session_id": {"S": "ok"}, "conversation_data": {"S": '[{"role": "user"}]'}})
    assert (await left_of(world, "ok")).pieces[0].items == await session.get_items()
