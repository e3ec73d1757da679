"""What every command works on: the table, and engines of what lies in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..client import OwnedClient
from ..dynamodb import DynamoDBSession
from ..events import Event
from ..options import StorageOptions
from ..storage.operations import SessionStore
from ..storage.retry import RetryBudget
from ..storage.table import Table

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the table is.

    Attributes:
        table: Its name.
        region: AWS region; None for the environment's.
        endpoint_url: Another endpoint than AWS's; None for the environment's.
        profile: Of the AWS configuration; None for the environment's.
    """

    table: str
    region: str | None
    endpoint_url: str | None
    profile: str | None


class Spent:
    """What a command has consumed, as DynamoDB reports it."""

    def __init__(self) -> None:
        self.requests = 0
        self.read_units = 0.0
        self.write_units = 0.0

    def __call__(self, event: Event) -> None:
        """Count an event of the store."""
        self.requests += event.name == "request"
        self.read_units += event.read_units
        self.write_units += event.write_units


@dataclass(frozen=True, slots=True)
class Store:
    """An open table.

    Attributes:
        table: For requests.
        options: For engines: nothing cached, as an operator wants to see what is stored.
        spent: What has been consumed.
    """

    table: Table
    options: StorageOptions
    spent: Spent

    def engine(self, key: str, owner: str | None = None) -> SessionStore:
        """The engine of whatever has its head under a key: a session, or what is stored beside one."""
        return SessionStore(key, self.table, self.options, None, owner)

    def session(self, session_id: str, *, ttl_seconds: int | None = None, owner: str | None = None) -> DynamoDBSession:
        """A session. Raises ``InvalidInputError`` for an id that none can have."""
        return DynamoDBSession(
            session_id, self.table.client, self.table.name, ttl_seconds=ttl_seconds, owner=owner, options=self.options
        )

    def patience(self) -> RetryBudget:
        """For one operation."""
        return RetryBudget(self.options.patience_seconds)

    def now(self) -> int:
        """Unix seconds."""
        return int(self.options.clock())


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[Store]:
    """The table, through a client that is closed in the end.

    Raises:
        BotoCoreError: There is no such profile, or no region.
        ValueError: The endpoint is not a URL.
    """
    from aiobotocore.session import AioSession

    session = AioSession(profile=connection.profile)
    owned = await OwnedClient.open(connection.region, connection.endpoint_url, session)
    try:
        spent = Spent()
        options = StorageOptions(cache=None, patience_seconds=PATIENCE_SECONDS, observer=spent)
        yield Store(Table(owned.client, connection.table, spent), options, spent)
    finally:
        await owned.close()
