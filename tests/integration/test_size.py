"""No size limit: histories, batches and single items of many megabytes, and reads of only what is asked for."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from tests.support.contract import TINY, message, messages
from tests.support.script import stored_items
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

MB = 1024 * 1024
UNCACHED = StorageOptions(cache=None)


def image(number: int, size: int) -> Any:
    """A message with an image of so many bytes as a data URL, which compression makes a quarter smaller at most."""
    data = base64.b64encode(random.Random(number).randbytes(size * 3 // 4)).decode()
    content = [{"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{data}"}]
    return {"role": "user", "content": content}


@pytest.mark.parametrize("compress", [True, False], ids=["", "uncompressed"])
async def test_many_megabytes(client: DynamoDBClient, table: str, compress: bool) -> None:
    """A history of many MB is all there: appended in all sizes, an image of 4 MB, a batch larger than all before."""
    history: list[Any] = []
    options = replace(UNCACHED, compress=compress)
    unit = MB if compress else MB // 2

    def session() -> DynamoDBSession:
        return DynamoDBSession("ada", client, table, options=options)

    batches = [
        [message(0, 200)],
        [image(1, 4 * unit)],
        [message(2, 800)],
        messages(3, 40, 20_000),
        [image(4, 300_000), message(5), image(6, 450_000)],
        [message(7, 50)],
        [image(8, 2 * unit), *messages(9, 300, 5_000), image(10, 3 * unit)],
        *([message(number, 3_000)] for number in range(11, 31)),
    ]
    for batch in batches:
        await session().add_items(batch)
        history += batch
    assert await session().get_items() == history
    for _ in range(22):  # back into the largest batch
        assert await session().pop_item() == history.pop()
    assert await session().get_items() == history
    await session().add_items([message(0)])
    assert await session().get_items(limit=2) == [history[-1], message(0)]
    await session().clear_session()
    assert await stored_items(client, table) == []


async def test_megabytes_first(client: DynamoDBClient, table: str) -> None:
    """Nothing needs to be there before a large batch, and a history is replaced by a larger one in one step."""
    session = DynamoDBSession("ada", client, table, options=UNCACHED)
    await session.add_items([image(1, MB)])
    assert await session.get_items() == [image(1, MB)]
    assert await session._atomic_replace_items([image(2, 2 * MB), message(1)])
    assert await session.pop_item() == message(1)
    assert await session.pop_item() == image(2, 2 * MB)
    assert await session.pop_item() is None


async def test_many_parts(client: DynamoDBClient, table: str) -> None:
    """A batch of more parts than one BatchGetItem reads, in slots that one announcement has to make room for."""
    options = replace(TINY, part_bytes=1_024, compress=False, cache=None)
    batch = messages(0, 90, 3_000)
    await DynamoDBSession("ada", client, table, options=options).add_items(batch)
    assert len(await stored_items(client, table)) > 200
    assert await DynamoDBSession("ada", client, table, options=options).get_items() == batch
    await DynamoDBSession("ada", client, table, options=options).clear_session()
    assert await stored_items(client, table) == []


async def test_a_limit_reads_only_what_it_needs(
    client: DynamoDBClient, table: str, proxy: FaultProxy, connect: Connect
) -> None:
    """`get_items(limit=N)` costs what the newest N items lie in, however much lies before them."""
    for number in range(60):
        await DynamoDBSession("ada", client, table, options=UNCACHED).add_items([message(number, 1_500)])
    before: Any = messages(0, 60, 1_500)
    through = await connect(proxy.url)

    async def cost(limit: int | None) -> tuple[float, int]:
        proxy.reset()
        items = await DynamoDBSession("ada", through, table, options=UNCACHED).get_items(limit=limit)
        assert items == (before if limit is None else before[-limit:])
        assert proxy.bill.requests <= 2
        return proxy.bill.read_units, proxy.bill.bytes_received

    newest = await cost(1)
    assert newest[0] <= 2  # the head, and at most one small part
    costs = [newest, await cost(10), await cost(30), await cost(None)]
    assert costs == sorted(costs)
    assert costs[-1][1] > 5 * newest[1]

    await DynamoDBSession("ada", client, table).clear_session()
    before = [image(1, 2 * MB), *messages(1, 20, 1_500)]
    for item in before:
        await DynamoDBSession("ada", client, table, options=UNCACHED).add_items([item])
    units, received = await cost(10)
    assert units < 10
    assert received < 40_000
    assert (await cost(None))[1] > MB


async def test_what_is_cached_is_not_read_again(
    client: DynamoDBClient, table: str, proxy: FaultProxy, connect: Connect
) -> None:
    """A process that has seen the parts of a session reads its head and nothing else, however long the session is."""
    through = await connect(proxy.url)
    for number in range(40):
        await DynamoDBSession("ada", client, table).add_items([message(number, 1_500)])
    assert await DynamoDBSession("ada", through, table).get_items() == messages(0, 40, 1_500)
    proxy.reset()
    assert await DynamoDBSession("ada", through, table).get_items() == messages(0, 40, 1_500)
    assert (proxy.operations, proxy.bill.read_units) == (["GetItem"], 1)
