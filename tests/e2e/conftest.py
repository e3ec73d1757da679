"""Fixtures of the tests that run the reference agent in Lambda's runtime client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent import Stage, agent_stage
from tests.support.turns import TurnStage, turn_stage
from tools.emulation.model import FakeModel
from tools.emulation.rie import Emulator


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The agent with its tables on an engine, for the tests of one file."""
    with agent_stage() as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[FakeModel]:
    """An endpoint that answers as a model would."""
    with FakeModel() as running:
        yield running


@pytest.fixture
def model(server: FakeModel) -> FakeModel:
    """The same, for one test."""
    server.reset()
    return server


@pytest.fixture(scope="module")
def turns() -> Iterator[TurnStage]:
    """The function with an agent whose tools' effects are counted, and a strict model, for the tests of one file."""
    with turn_stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def environments(turns: TurnStage) -> Iterator[dict[str, Emulator]]:
    """An environment for each provider that has a network, which have served a turn."""
    with turns.warm(turn_seconds=60) as one, turns.warm(turn_seconds=60, MODEL_PROVIDER="compatible") as other:
        yield {"openai": one, "compatible": other}


@pytest.fixture
def one(turns: TurnStage, environments: dict[str, Emulator]) -> Emulator:
    """An environment whose model speaks the Responses API, for one test."""
    turns.reset()
    return environments["openai"]


@pytest.fixture(params=["openai", "compatible"])
def either(request: pytest.FixtureRequest, turns: TurnStage, environments: dict[str, Emulator]) -> Emulator:
    """An environment with each of the two interfaces in turn, for one test."""
    turns.reset()
    return environments[request.param]
