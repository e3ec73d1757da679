"""docs/operating.md shows what the command prints: its blocks are run in their order, on a table as it describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.conversations import Usage
from openai_agents_session.runs import PendingCall, PendingRuns
from openai_agents_session.storage.turn_log import Outcome
from openai_agents_session.turns import delivery_of, named_turn
from tests.support.operating import World, create_table, environment, message
from tests.support.short_turns import Invocation
from tools.emulation import engines

pytestmark = pytest.mark.one_engine

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
BLOCK = re.compile(r"(?P<mark><!-- needs: [^>]+ -->\n)?```console\n(?P<text>.*?)```", re.DOTALL)
TABLE = "agent-sessions"
NUMBER = re.compile(r"\d[\d,.:\-]*Z?")
OPTIONS = StorageOptions(cache=None)

TALK: list[Any] = [
    message("What is the weather in Rome and Oslo? I need to pack."),
    {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Two cities, so two calls of the weather tool."}]},
    {"type": "function_call", "call_id": "call_a1", "name": "weather", "arguments": '{"city": "Rome", "days": 3}'},
    {"type": "function_call", "call_id": "call_a2", "name": "weather", "arguments": '{"city": "Oslo"}'},
    {
        "type": "function_call_output",
        "call_id": "call_a1",
        "output": "\n".join(f"day {day}: sunny, {20 + day} °C" for day in range(14)),
    },
    {"type": "function_call_output", "call_id": "call_a2", "output": "snow, -4 °C"},
    message("Rome is sunny, Oslo has snow. Shall I book the hotel in Rome?", "assistant"),
    message("Yes, three nights."),
    {"type": "function_call", "call_id": "call_b1", "name": "book_hotel", "arguments": '{"city": "Rome", "nights": 3}'},
]


async def prepare(client: Any) -> None:
    """The table of the document."""
    world = World(client, TABLE)
    ada = DynamoDBSession(
        "ada@c0ffee00c0ffee00c0ffee00c0ffee00", client, TABLE, owner="user:ada", ttl_seconds=604_800, options=OPTIONS
    )
    async with named_turn(ada, Invocation(), delivery_of("1", "pack"), TALK[:1]) as journal:
        await journal.end(Outcome.ANSWERED, TALK[1:7], usage=Usage(2, 3_120, 2_048, 290, 64))
    async with named_turn(ada, Invocation(), delivery_of("2", "book"), TALK[7:8]) as journal:
        calls = [PendingCall("call_b1", "book_hotel", '{"city": "Rome", "nights": 3}')]
        run = await PendingRuns(ada).park("{}", calls)
        await journal.end(Outcome.WAITING, TALK[8:], waiting=run.run_id, usage=Usage(1, 2_000, 0, 20, 0))
    await world.fill("ada-2026-11-25", count=4, owner="user:ada")
    long = DynamoDBSession("long-conversation", client, TABLE, options=OPTIONS)
    for turn in range(60):
        await long.add_items([message(f"{turn} {os.urandom(200).hex()}")])
        await long.add_items([message(f"{turn} {os.urandom(600).hex()}", "assistant")])
    await world.put({"session_id": {"S": "long-conversation#~77"}, "hello": {"S": "somebody else's"}})
    await world.fill("damaged", count=40)
    await world.delete((await world.live_parts("damaged"))[-1])
    await world.fill("damaged-head", count=40, owner="user:bob")
    head = (await world.items())["damaged-head"]
    await world.put({**head, "commit": {"B": b"12345678"}})
    await world.orphan("orphaned", count=12)
    await world.orphan("left", count=12, ttl_seconds=600)
    for number in range(8):
        await world.session(f"bob-{number}", owner="user:bob").add_items([message("Hello")])


@pytest.fixture
def where() -> Iterator[dict[str, str]]:
    """The environment of an engine of its own: others may have a table of that name in the shared one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with engines.start("dynoxide") as started:
        yield os.environ | environment(started.endpoint_url, TABLE) | {"PATH": path, "COLUMNS": "118"}


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of the document with the lines that it prints, without those that need an AWS account."""
    for block in BLOCK.finditer(text):
        if block["mark"]:
            continue
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, shown


def normal(line: str) -> str:
    """A line without what differs from run to run: numbers, random ids, widths."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "0", line)
    return re.sub(r"0[ ]?(s|min|h|d)\b", "0 s", " ".join(NUMBER.sub("0", line).split()))


@pytest.mark.timeout(600)
async def test_the_document_shows_what_the_command_prints(
    where: dict[str, str], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """Every line that it shows is printed by the command above it, but for numbers."""
    client = await connect(where["AWS_ENDPOINT_URL_DYNAMODB"])
    for name in (TABLE, "another-table"):
        await create_table(client, name)
    await prepare(client)
    for command, shown in blocks(DOCUMENT.read_text()):
        done = subprocess.run(
            ["bash", "-c", command],
            env=where,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=100,
        )
        printed = done.stdout.decode()
        if "WRITE" in os.environ:
            print(f"$ {command}\n{printed}")
        lines = {normal(line) for line in printed.splitlines()}
        for line in shown:
            if line.strip() != "...":
                assert normal(line) in lines, f"{command}: {line!r} is not in\n{printed}"


@pytest.mark.timeout(300)
def test_the_document_tells_of_every_command() -> None:
    """The table of commands is complete, and names nothing that is not there."""
    told = set(re.findall(r"^\| `([a-z-]+)", DOCUMENT.read_text(), re.MULTILINE))
    helped = subprocess.run(
        [sys.executable, "-m", "openai_agents_session.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert told == set(re.findall(r"^  ([a-z][a-z-]+)  ", helped.partition("Commands:")[2], re.MULTILINE))
    options = set(re.findall(r"`(--[a-z-]+)", DOCUMENT.read_text()))
    known = "".join(
        subprocess.run(
            [sys.executable, "-m", "openai_agents_session.cli", "help", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in told
    )
    assert {option for option in options if option not in known + helped} == set()
