"""The execution environment's helper: settings, one loop, no leftovers."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from openai_agents_session import EventLoopError, SettingError
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment

SETTINGS = EnvironmentSettings("sessions", "eu-central-1", endpoint_url="http://127.0.0.1:9")
VARIABLES = {"SESSION_TABLE": "sessions", "AWS_REGION": "eu-central-1"}


@pytest.fixture
def environment() -> Iterator[ExecutionEnvironment]:
    environment = ExecutionEnvironment(SETTINGS)
    yield environment
    environment.close()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, EnvironmentSettings("sessions", "eu-central-1")),
        ({"SESSION_TTL_SECONDS": "3600"}, EnvironmentSettings("sessions", "eu-central-1", ttl_seconds=3600)),
        ({"SESSION_TTL_SECONDS": ""}, EnvironmentSettings("sessions", "eu-central-1")),
        ({"SESSION_TTL_SECONDS": "0"}, EnvironmentSettings("sessions", "eu-central-1")),
        ({"AWS_ENDPOINT_URL_DYNAMODB": ""}, EnvironmentSettings("sessions", "eu-central-1")),
        (
            {"AWS_ENDPOINT_URL_DYNAMODB": "http://x:1"},
            EnvironmentSettings("sessions", "eu-central-1", endpoint_url="http://x:1"),
        ),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, EnvironmentSettings("sessions", "us-east-1")),
    ],
)
def test_settings_come_from_variables_and_an_empty_one_counts_as_unset(
    more: dict[str, str], expected: EnvironmentSettings
) -> None:
    assert EnvironmentSettings.from_environ(VARIABLES | more) == expected


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"SESSION_TABLE": ""}, "SESSION_TABLE"),
        ({"AWS_REGION": ""}, "AWS_REGION"),
        ({"SESSION_TTL_SECONDS": "a week"}, "SESSION_TTL_SECONDS"),
        ({"SESSION_TTL_SECONDS": "-1"}, "SESSION_TTL_SECONDS"),
        ({"SESSION_TTL_SECONDS": "1.5"}, "SESSION_TTL_SECONDS"),
    ],
)
def test_a_wrong_variable_is_named(wrong: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        EnvironmentSettings.from_environ(VARIABLES | wrong)


def test_variables_are_read_at_first_use_and_not_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ExecutionEnvironment()
    monkeypatch.setenv("SESSION_TABLE", "set-later")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert environment.settings.table_name == "set-later"


def test_importing_the_helper_does_not_import_the_agents_sdk() -> None:
    code = "import sys, openai_agents_session.environment; sys.exit('agents' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_loop_and_one_client_serve_every_run(environment: ExecutionEnvironment) -> None:
    async def both() -> tuple[object, object]:
        return asyncio.get_running_loop(), await environment.client()

    first, second = environment.run(both()), environment.run(both())
    assert first[0] is second[0]
    assert first[1] is second[1]


def test_a_client_asked_for_at_once_by_many_tasks_is_made_once(environment: ExecutionEnvironment) -> None:
    async def many() -> list[object]:
        return await asyncio.gather(*(environment.client() for _ in range(8)))

    assert len({id(client) for client in environment.run(many())}) == 1


def test_run_inside_a_running_loop_is_refused_without_leaking_the_coroutine(environment: ExecutionEnvironment) -> None:
    async def outer() -> None:
        environment.run(inner())

    async def inner() -> None:
        pytest.fail("must not start")

    with pytest.raises(EventLoopError, match="already running"):
        environment.run(outer())
    gc.collect()  # a coroutine never awaited would warn now, and warnings fail the suite


def test_the_client_is_refused_to_another_loop(environment: ExecutionEnvironment) -> None:
    async def elsewhere() -> None:
        await environment.client()

    with pytest.raises(EventLoopError, match="another event loop"):
        asyncio.run(elsewhere())


def test_an_exception_reaches_the_caller_and_the_next_run_works(environment: ExecutionEnvironment) -> None:
    async def failing() -> None:
        raise LookupError("wrong")

    async def working() -> int:
        return 7

    with pytest.raises(LookupError):
        environment.run(failing())
    assert environment.run(working()) == 7


class _Torn(BaseException):
    pass


def test_an_invocation_torn_off_by_a_signal_leaves_nothing_behind(environment: ExecutionEnvironment) -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("endless")

    def tear(*_: object) -> None:
        raise _Torn

    async def names() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    before = signal.signal(signal.SIGALRM, tear)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(_Torn):
            environment.run(endless())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ended == ["endless"]
    assert environment.run(names()) == set()


def test_a_task_that_nobody_awaited_ends_with_its_invocation(environment: ExecutionEnvironment) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def starts_one() -> str:
        tasks.append(asyncio.create_task(asyncio.sleep(60)))
        return "answer"

    assert environment.run(starts_one()) == "answer"
    assert tasks[0].cancelled()


def test_a_task_that_resists_its_cancellation_delays_the_answer_by_a_second_at_most(
    environment: ExecutionEnvironment,
) -> None:
    release = False

    async def stubborn() -> None:
        while not release:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    tasks: list[asyncio.Task[None]] = []

    async def starts_one() -> None:
        tasks.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)

    began = time.monotonic()
    environment.run(starts_one())
    assert time.monotonic() - began < 2
    release = True


def test_context_variables_do_not_reach_the_next_invocation(environment: ExecutionEnvironment) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def sets() -> None:
        variable.set("of the first invocation")

    async def reads() -> str:
        return variable.get()

    environment.run(sets())
    assert environment.run(reads()) == "unset"


def test_a_forked_child_makes_its_own_loop_and_client(environment: ExecutionEnvironment) -> None:
    async def client() -> object:
        return await environment.client()

    parents = environment.run(client())
    if (child := os.fork()) == 0:
        os._exit(0 if environment.run(client()) is not parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert environment.run(client()) is parents


def test_a_restored_snapshot_gets_another_client_and_other_random_numbers(environment: ExecutionEnvironment) -> None:
    async def client() -> object:
        return await environment.client()

    snapshot = random.getstate()
    first = environment.run(client())
    environment.renew()
    drawn = random.random()
    random.setstate(snapshot)
    assert drawn != random.random()
    assert environment.run(client()) is not first


def test_the_snapshot_hooks_are_those_that_the_runtime_calls() -> None:
    # In a process of its own, since the runtime's registry is global. It runs the hooks as the runtime does.
    code = """
from awslambdaric import lambda_runtime_hooks_runner as runtime
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment

environment = ExecutionEnvironment(EnvironmentSettings("sessions", "eu-central-1"))
assert environment.register_snapstart_hooks()
async def client():
    return await environment.client()
runtime.run_before_snapshot()
before = environment._state._owned.client
runtime.run_after_restore()
assert environment._state._owned is None
assert environment.run(client()) is not before
environment.close()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_without_the_runtimes_hooks_registering_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    assert ExecutionEnvironment(SETTINGS).register_snapstart_hooks() is False


def test_after_close_it_can_be_used_again(environment: ExecutionEnvironment) -> None:
    async def client() -> object:
        return await environment.client()

    first = environment.run(client())
    environment.close()
    environment.close()
    assert environment.run(client()) is not first


def test_what_belongs_to_the_environment_outlives_an_invocation() -> None:
    """Tasks made in `lasting`, and those that they make, go on; what an invocation leaves otherwise is cancelled."""
    environment = ExecutionEnvironment(SETTINGS)
    kept: list[asyncio.Task[Any]] = []
    closed: list[str] = []

    async def serve() -> None:
        kept.append(asyncio.create_task(asyncio.Event().wait()))
        await asyncio.Event().wait()

    async def first() -> None:
        with environment.lasting():
            kept.append(asyncio.create_task(serve()))
        kept.append(asyncio.create_task(asyncio.Event().wait()))
        await asyncio.sleep(0)

        async def close() -> None:
            closed.append("closed")

        environment.on_close(close)

    async def nothing() -> None: ...

    environment.run(first())
    environment.run(nothing())
    serving, left, inner = kept
    assert [task.done() for task in (serving, left, inner)] == [False, True, False]
    environment.close()
    assert closed == ["closed"]
    assert serving.cancelled()
    assert inner.cancelled()
