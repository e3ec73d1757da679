"""What the tests of faults, kills, cancellation and concurrency share."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engines import Engine
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


@pytest.fixture
async def quick_proxy(engine: Engine) -> AsyncIterator[FaultProxy]:
    """A fault proxy that neither meters nor records: for thousands of requests."""
    async with FaultProxy(engine.endpoint_url, metered=False, keep_records=False) as running:
        yield running


@pytest.fixture
def new_table(client: DynamoDBClient) -> Callable[[], Awaitable[str]]:
    """A function that makes a fresh, empty session table."""

    async def make() -> str:
        name = f"sessions-{uuid.uuid4().hex}"
        await client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    return make


@pytest.fixture
def sample(
    request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]
) -> Callable[[Sequence[Any], int], Sequence[Any]]:
    """A function that picks so many of all cases, always the same for one test; all of them with `--exhaustive`.

    Dynoxide, the quickest engine, gets so many; the others are there to show that they agree, with a third.
    """

    def pick(cases: Sequence[Any], count: int) -> Sequence[Any]:
        count = count if request.getfixturevalue("engine").name == "dynoxide" else count // 3
        everything = request.config.getoption("--exhaustive") or count >= len(cases)
        picked = cases if everything else random.Random(request.node.nodeid).sample(cases, count)
        record_property("sample", f"{len(picked)} of {len(cases)} trials")
        return picked

    return pick
