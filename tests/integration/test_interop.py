"""Beside the reference library (PyPI `openai-agents-session` 0.1.0) on one table, and the whole session in one item."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.storage.capacity import item_size
from tests.support.contract import AWKWARD, TINY, message, messages
from tests.support.memory import MemoryClient
from tests.support.reference import Reference, ReferenceFailure, reference
from tests.support.script import stored_items
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

SINGLE = StorageOptions(single_item=True)
SEALING = 12
"""Messages of 600 bytes, one by one, that the default layout does not keep in one item."""


class Both:
    """Our sessions and the reference's, under the same id."""

    def __init__(self, theirs: Reference, endpoint_url: str, client: DynamoDBClient, table: str) -> None:
        self._theirs, self._endpoint_url, self.client, self.table = theirs, endpoint_url, client, table

    def ours(self, ttl_seconds: int | None = None, options: StorageOptions | None = None) -> DynamoDBSession:
        return DynamoDBSession("ada", self.client, self.table, ttl_seconds=ttl_seconds, options=options)

    async def theirs(self, method: str, *arguments: Any, ttl: int | None = None) -> Any:
        return await self._theirs.call(self._endpoint_url, self.table, "ada", method, *arguments, ttl=ttl)

    async def stored(self) -> dict[str, Any]:
        return {item["session_id"]["S"]: item for item in await stored_items(self.client, self.table)}


@pytest.fixture(scope="module")
def library() -> Iterator[Reference]:
    with reference() as running:
        yield running


@pytest.fixture
def both(library: Reference, engine: Engine, client: DynamoDBClient, table: str) -> Both:
    return Both(library, engine.endpoint_url, client, table)


@pytest.mark.parametrize("ttl", [None, 3_600])
async def test_what_the_reference_wrote(both: Both, ttl: int | None) -> None:
    """Sessions that the reference wrote are read, extended and popped, and it reads what became of them."""
    history = [*AWKWARD[:3], *messages(0, 4)]
    await both.theirs("add_items", history, ttl=ttl)
    assert await both.ours().get_items() == history
    assert await both.ours().get_items(limit=2) == history[-2:]
    assert (await both.ours().describe()).items == len(history)
    await both.ours(ttl).add_items([message(7)])
    assert await both.theirs("get_items") == [*history, message(7)]
    assert await both.ours(ttl).pop_item() == message(7)
    assert await both.ours(ttl).pop_item() == history.pop()
    assert await both.theirs("get_items") == history
    stored = (await both.stored())["ada"]
    assert ("ttl" in stored) == (ttl is not None)
    await both.ours().clear_session()
    assert await both.stored() == {}


async def test_expiry_of_the_reference(both: Both) -> None:
    """What the reference let expire is empty, and its `ttl_seconds` binds a session of ours as ours does."""
    await both.theirs("add_items", [message(1)], ttl=3_600)
    later = StorageOptions(clock=lambda: time.time() + 3_601)
    assert await both.ours(options=later).get_items() == []
    assert await both.ours().get_items() == [message(1)]
    await both.ours(options=later).add_items([message(2)])
    assert await both.ours().get_items() == [message(2)]


async def test_turn_by_turn(both: Both) -> None:
    """While a session is one item, both libraries may write it in turn; both see everything."""
    history: list[Any] = []
    stale = both.ours()
    for number in range(6):
        await both.theirs("add_items", [message(number)])
        await both.ours().add_items([message(10 + number)])
        history += [message(number), message(10 + number)]
        assert await both.theirs("get_items") == history
        assert await both.ours().get_items() == history
        assert await both.theirs("pop_item") == history.pop()
        await stale.add_items([message(20)])
        history.append(message(20))
        assert await stale.get_items() == history
    await both.theirs("clear_session")
    assert await stale.get_items() == []
    await stale.add_items([message(0)])
    assert await both.theirs("get_items") == [message(0)]


async def test_items_of_any_content(both: Both) -> None:
    """Whatever is JSON passes from one to the other unchanged, in either direction."""
    await both.ours().add_items(AWKWARD)
    assert await both.theirs("get_items") == AWKWARD
    await both.theirs("add_items", AWKWARD)
    await both.ours().add_items([message(1)])
    assert await both.ours().get_items() == await both.theirs("get_items") == [*AWKWARD, *AWKWARD, message(1)]


async def test_what_the_reference_lets_pass(both: Both) -> None:
    """NaN, which is no JSON but which the reference stores, does not brick a session."""
    await both.theirs("add_items", [{"score": float("nan")}, message(1)])
    assert await both.ours().pop_item() == message(1)
    await both.ours().add_items([message(2)])
    (odd, rest) = await both.ours().get_items()
    assert str(odd) == "{'score': nan}"
    assert rest == message(2)


@pytest.mark.needs("item size limit")
async def test_full_session_of_the_reference(both: Both) -> None:
    """A session that the reference has filled to DynamoDB's limit, where it fails for good, goes on with us."""
    history = messages(0, 130, 3_000)
    await both.theirs("add_items", history)
    with pytest.raises(ReferenceFailure, match="ValidationException"):
        await both.theirs("add_items", messages(200, 10, 3_000))
    for number in range(130, 136):
        await both.ours().add_items([message(number, 3_000)])
        history.append(message(number, 3_000))
        assert await both.ours().get_items() == history
    assert await both.ours().pop_item() == history[-1]


async def test_sealed_session_is_not_overwritten(both: Both) -> None:
    """On a session of ours that is more than one item the reference fails, whatever it does but clear, unharmed."""
    for number in range(SEALING):
        await both.ours().add_items([message(number, 600)])
    before = await both.stored()
    assert len(before) > 1
    for method, arguments in (("get_items", [3]), ("get_items", []), ("add_items", [[message(1)]]), ("pop_item", [])):
        with pytest.raises(ReferenceFailure, match="JSONDecodeError"):
            await both.theirs(method, *arguments)
        assert await both.stored() == before
    assert await both.ours().get_items() == messages(0, SEALING, 600)


async def test_cleared_by_the_reference(both: Both) -> None:
    """A clear by the reference, which knows of no parts, is a clear; what begins then holds nothing of the old."""
    stale = both.ours()
    for number in range(SEALING):
        await stale.add_items([message(number, 600)])
    await both.theirs("clear_session")
    assert await both.ours().get_items() == []
    await stale.add_items([message(1)])
    assert await both.ours().get_items() == [message(1)]
    for number in range(SEALING):
        await both.ours().add_items([message(number, 600)])
    assert await both.ours().get_items() == [message(1), *messages(0, SEALING, 600)]


async def test_single_item_of_any_length_is_read_by_the_reference(both: Both) -> None:
    """With `single_item` a session stays one item that the reference reads and extends, far beyond the default."""
    for number in range(40):
        await both.ours(options=SINGLE).add_items([message(number, 4_000)])
    assert list(await both.stored()) == ["ada"]
    assert await both.theirs("get_items") == messages(0, 40, 4_000)
    await both.theirs("add_items", [message(40)])
    assert await both.ours(options=SINGLE).get_items() == [*messages(0, 40, 4_000), message(40)]


async def test_single_item_up_to_the_limit_and_beyond(both: Both) -> None:
    """A session stays one item up to what DynamoDB allows; beyond it is sealed, and comes back once it fits again."""
    history: list[Any] = []
    while "ada#~0" not in await both.stored():
        before = await both.stored()
        history.append(message(len(history), 20_000))
        await both.ours(options=SINGLE).add_items([history[-1]])
    assert list(before) == ["ada"]
    assert item_size(before["ada"]) > 370_000
    assert json.loads(before["ada"]["conversation_data"]["S"]) == history[:-1]
    for number in range(60, 66):
        await both.ours(options=SINGLE).add_items([message(number, 20_000)])
        history.append(message(number, 20_000))
        assert await both.ours(options=SINGLE).get_items() == history
    for _ in range(12):
        assert await both.ours(options=SINGLE).pop_item() == history.pop()
    await both.ours(options=SINGLE).add_items([message(0)])
    assert await both.theirs("get_items") == [*history, message(0)]
    await both.ours().clear_session()
    assert await both.stored() == {}


async def test_layouts_convert(both: Both) -> None:
    """A session of parts becomes one item for a `single_item` writer, and parts again for another."""
    for number in range(SEALING):
        await both.ours(options=TINY).add_items([message(number, 600)])
    assert len(await both.stored()) > 1
    await both.ours(options=SINGLE).add_items([message(20)])
    history = [*messages(0, SEALING, 600), message(20)]
    assert await both.theirs("get_items") == history
    await both.ours(options=TINY).add_items([message(21)])
    with pytest.raises(ReferenceFailure):
        await both.theirs("get_items")
    assert await both.ours(options=SINGLE).get_items() == [*history, message(21)]


@pytest.mark.parametrize("options", [None, SINGLE], ids=["default", "single_item"])
async def test_simple_fakes_will_do(options: StorageOptions | None) -> None:
    """For a session that is one item a client needs `get_item`, `put_item` and `delete_item`, and no conditions."""
    fake: Any = MemoryClient()

    def session(ttl_seconds: int | None = None) -> DynamoDBSession:
        return DynamoDBSession("ada", fake, "table", ttl_seconds=ttl_seconds, options=options)

    assert await session().get_items() == []
    assert await session().pop_item() is None
    await session().add_items(messages(0, 3))
    await session(60).add_items(messages(3, 2))
    assert await session().get_items() == messages(0, 5)
    assert await session().get_items(limit=2) == messages(3, 2)
    assert await session().pop_item() == message(4)
    assert list(fake.items) == ["ada"]
    assert json.loads(fake.items["ada"]["conversation_data"]["S"]) == messages(0, 4)
    assert await session().ping()
    await session().clear_session()
    assert fake.items == {}
