"""Fixtures of the tests that run the reference agent in Lambda's runtime client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent import Stage, agent_stage
from tools.emulation.model import FakeModel


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
