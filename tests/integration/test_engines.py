"""What the other tests take for granted of the engines that they run on."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from openai_agents_session import create_table_if_not_exists
from tools.emulation import engines
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

KEY: Any = {"session_id": {"S": "a"}}
LISTENING = "0A"


async def test_only_one_of_many_conditional_writers_wins(client: DynamoDBClient, table: str) -> None:
    async def create(writer: int) -> bool:
        try:
            await client.put_item(
                TableName=table,
                Item={**KEY, "writer": {"N": str(writer)}},
                ConditionExpression="attribute_not_exists(session_id)",
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    won = [writer for writer, wins in enumerate(await asyncio.gather(*map(create, range(32)))) if wins]
    stored = await client.get_item(TableName=table, Key=KEY, ConsistentRead=True)
    assert won == [int(stored["Item"]["writer"]["N"])]


async def test_no_acknowledged_write_is_lost(client: DynamoDBClient, table: str) -> None:
    async def add_one() -> None:
        await client.update_item(
            TableName=table, Key=KEY, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
        )

    await asyncio.gather(*(add_one() for _ in range(100)))
    stored = await client.get_item(TableName=table, Key=KEY, ConsistentRead=True)
    assert stored["Item"]["n"] == {"N": "100"}


async def test_a_failed_condition_returns_what_stood_in_its_way(client: DynamoDBClient, table: str) -> None:
    await client.put_item(TableName=table, Item={**KEY, "version": {"N": "7"}, "raw": {"B": b"\x00\xff"}})
    with pytest.raises(ClientError) as refused:
        await client.put_item(
            TableName=table,
            Item=KEY,
            ConditionExpression="version = :mine",
            ExpressionAttributeValues={":mine": {"N": "6"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    response: Any = refused.value.response
    assert response["Item"]["version"] == {"N": "7"}
    assert response["Item"]["session_id"] == {"S": "a"}


async def test_a_transaction_is_whole_or_nothing(client: DynamoDBClient, table: str) -> None:
    await client.put_item(TableName=table, Item=KEY)
    other: Any = {"session_id": {"S": "b"}}
    condition = "attribute_not_exists(session_id)"
    with pytest.raises(ClientError, match="TransactionCanceled"):
        await client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": table, "Item": other}},
                {"Put": {"TableName": table, "Item": KEY, "ConditionExpression": condition}},
            ]
        )
    assert "Item" not in await client.get_item(TableName=table, Key=other, ConsistentRead=True)


@pytest.mark.needs("item size limit")
async def test_an_item_over_400_kb_is_refused(client: DynamoDBClient, table: str) -> None:
    room = 400 * 1024 - len("session_id") - len("a") - len("x")
    await client.put_item(TableName=table, Item={**KEY, "x": {"S": "x" * room}})
    with pytest.raises(ClientError, match="Item size"):
        await client.put_item(TableName=table, Item={**KEY, "x": {"S": "x" * (room + 1)}})


@pytest.mark.needs("expired items deleted")
async def test_expired_items_are_deleted_in_time(engine: Engine, connect: Connect) -> None:
    """On an engine of its own: DynamoDB Local's one thread for this ends for good on its first error.

    Other tests' tables, many of them and deleted while that thread reads them, are such an error.
    """
    with engines.start(engine.name) as alone:
        client = await connect(alone.endpoint_url)
        await create_table_if_not_exists(client, "sessions")
        await client.put_item(TableName="sessions", Item={**KEY, "ttl": {"N": str(int(time.time()) - 60)}})
        for _ in range(600):  # the engine looks every second
            if "Item" not in await client.get_item(TableName="sessions", Key=KEY, ConsistentRead=True):
                return
            await asyncio.sleep(0.1)
    pytest.fail("still there after a minute")


async def test_connections_stay_open(engine: Engine, client: DynamoDBClient, table: str) -> None:
    """Whether a warm invocation opens a connection can only be seen on an engine that does not close them."""
    for _ in range(3):
        answer = await client.get_item(TableName=table, Key=KEY)
        assert answer["ResponseMetadata"]["HTTPHeaders"].get("connection", "keep-alive").lower() == "keep-alive"


def test_nobody_else_can_reach_it(engine: Engine) -> None:
    """Every socket that an engine listens on, in our network namespace, is bound to the loopback interface."""
    addresses = [address for process in _tree(engine.process_id) for address in _listens_on(process)]
    port = int(engine.endpoint_url.rpartition(":")[2])
    assert addresses == [("0100007F", port)] * len(addresses)
    assert addresses


def test_it_ends_with_the_run_that_started_it(engine: Engine) -> None:
    """Even a killed run leaves no engine behind."""
    program = (
        "import sys, time; from tools.emulation import engines\n"
        "with engines.start(sys.argv[1]) as engine: print(engine.process_id, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, engine.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=engines.ROOT) as run:
        assert run.stdout
        started = _tree(int(run.stdout.readline()))
        run.kill()
    deadline = time.monotonic() + 10
    while any(map(_is_alive, started)):
        assert time.monotonic() < deadline, "an engine outlived its run"
        time.sleep(0.02)


class TestReport:
    """A run says which engines it used; in CI it fails where one is missing."""

    @pytest.fixture
    def suite(self, tmp_path: Path) -> Path:
        (tmp_path / "test_one.py").write_text("def test_one(engine):\n    assert engine.endpoint_url\n")
        return tmp_path

    def run(self, suite: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", *arguments]
        own = {name: value for name, value in os.environ.items() if name not in ("CI", "JAVA_HOME")}
        return subprocess.run(
            [*command, f"--rootdir={suite}", f"--override-ini=pythonpath={shlex.quote(str(engines.ROOT))}", str(suite)],
            env={**own, "PYTHONPATH": str(engines.ROOT), **variables},
            cwd=suite,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_a_missing_engine_is_named(self, suite: Path) -> None:
        answer = self.run(suite, JAVA_HOME="/nonexistent")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "dynamodb-local: MISSING, it needs Java" in answer.stdout
        assert "moto: 1 tests" in answer.stdout

    def test_a_missing_engine_fails_ci(self, suite: Path) -> None:
        answer = self.run(suite, JAVA_HOME="/nonexistent", CI="true")
        assert answer.returncode == 1, answer.stdout + answer.stderr
        assert "CI runs on every engine: failed" in answer.stdout

    def test_only_the_engines_asked_for_are_used(self, suite: Path) -> None:
        answer = self.run(suite, "--engines=moto", CI="true")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "moto: 1 tests" in answer.stdout
        assert "dynoxide: 1 tests" not in answer.stdout

    def test_an_engine_that_does_not_exist_is_refused(self, suite: Path) -> None:
        answer = self.run(suite, "--engines=mongo")
        assert answer.returncode == pytest.ExitCode.USAGE_ERROR
        assert "unknown engines: mongo" in answer.stderr


def test_the_local_dynamodb_keeps_its_memory_bounded() -> None:
    """400 versions of one 100 KB item leave far less than 40 MB behind."""
    with engines.start("moto") as engine:
        client = boto3.client(
            "dynamodb",
            endpoint_url=engine.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_table(
            TableName="bounded",
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        sizes = []
        for _ in range(2):
            for version in range(200):
                client.put_item(TableName="bounded", Item={**KEY, "x": {"S": f"{version:08}" * 12_500}})
            sizes.append(_resident_bytes(engine.process_id))
        client.close()
    assert sizes[1] - sizes[0] < 10 * 1024 * 1024


def _tree(process: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(found for child in children for found in _tree(int(child)))]


def _is_alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def _listens_on(process: int) -> Iterator[tuple[str, int]]:
    """Address in hexadecimal and port of each socket that a process listens on in our network namespace."""
    sockets = {os.readlink(descriptor) for descriptor in Path(f"/proc/{process}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                yield address, int(port, 16)


def _resident_bytes(process: int) -> int:
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
