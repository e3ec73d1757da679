"""What release 1.0.0 stored is read, extended, popped, cleared and recovered, and written on in the same form.

The fixtures were written by that release: tests/fixtures/release-1.0.0/README.md.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, LeaseUnavailableError, StorageOptions, WrongOwnerError
from openai_agents_session.runs import PendingRuns
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.receipts import KEEP
from tests.support.script import stored_items

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

FOLDER = Path(__file__).parents[1] / "fixtures" / "release-1.0.0"
FIXTURES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
MORE = {"role": "user", "content": "and one more"}
LISTED = {"title": "S", "active": "N", "profile": "B"}
WITH_PARTS = ["merged", "merged_ttl", "multi_part", "uncompressed"]


@dataclass
class Stored:
    """A fixture in a table, and session objects of the present code on it."""

    fixture: dict[str, Any]
    client: DynamoDBClient
    table: str
    now: int

    @property
    def history(self) -> list[Any]:
        return list(self.fixture["history"])

    def session(self, **others: Any) -> DynamoDBSession:
        options = self.fixture["options"] if not others.pop("defaults", False) else {}
        settings = {"owner": self.fixture["owner"], "ttl_seconds": self.fixture["ttl_seconds"], **others}
        layout = StorageOptions(**options, cache=None, clock=lambda: self.now)
        return DynamoDBSession("ada", self.client, self.table, options=layout, **settings)

    async def items(self) -> dict[str, dict[str, Any]]:
        return {item["session_id"]["S"]: item for item in await stored_items(self.client, self.table)}

    async def holds(self, history: list[Any]) -> bool:
        """Whether a new object, of this layout or the default one, reads exactly that."""
        return [await self.session(defaults=defaults).get_items() for defaults in (False, True)] == [history, history]


@pytest.fixture(params=FIXTURES)
async def stored(request: pytest.FixtureRequest, client: DynamoDBClient, table: str) -> Stored:
    fixture = FIXTURES[request.param]
    for item in wire(fixture["before"]):
        await client.put_item(TableName=table, Item=item)
    # A lease that runs keeps all others from writing, which has a test of its own.
    return Stored(fixture, client, table, fixture["after_now"])


def wire(items: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            name: {kind: base64.b64decode(value) if kind == "B" else value}
            for name, attribute in item.items()
            for kind, value in attribute.items()
        }
        for item in items
    ]


async def test_it_is_read(stored: Stored) -> None:
    """Every read gives exactly the history, a limit its end, and neither writes anything."""
    before = await stored.items()
    assert await stored.holds(stored.history)
    assert await stored.session().get_items(2) == stored.history[-2:]
    assert (await stored.session().describe()).items == len(stored.history)
    assert await stored.items() == before


@pytest.mark.parametrize("defaults", [False, True])
async def test_it_is_extended(stored: Stored, defaults: bool) -> None:
    """Many more turns, in the layout it was written with or the default one, leave the whole history in order."""
    history = stored.history
    for number in range(12):
        message = {"role": "user", "content": f"{number} " + "more " * 50}
        await stored.session(defaults=defaults).add_items([message])
        history.append(message)
        assert await stored.session(defaults=defaults).get_items() == history
    assert await stored.holds(history)


async def test_it_is_popped(stored: Stored) -> None:
    """Every pop gives the newest item, until there is none."""
    session, history = stored.session(), stored.history
    while history:
        assert await session.pop_item() == history.pop()
        assert await stored.session().get_items() == history
    assert await session.pop_item() is None


async def test_it_is_cleared(stored: Stored) -> None:
    """A clear leaves nothing of the session in the table; a run that waits is discarded by itself."""
    await PendingRuns(stored.session()).discard()
    await stored.session().clear_session()
    assert await stored.items() == {}


async def test_there_is_nothing_to_recover(stored: Stored) -> None:
    """A session that is whole is left as it is."""
    before = await stored.items()
    report = await stored.session().recover()
    assert (report.changed, report.kept_items, report.lost_items) == (False, len(stored.history), 0)
    assert await stored.items() == before


@pytest.mark.parametrize("stored", WITH_PARTS, indirect=True)
async def test_what_is_left_of_a_damaged_one_is_recovered(stored: Stored) -> None:
    """Without the first segment's part, recovery keeps exactly the items of the others, and the session goes on."""
    head = from_attributes("ada", (await stored.items())["ada"], stored.now)
    lost = head.manifest.segments[0]
    await stored.client.delete_item(TableName=stored.table, Key={"session_id": {"S": f"ada#~{lost.slots[0]}"}})
    report = await stored.session().recover()
    rest = stored.history[lost.count :]
    assert (report.changed, report.kept_items, report.lost_items) == (True, len(rest), lost.count)
    assert await stored.holds(rest)
    await stored.session().add_items([MORE])
    assert await stored.holds([*rest, MORE])


async def test_it_is_written_on_in_the_same_form(stored: Stored) -> None:
    """After one more append the table holds items under the same keys, with the same attributes, as 1.0.0 left it.

    A session that has an owner has besides what its place in the list is made of, which 1.0.0 leaves alone as it reads.
    """
    await stored.session().add_items([MORE])
    items, then = await stored.items(), {item["session_id"]["S"]: item for item in wire(stored.fixture["after"])}
    listed = {name: kind for name, kind in forms(items)["ada"].items() if name in LISTED}
    assert bool(listed) == (stored.fixture["owner"] is not None)
    assert listed.items() <= LISTED.items()
    assert forms(items) == {**forms(then), "ada": forms(then)["ada"] | listed}
    for name in ("ttl", "updated_at", "conversation_data", "tail", "owner", "lease"):
        assert items["ada"].get(name) == then["ada"].get(name), name
    now = from_attributes("ada", items["ada"], stored.now).manifest
    before = from_attributes("ada", then["ada"], stored.now).manifest
    assert [(s.slots, s.generation, s.count, s.level) for s in now.segments] == [
        (s.slots, s.generation, s.count, s.level) for s in before.segments
    ]
    assert (now.free, now.generation, now.slot_count) == (before.free, before.generation, before.slot_count)


def forms(items: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By key, the attributes and their types."""
    return {key: {name: next(iter(value)) for name, value in item.items()} for key, item in items.items()}


@pytest.mark.parametrize("stored", ["owned"], indirect=True)
async def test_its_owner_is_still_its_owner(stored: Stored) -> None:
    """A session that 1.0.0 bound to an owner exists for nobody else."""
    with pytest.raises(WrongOwnerError):
        await stored.session(owner="eve@example.com").get_items()


@pytest.mark.parametrize("stored", ["leased"], indirect=True)
async def test_its_lease_still_holds(stored: Stored) -> None:
    """While a turn of 1.0.0 runs nobody else writes; when its lease has run out, anybody does."""
    stored.now = stored.fixture["now"]
    with pytest.raises(LeaseUnavailableError):
        await stored.session().add_items([MORE])
    stored.now = stored.fixture["leased_until"]
    await stored.session().add_items([MORE])
    assert await stored.holds([*stored.history, MORE])


@pytest.mark.parametrize("stored", ["parked"], indirect=True)
async def test_its_parked_run_is_claimed_and_settled(stored: Stored) -> None:
    """A run that 1.0.0 parked is found, claimed once, and settled."""
    runs = PendingRuns(stored.session())
    run = await runs.claim(stored.fixture["run_id"], {"call_1": True})
    assert run.state == '{"state":"parked"}'
    await runs.settle(run.run_id)
    assert await runs.get() is None


@pytest.mark.parametrize("stored", ["contended"], indirect=True)
async def test_its_receipts_are_kept(stored: Stored) -> None:
    """The receipts of many writers at once are read, and the oldest are dropped once the contention is over."""
    await stored.session().add_items([MORE])
    item = (await stored.items())["ada"]
    receipts = from_attributes("ada", item, stored.now).receipts
    before = from_attributes("ada", wire(stored.fixture["before"])[0], stored.now).receipts
    assert len(before.entries) > KEEP == len(receipts.entries)
    assert receipts.dropped > before.dropped
    assert [commit for commit, _ in receipts.entries[1:]] == [commit for commit, _ in before.entries[: KEEP - 1]]
