"""A warm invocation pays for its requests and for nothing else."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from botocore.loaders import JSONFileLoader

from openai_agents_session import create_table_if_not_exists
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment
from tools.emulation.engines import Engine


@dataclass
class Relay:
    """Passes bytes on to a server, and counts the connections made to it."""

    url: str
    accepted: int = 0


@contextmanager
def relaying(target_url: str) -> Iterator[Relay]:
    target = urlsplit(target_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    inward, _ = listener.accept()
                except OSError:
                    return
                relay.accepted += 1
                outward = socket.create_connection((target.hostname, target.port))
                for source, sink in ((inward, outward), (outward, inward)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with source, sink:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def loaded_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data files, service models among them, that botocore reads."""
    names: list[str] = []
    load = JSONFileLoader.load_file

    def counting(self: JSONFileLoader, file_path: str) -> object:
        names.append(file_path)
        return load(self, file_path)

    monkeypatch.setattr(JSONFileLoader, "load_file", counting)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return names


@pytest.fixture
def relayed(engine: Engine, loaded_files: list[str]) -> Iterator[tuple[ExecutionEnvironment, Relay]]:
    with relaying(engine.endpoint_url) as relay:
        environment = ExecutionEnvironment(
            EnvironmentSettings(f"sessions-{uuid.uuid4().hex}", "us-east-1", ttl_seconds=3600, endpoint_url=relay.url)
        )
        environment.run(_make_table(environment))
        yield environment, relay
        environment.close()


async def _make_table(environment: ExecutionEnvironment) -> None:
    await create_table_if_not_exists(await environment.client(), environment.settings.table_name, enable_ttl=False)


async def _turn(environment: ExecutionEnvironment, text: str) -> int:
    session = await environment.open_session("ada")
    history = await session.get_items()
    await session.add_items([{"role": "user", "content": text}])
    return len(history)


def test_a_warm_invocation_opens_no_connection_and_loads_no_service_model(
    relayed: tuple[ExecutionEnvironment, Relay], loaded_files: list[str]
) -> None:
    environment, relay = relayed
    assert environment.run(_turn(environment, "first")) == 0
    assert relay.accepted == 1
    assert any("dynamodb" in name for name in loaded_files)
    loaded_files.clear()
    for turn in range(1, 6):
        assert environment.run(_turn(environment, f"turn {turn}")) == turn
    assert relay.accepted == 1
    assert loaded_files == []


def test_after_a_restore_the_service_model_stays_loaded_and_the_connection_is_another(
    relayed: tuple[ExecutionEnvironment, Relay], loaded_files: list[str]
) -> None:
    environment, relay = relayed
    environment.run(_turn(environment, "before the snapshot"))
    loaded_files.clear()
    environment.renew()
    assert environment.run(_turn(environment, "after the restore")) == 1
    assert relay.accepted == 2
    assert [name for name in loaded_files if "dynamodb" in name] == []


def test_a_session_takes_table_and_ttl_from_the_environment_unless_told(
    relayed: tuple[ExecutionEnvironment, Relay],
) -> None:
    environment, _ = relayed

    async def stored(**options: int | None) -> bool:
        session = await environment.open_session(uuid.uuid4().hex, **options)
        await session.add_items([{"role": "user", "content": "hello"}])
        client = await environment.client()
        answer = await client.get_item(
            TableName=environment.settings.table_name, Key={"session_id": {"S": session.session_id}}
        )
        return "ttl" in answer["Item"]

    assert environment.run(stored())
    assert not environment.run(stored(ttl_seconds=None))
