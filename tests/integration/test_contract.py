"""The contract, in every configuration, on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession
from tests.support.contract import CONFIGURATIONS, Contract, Open, message

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


@pytest.fixture(params=CONFIGURATIONS)
def configuration(request: pytest.FixtureRequest) -> Any:
    return CONFIGURATIONS[request.param]


@pytest.fixture
def open_session(client: DynamoDBClient, table: str, configuration: Any) -> Open:
    def make(session_id: str = "ada", **settings: Any) -> DynamoDBSession:
        return DynamoDBSession(session_id, client, table, **{**configuration, **settings})

    return make


class TestContract(Contract):
    """Every rule on every configuration."""


async def test_configurations_take_over_from_each_other(client: DynamoDBClient, table: str) -> None:
    """Whatever one configuration has written, every other reads, extends and pops."""
    history: list[Any] = []
    for number in range(36):
        for configuration in CONFIGURATIONS.values():
            session = DynamoDBSession("ada", client, table, **configuration)
            batch = [message(number, 20 + 97 * number % 500)] * (1 + number % 3)
            await session.add_items(batch)
            history += batch
            if number % 2:
                assert await session.pop_item() == history.pop()
        assert await session.get_items() == history
