"""What the tests of faults, kills, cancellation and concurrency share."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session.cli import store
from tests.support.operating import Cli, World, command
from tests.support.script import Rehearsal
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All trials take longer than a test otherwise may."""
    if config.getoption("--exhaustive"):
        for item in items:
            if "sample" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.timeout(3_600))


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


@pytest.fixture(scope="session")
def rehearsals() -> dict[tuple[str, str], Rehearsal]:
    """By engine and script: what one test found out serves the next."""
    return {}


@pytest.fixture
def rehearse(
    engine: Engine,
    client: DynamoDBClient,
    connect: Callable[..., Awaitable[DynamoDBClient]],
    quick_proxy: FaultProxy,
    new_table: Callable[[], Awaitable[str]],
    rehearsals: dict[tuple[str, str], Rehearsal],
) -> Callable[[str], Awaitable[Rehearsal]]:
    """A function that gives a script's stages and requests on the engine."""

    async def rehearse(name: str) -> Rehearsal:
        key = engine.name, name
        if key not in rehearsals:
            behind = await connect(quick_proxy.url, attempts=1)
            tables = await new_table(), await new_table()
            rehearsals[key] = await Rehearsal.of(name, client, behind, quick_proxy, tables)
            quick_proxy.reset()
        return rehearsals[key]

    return rehearse


@pytest.fixture
def sample(
    request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]
) -> Callable[[Sequence[Any], int], Sequence[Any]]:
    """A function that picks so many of all cases, always the same for one test; all of them with `--exhaustive`.

    Dynoxide, the quickest engine, gets so many; the others are there to show that they agree, with a fifth.
    """

    def pick(cases: Sequence[Any], count: int) -> Sequence[Any]:
        count = count if request.getfixturevalue("engine").name == "dynoxide" else count // 5
        everything = request.config.getoption("--exhaustive") or count >= len(cases)
        picked = cases if everything else random.Random(request.node.nodeid).sample(cases, count)
        record_property("sample", f"{len(picked)} of {len(cases)} trials")
        return picked

    return pick


@pytest.fixture
def world(client: Any, table: str) -> World:
    """A table with sessions in it, for the tests of the operator's command."""
    return World(client, table)


@pytest.fixture
def cli(engine: Engine, table: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The operator's command on the table."""
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 5.0)
    return command(engine.endpoint_url, table)
