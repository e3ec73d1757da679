"""Fixtures of the tests that run the reference agent in Lambda's runtime client."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.support import browser
from tests.support.agent import Stage, agent_stage
from tests.support.page import OWNER, Page
from tests.support.turns import TurnStage, turn_stage
from tools import npm
from tools.emulation.model import FakeModel
from tools.emulation.rie import Emulator
from tools.emulation.streaming_model import StreamingModel
from tools.page import serving


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """A browser."""
    if (reason := browser.missing()) and os.environ.get("CI") != "true":
        pytest.skip(reason)
    with browser.browser() as running:
        yield running


@pytest.fixture(scope="module")
def speaker() -> Iterator[StreamingModel]:
    """A model that says a word only when it is let."""
    with StreamingModel() as running:
        yield running


@pytest.fixture(scope="module")
def page_url(stage: Stage, speaker: StreamingModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page on the streaming server with the built layer, for the tests of one file."""
    model = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": speaker.base_url}
    served = {"SERVE_PAGE": "true", "LOCAL_OWNER": OWNER, "LEASE_WAIT_SECONDS": "2"}
    with serving(stage.variables | model | served, tmp_path_factory.mktemp("page") / "log") as running:
        yield running


@pytest.fixture
def page(chromium: Chrome, page_url: str, speaker: StreamingModel, stage: Stage) -> Iterator[Page]:
    """A new conversation on the page."""
    chromium.get_log("browser")
    page = Page(chromium, page_url, f"ada/{uuid.uuid4().hex} ü", speaker, stage)
    page.resize(1280, 820)
    page.open()
    yield page
    speaker.let_go()
    speaker.reset()
    for handle in chromium.window_handles[1:]:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(chromium.window_handles[0])
    chromium.get("about:blank")


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    try:
        return (npm.package("axe-core") / "axe.min.js").read_text()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        pytest.skip(f"axe-core could not be fetched: {npm.reason(error)}")
