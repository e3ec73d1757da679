"""The engines as a test axis, and what every test can count on.

A test that takes `engine`, `table` or `client` runs once on each DynamoDB engine that this machine has; one that is
about something above the store, such as the command or an example, and is marked `one_engine`, on one. The summary says
which engines those were and why another is missing; in CI (CI=true) a missing engine fails the run.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from hypothesis import HealthCheck, settings

from tools.emulation import engines
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    Connect = Callable[..., Awaitable[DynamoDBClient]]

# Tests run beside each other: how long Hypothesis takes for an example says how busy the machine is.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

QUICKEST = "dynoxide"

_used: Counter[str] = Counter()
_samples: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engines", help="comma-separated DynamoDB engines to test on (default: all that are there)")
    parser.addoption("--exhaustive", action="store_true", help="make all trials where tests make a sample")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # no test may depend on, or reach, somebody's account
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ |= {"POWERTOOLS_SERVICE_NAME": "agent", "POWERTOOLS_METRICS_NAMESPACE": "Tests"}  # read at import
    if unknown := set(_asked_for(config)) - set(engines.KINDS):
        raise pytest.UsageError(f"unknown engines: {', '.join(sorted(unknown))}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" not in metafunc.fixturenames:
        return
    needs = {need for marker in metafunc.definition.iter_markers("needs") for need in marker.args}
    if unknown := needs - engines.CAPABILITIES:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} needs {unknown}, which no engine is known to get wrong")
    names = [name for name in _present(metafunc.config) if not needs & engines.KINDS[name].faults]
    if metafunc.definition.get_closest_marker("one_engine") and not metafunc.config.getoption("--exhaustive"):
        names = sorted(names, key=lambda name: name != QUICKEST)[:1]
    metafunc.parametrize("engine", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def start_engine() -> Iterator[Callable[[str], Engine]]:
    """Starts an engine by name, at most once in a run: the order of tests may go back and forth between engines."""
    with ExitStack() as running:
        yield cache(lambda name: running.enter_context(engines.start(name)))


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, start_engine: Callable[[str], Engine]) -> Engine:
    """A running DynamoDB engine; each test runs on every one."""
    return start_engine(request.param)


@pytest.fixture(scope="session")
def aws_session() -> AioSession:
    """Holds the loaded service models, which would cost every test 50 ms."""
    session = get_session()
    session.set_credentials("test", "test")
    session.set_config_variable("region", "us-east-1")
    return session


@pytest.fixture
async def connect(aws_session: AioSession) -> AsyncIterator[Connect]:
    """A function that opens aiobotocore clients, which are closed after the test; it takes the URL and the attempts."""
    async with AsyncExitStack() as opened:

        async def connect(endpoint_url: str, attempts: int = 3) -> DynamoDBClient:
            retries: Any = {"mode": "standard", "total_max_attempts": attempts}
            config = AioConfig(connect_timeout=5, read_timeout=30, retries=retries)
            client = aws_session.create_client("dynamodb", endpoint_url=endpoint_url, config=config)
            return await opened.enter_async_context(client)

        yield connect


@pytest.fixture
async def client(engine: Engine, connect: Connect) -> DynamoDBClient:
    """An aiobotocore client of the engine."""
    return await connect(engine.endpoint_url)


@pytest.fixture
async def proxy(engine: Engine) -> AsyncIterator[FaultProxy]:
    """A fault proxy in front of the engine; its meter counts only what passes it."""
    async with FaultProxy(engine.endpoint_url) as running:
        yield running


@pytest.fixture
async def table(client: DynamoDBClient) -> str:
    """The name of a fresh, empty session table."""
    name = f"sessions-{uuid.uuid4().hex}"
    await client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    name = (
        item.callspec.params.get("engine") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    )
    # Where no engine is there that could run the test, it is no string but a mark, which pytest-xdist cannot send.
    if isinstance(name, str):
        item.user_properties.append(("engine", name))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        _used.update(name for kind, name in report.user_properties if kind == "engine" and isinstance(name, str))
        _samples.update((report.nodeid, str(text)) for kind, text in report.user_properties if kind == "sample")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.section("DynamoDB engines")
    for name, reason in engines.available().items():
        if reason:
            terminalreporter.line(f"{name}: MISSING, {reason}", red=True)
        else:
            terminalreporter.line(f"{name}: {_used[name]} tests")
    if not config.getoption("--exhaustive"):
        terminalreporter.line("Tests marked one_engine ran on one; --exhaustive runs them on each.")
    if _missing_in_ci(config):
        terminalreporter.line("CI runs on every engine: failed", red=True)
    if _samples:
        terminalreporter.section("Samples (--exhaustive makes all trials)")
        for test, text in _samples.items():
            terminalreporter.line(f"{test}: {text}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and _missing_in_ci(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _missing_in_ci(config: pytest.Config) -> bool:
    in_ci = os.environ.get("CI") == "true" and not config.getoption("--engines")
    return in_ci and any(engines.available().values())


def _present(config: pytest.Config) -> list[str]:
    present = [name for name, reason in engines.available().items() if not reason]
    return [name for name in _asked_for(config) if name in present] if config.getoption("--engines") else present


def _asked_for(config: pytest.Config) -> list[str]:
    return [name.strip() for name in (config.getoption("--engines") or "").split(",") if name.strip()]
