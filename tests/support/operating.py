"""What the tests of the operator's command share: a table with sessions in it, and the command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cli.app import app
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.keys import slot_key

LARGE_STATE = os.urandom(60_000).hex()
SMALL = StorageOptions(item_bytes=600, head_bytes=512, part_bytes=2048, fan_out=8, cache=None)
Cli = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class World:
    """A table, sessions in it, and what lies in it."""

    client: Any
    table: str

    def session(self, session_id: str, **settings: Any) -> DynamoDBSession:
        """A session in small parts."""
        return DynamoDBSession(session_id, self.client, self.table, **{"options": SMALL, **settings})

    async def fill(self, session_id: str, count: int = 12, **settings: Any) -> list[Any]:
        """Give a session a history."""
        items = [message(f"{session_id} {number}: {os.urandom(60).hex()}") for number in range(count)]
        for item in items:
            await self.session(session_id, **settings).add_items([item])
        return items

    async def items(self) -> dict[str, Any]:
        """Every item of the table."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        return {item["session_id"]["S"]: item async for page in pages for item in page["Items"]}

    async def put(self, item: Any) -> None:
        """Write an item as it is."""
        await self.client.put_item(TableName=self.table, Item=item)

    async def delete(self, key: str) -> None:
        """Delete an item."""
        await self.client.delete_item(TableName=self.table, Key={"session_id": {"S": key}})

    async def live_parts(self, session_id: str) -> list[str]:
        """The keys of the parts that hold a session's history, oldest first."""
        head = from_attributes(session_id, (await self.items())[session_id], 0)
        return [slot_key(session_id, slot) for segment in head.manifest.segments for slot in segment.slots]

    async def orphan(self, session_id: str, **settings: Any) -> set[str]:
        """Leave the parts of a session behind without their head."""
        await self.fill(session_id, **settings)
        await self.delete(session_id)
        return {key for key in await self.items() if key.startswith(f"{session_id}#~")}


def message(text: str, role: str = "user") -> Any:
    """An item of a history."""
    return {"role": role, "content": text}


async def json_of(result: Awaitable[Any]) -> Any:
    """What the command printed, as JSON."""
    return json.loads((await result).stdout)


async def create_table(client: Any, name: str) -> None:
    """Make a session table of a given name."""
    await client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def environment(endpoint_url: str, table: str) -> dict[str, str]:
    """Where the table is, as the command reads it."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url,
        "SESSION_TABLE": table,
    }


def command(endpoint_url: str, table: str) -> Cli:
    """Runs the command as a process would, in a thread with an event loop of its own."""

    async def cli(*arguments: Any, **settings: Any) -> Any:
        given = [str(argument) for argument in arguments]
        where = environment(endpoint_url, table) | {"COLUMNS": "250"} | settings.pop("env", {})
        result = await asyncio.to_thread(CliRunner().invoke, app, given, env=where, **settings)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return cli


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process."""
    clean = {name: value for name, value in os.environ.items() if name != "SESSION_TABLE"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=clean | variables, check=False
    )
