"""What unit tests share: a strict endpoint of a model, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.emulation.strict_model import StrictModel


@pytest.fixture(scope="module")
def strict_server() -> Iterator[StrictModel]:
    """The endpoint, for the tests of one file."""
    with StrictModel() as running:
        yield running


@pytest.fixture
def model(strict_server: StrictModel) -> StrictModel:
    """The same, for one test."""
    strict_server.reset()
    return strict_server
