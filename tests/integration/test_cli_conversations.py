"""The operator's command on conversations: listed by owner, renamed, forked, redacted, and what they have used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import create_table_if_not_exists
from openai_agents_session.conversations import Conversation, Usage
from openai_agents_session.service.identity import stored_id
from tests.support.operating import Cli, World, command, environment, json_of, message
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

pytestmark = pytest.mark.one_engine

ODD_TITLE = "Zürich — naïve 中文 🙂 “quoted”"


@pytest.fixture
async def indexed(client: DynamoDBClient) -> World:
    """A table with the index."""
    name = f"sessions-{uuid.uuid4().hex}"
    await create_table_if_not_exists(client, name, with_index=True)
    return World(client, name)


@pytest.fixture
def of_index(engine: Engine, indexed: World) -> Cli:
    """The command on that table."""
    return command(engine.endpoint_url, indexed.table)


async def lines_of(result: Any) -> list[Any]:
    return [json.loads(line) for line in (await result).stdout.splitlines()]


async def test_the_list_of_an_owner_comes_from_the_index(indexed: World, of_index: Cli) -> None:
    """With the index a list by owner reads the owner's sessions alone, in their order, with titles and filters."""
    for number in range(30):
        await indexed.session(f"other-{number}", owner="bob").add_items([message("x")])
    for number in range(5):
        await indexed.session(f"s-{number}", owner="ada").add_items([message(f"Question {number}")])
    result = await of_index("list", "--owner", "ada")
    assert result.stdout.splitlines()[0].split()[-2:] == ["OWNER", "TITLE"]
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        f"s-{number}" for number in range(4, -1, -1)
    ]
    assert "Question 3" in result.stdout
    assert "5 sessions, 2 requests" in result.stderr
    assert "there are more: --limit 0" in (await of_index("list", "--owner", "ada", "--limit", 2)).stderr
    for arguments in ([], ["--scan"]):
        found = await lines_of(of_index("list", "--owner", "ada", "--prefix", "s-3", "--json", *arguments))
        assert [(one["session_id"], one["title"]) for one in found] == [("s-3", "Question 3")]
    by_id = await lines_of(of_index("list", "--owner", "ada", "--sort", "id", "--json"))
    assert [one["session_id"] for one in by_id] == [f"s-{number}" for number in range(5)]


async def test_without_an_index_the_list_reads_the_table(world: World, cli: Cli) -> None:
    """A table without the index is listed by owner as ever."""
    await world.session("a", owner="ada").add_items([message("x")])
    await world.session("b", owner="bob").add_items([message("x")])
    result = await cli("list", "--owner", "ada")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["a"]


async def test_an_index_is_added_with_what_was_there(world: World, cli: Cli) -> None:
    """add-index makes the index, puts sessions into it that an older version wrote last, and may be called again."""
    await world.session("new", owner="ada").add_items([message("x")])
    await world.fill("old", owner="ada")
    old = {name: value for name, value in (await world.items())["old"].items() if name not in {"active", "profile"}}
    await world.put({name: value for name, value in old.items() if name != "title"})
    await world.session("nobody's").add_items([message("x")])
    added = await json_of(cli("add-index", "--json"))
    assert (added["created"], added["sessions_added"]) == (True, 1)
    found = await lines_of(cli("list", "--owner", "ada", "--json"))
    assert {one["session_id"] for one in found} == {"new", "old"}
    assert next(one for one in found if one["session_id"] == "old")["updated_at"] == int(old["updated_at"]["N"])
    again = await json_of(cli("add-index", "--json"))
    assert (again["created"], again["sessions_added"]) == (False, 0)


async def test_a_table_is_made_with_the_index(engine: Engine, world: World) -> None:
    """create-table --index makes it with the index, and gives it to one that has none."""
    cli = command(engine.endpoint_url, f"made-{uuid.uuid4().hex}")
    assert (await cli("create-table")).exit_code == 0
    assert (await cli("create-table", "--index")).exit_code == 0
    assert (await json_of(cli("add-index", "--json")))["created"] is False


async def test_rename(world: World, cli: Cli) -> None:
    """A session gets a title, or none; one that is not there or a title that is none is refused."""
    await world.fill("ada", owner="user:1", ttl_seconds=3_600)
    before = (await world.items())["ada"]
    assert (await json_of(cli("rename", "ad", ODD_TITLE, "--json")))["title"] == ODD_TITLE
    assert "Trip" in (await cli("rename", "ada", "Trip\nto\tRome")).stdout
    after = (await world.items())["ada"]
    assert (after["ttl"], after["updated_at"], after["title"]) == (
        before["ttl"],
        before["updated_at"],
        {"S": "Trip to Rome"},
    )
    assert "no title" in (await cli("rename", "ada", "")).stdout
    assert (await cli("rename", "nobody", "x")).exit_code == 1
    assert (await cli("rename", "ada", "x" * 101)).exit_code == 2


async def test_fork(world: World, cli: Cli) -> None:
    """A copy has the owner, title, end and first items of its source, and is refused where there is a session."""
    items = await world.fill("ada", owner="user:1", ttl_seconds=3_600)
    copy = await json_of(cli("fork", "ada", "--as", "copy", "--keep", 5, "--title", "Copy", "--json"))
    assert (copy["session_id"], copy["owner"], copy["items"], copy["title"]) == ("copy", "user:1", 5, "Copy")
    assert abs(copy["ttl"] - int((await world.items())["ada"]["ttl"]["N"])) <= 2
    assert await world.session("copy").get_items() == items[:5]
    assert (await cli("fork", "ada", "--as", "copy")).exit_code == 1
    assert (await cli("fork", "ada", "--keep", 99)).exit_code == 2
    random_id = (await json_of(cli("fork", "ada", "--json")))["session_id"]
    assert await world.session(random_id).get_items() == items


async def test_the_copy_of_a_callers_session_is_found_by_the_service(world: World, cli: Cli) -> None:
    """It keeps the mark of the caller behind its id, whether it is named or not, and has it once."""
    source = stored_id("ada", "user:1")
    await world.fill(source, owner="user:1")
    mark = source.removeprefix("ada")
    named = await json_of(cli("fork", source, "--as", "copy", "--json"))
    assert named["session_id"] == stored_id("copy", "user:1")
    again = await json_of(cli("fork", source, "--as", stored_id("other", "user:1"), "--json"))
    assert again["session_id"] == stored_id("other", "user:1")
    unnamed = await json_of(cli("fork", source, "--json"))
    assert unnamed["session_id"].endswith(mark)


async def test_redact(world: World, cli: Cli) -> None:
    """An item, by the number that show gives it, says the notice; it asks first; what is not there is refused."""
    items = await world.fill("ada")
    declined = await cli("redact", "ada", 3, input="n\n")
    assert declined.exit_code == 1
    assert await world.session("ada").get_items() == items
    done = await cli("redact", "ada", 3, "--notice", "gone", "--yes")
    assert (done.exit_code, "item 3 is redacted" in done.stdout) == (0, True)
    items[2] = {"role": "user", "content": "gone"}
    assert await world.session("ada").get_items() == items
    assert "redacted before" in (await cli("redact", "ada", 3, "--notice", "gone", "--yes")).stdout
    assert (await cli("redact", "ada", 99, "--yes")).exit_code == 2


@pytest.mark.parametrize("where", ["table", "index"])
async def test_usage_is_summed_by_owner_and_day(indexed: World, of_index: Cli, where: str) -> None:
    """The sums are of what each owner's sessions used on each day; days can be left out; nobody's are named so."""
    for name, owner, tokens in (("a", "ada", 100), ("b", "ada", 20), ("c", "bob", 5), ("d", None, 1)):
        session = indexed.session(name, owner=owner)
        await session.add_items([message("x")])
        await Conversation(session).count_usage(Usage(1, tokens, tokens // 2, 7, 3))
    scan = ["--scan"] if where == "table" else []
    found = await lines_of(of_index("usage", "--json"))
    assert [(one["owner"], one["requests"], one["input_tokens"]) for one in found] == [
        (None, 1, 1),
        ("ada", 2, 120),
        ("bob", 1, 5),
    ]
    of_ada = await lines_of(of_index("usage", "--owner", "ada", "--json", *scan))
    assert [(one["cached_tokens"], one["output_tokens"], one["total_tokens"]) for one in of_ada] == [(60, 14, 134)]
    shown = (await of_index("usage")).stdout
    assert "126" in shown.splitlines()[-1]
    assert (await lines_of(of_index("usage", "--since", "1d", "--json")))[0]["day"] == found[0]["day"]
    assert await lines_of(of_index("usage", "--since", "2099-01-01", "--json")) == []
    assert (await of_index("usage", "--since", "soon")).exit_code == 2


async def test_sessions_without_an_owner_are_found_by_an_empty_one(indexed: World, of_index: Cli) -> None:
    """`show` and `usage` say (none) where there is no owner; list, usage and export take '' for it, also where there is
    an index; delete does not, since a variable that is not set looks the same."""
    for name, owner in (("hers", "ada"), ("free", None)):
        await indexed.session(name, owner=owner).add_items([message("x")])
        await Conversation(indexed.session(name)).count_usage(Usage(1, 5, 0, 7, 3))
    assert "owner    (none)" in (await of_index("show", "free")).stdout
    assert "(none) " in (await of_index("usage")).stdout
    for arguments in (["list"], ["list", "--scan"], ["list", "--sort", "size"], ["export"]):
        found = await lines_of(of_index(*arguments, "--owner", "", *([] if "export" in arguments else ["--json"])))
        assert {one["session_id"] for one in found if "session_id" in one} == {"free"}, arguments
    assert [one["owner"] for one in await lines_of(of_index("usage", "--owner", "", "--json"))] == [None]
    refused = await of_index("delete", "--owner", "", "--yes")
    assert (refused.exit_code, "--owner is empty" in refused.stderr) == (2, True)
    assert {"hers", "free"} <= set(await indexed.items())


async def test_names_go_with_an_export(world: World, cli: Cli, tmp_path: Any) -> None:
    """Title and metadata are in an exported file, and come back with it."""
    session = world.session("ada", owner="user:1")
    await session.add_items([message("x")])
    await Conversation(session).update(title=ODD_TITLE, metadata={"project": "é"})
    file = tmp_path / "sessions.jsonl"
    assert (await cli("export", "ada", "-o", file)).exit_code == 0
    assert (await cli("import", file, "--as", "copy")).exit_code == 0
    info = await Conversation(world.session("copy")).info()
    assert (info.title, info.metadata, info.owner) == (ODD_TITLE, {"project": "é"}, "user:1")


MANGLED: dict[str, Any] = {
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "BOM and CRLF": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "UTF-16": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "joined": lambda text: "".join(f"\ufeff{line}\r\n" for line in text.splitlines()).encode(),
    "end of file": lambda text: text.encode() + b"\x1a",
    "empty lines": lambda text: text.replace("\n", "\r\n\r\n").encode(),
}


@pytest.mark.parametrize("how", list(MANGLED))
async def test_a_file_that_went_through_windows_is_read(world: World, cli: Cli, tmp_path: Any, how: str) -> None:
    """Byte order marks, line ends and end marks that programs on Windows leave change nothing of an import."""
    items = [message("U+2028: \u2028, U+0085: \x85, CR: \r, \ufeff and é")]
    await world.session("ada").add_items(items)
    file = tmp_path / "sessions.jsonl"
    await cli("export", "ada", "-o", file)
    file.write_bytes(MANGLED[how](file.read_bytes().decode().replace("\u2028", "\\u2028").replace("\x85", "\\u0085")))
    result = await cli("import", file, "--as", "copy")
    assert (result.exit_code, result.stderr) == (0, result.stderr)
    assert await world.session("copy").get_items() == items


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
async def test_any_terminal_shows_it(
    start_engine: Callable[[str], Engine], connect: Callable[..., Any], variables: dict[str, str]
) -> None:
    """Whatever characters titles, owners, ids and notices have, each command prints where the terminal lacks them."""
    engine = start_engine("dynoxide")  # it is about the terminal: one engine is enough
    client = await connect(engine.endpoint_url)
    indexed = World(client, f"terminal-{uuid.uuid4().hex}")
    await create_table_if_not_exists(client, indexed.table, with_index=True)
    owner, name = "Ωwner-🙂", "sitzung-ü-中"
    session = indexed.session(name, owner=owner)
    await session.add_items([message(f"{ODD_TITLE} \u2028 \u202e?")])
    await Conversation(session).count_usage(Usage(1, 2, 3, 4, 5))
    for code, *arguments in (
        (0, "list", "--owner", owner),
        (0, "list"),
        (0, "show", name),
        (0, "usage"),
        (0, "usage", "--owner", owner, "--json"),
        (0, "rename", name, ODD_TITLE),
        (0, "fork", name, "--as", f"{name}-{uuid.uuid4().hex}"),
        (0, "redact", name, "1", "--notice", "→ gélöscht 🙂", "--yes"),
        (1, "rename", "nöbody-🙂", "x"),
        (2, "redact", name, "99", "--yes"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "openai_agents_session.cli", *arguments],
            env=os.environ | environment(engine.endpoint_url, indexed.table) | variables,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, (arguments, done.stderr.decode(errors="replace"))
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stdout if code == 0 else done.stderr
    assert (await session.get_items()) == [message("→ gélöscht 🙂")]
    assert (await Conversation(session).info()).title == ODD_TITLE
