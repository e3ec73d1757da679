"""What every command works on: the table, its sessions, and what they hold. Storage is touched here and in survey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ..client import OwnedClient
from ..conversations import described_as
from ..dynamodb import DynamoDBSession
from ..errors import CorruptSessionError
from ..events import Event
from ..options import StorageOptions
from ..storage.aws_errors import ConditionFailed, RequestFailed, unavailable
from ..storage.head import Attributes, Head, from_attributes
from ..storage.items import from_batch
from ..storage.listing import Listing, last_activity
from ..storage.operations import SessionStore
from ..storage.record import DamagedRecordError
from ..storage.retry import RetryBudget
from ..storage.segments import Damage
from ..storage.table import Table
from .recognise import Listed, NotOursError, described, is_head

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
class Stored:
    """A session as it is stored.

    Attributes:
        listed: Its line in a listing.
        items: Its history; of an expired one, what it was.
    """

    listed: Listed
    items: list[Any]


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

    # --- reading ---------------------------------------------------------------------------------------------------

    async def item(self, session_id: str) -> Attributes | None:
        """The item under a session's id.

        Raises:
            InvalidInputError: No session can have this id.
            NotOursError: The item is not a session.
        """
        self.session(session_id)
        item = await self.table.read_item(session_id, self.patience())
        if item is not None and not is_head(item):
            raise NotOursError(f"the item {session_id!r} in table {self.table.name!r} is not a session")
        return item

    def head(self, key: str, item: Attributes | None) -> Head:
        """The head that an item holds; an absent one for no item.

        Raises:
            CorruptSessionError: It cannot be read. The cause tells whether it is damaged or of a newer version.
        """
        try:
            return from_attributes(key, item, self.now())
        except DamagedRecordError as error:
            raise CorruptSessionError(key, "head", str(error), intact_items=None, total_items=None) from error

    async def loaded(self, head: Head) -> list[list[Any] | Damage]:
        """What a head's segments hold, and its tail: a list of items for each, or what is wrong with it."""
        segments = head.manifest.segments
        if not segments:
            return [head.tail.decode()]
        pieces = await self.engine(head.session_id).segments.load(head.epoch, segments, self.patience())
        return [*pieces, head.tail.decode()]

    async def read(self, session_id: str) -> Stored | None:
        """A session's whole history; None when there is none. One request, and one for every hundred parts.

        Raises:
            CorruptSessionError: Its head or a part of it cannot be read.
            NotOursError: The item is not a session.
        """
        item = await self.item(session_id)
        while item is not None:
            head = self.head(session_id, item)
            pieces = await self.loaded(head)
            damage = next((piece for piece in pieces if isinstance(piece, Damage)), None)
            if damage is None:
                items = [entry for piece in pieces if not isinstance(piece, Damage) for entry in piece]
                return Stored(described(head, item, self.now()), items)
            again = await self.item(session_id)
            if again is not None and again.get("commit") == item.get("commit"):
                intact = sum(len(piece) for piece in pieces if not isinstance(piece, Damage))
                raise CorruptSessionError(
                    session_id, damage.key, damage.reason, intact_items=intact, total_items=head.count
                )
            item = again  # somebody has written: what was missing was replaced
        return None

    async def holds(self, session_id: str) -> bool:
        """Whether there is a session that has not expired and is not empty."""
        item = await self.item(session_id)
        return item is not None and self._is_in_use(session_id, item)

    async def owned(self, owner: str) -> AsyncGenerator[tuple[str, Attributes]]:
        """The sessions of an owner and their items, newest activity first, from the table's index.

        Raises:
            IndexNotFoundError: The table has none.
        """
        async for piece in Listing(self.table, owner, self.now()).pieces(self.patience):
            keys = [entry.session_id for entry in piece.entries]
            items = {item["session_id"]["S"]: item for item in await self.table.read_items(keys, self.patience())}
            theirs = [item for item in items.values() if item.get("owner", {}).get("S") == owner and is_head(item)]
            for item in sorted(theirs, key=last_activity, reverse=True):
                yield item["session_id"]["S"], item

    async def key_schema(self) -> list[tuple[str, str, str]] | None:
        """The table's key as (attribute, HASH or RANGE, type), or None when there is no such table."""
        client = self.table.client
        try:
            told = await client.describe_table(TableName=self.table.name)
        except client.exceptions.ResourceNotFoundException:
            return None
        types = {one["AttributeName"]: one["AttributeType"] for one in told["Table"]["AttributeDefinitions"]}
        keys = told["Table"]["KeySchema"]
        return [(key["AttributeName"], key["KeyType"], types[key["AttributeName"]]) for key in keys]

    # --- writing ---------------------------------------------------------------------------------------------------

    async def create(
        self,
        session_id: str,
        items: list[Any],
        *,
        owner: str | None,
        ttl_seconds: int | None,
        begun: int | None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store a session that does not exist yet. Of any number who try at once, one does.

        Args:
            session_id: The session.
            items: Its history.
            owner: Whom it is bound to, or None.
            ttl_seconds: Seconds from now to expiry, or None.
            begun: Unix second in which the conversation began; None for now.
            title: What it is called, or None.
            metadata: What was said of it.

        Returns:
            Whether it was stored; False when there is one.

        Raises:
            NotOursError: Something else lies under its id.
        """
        self.session(session_id, ttl_seconds=ttl_seconds, owner=owner)  # checks the arguments
        store = SessionStore(session_id, self.table, self.options, ttl_seconds, owner)
        present = await self.table.read_item(session_id, self.patience())
        if present is not None and not is_head(present):
            raise NotOursError(f"something that is not a session lies under {session_id!r}")
        store.committer.known = store.committer.decoded(present)  # it is not read again
        profile = described_as(title, metadata)
        return await store.create(from_batch(session_id, items), created=begun, profile=profile)

    def _is_in_use(self, session_id: str, item: Attributes) -> bool:
        head = self.head(session_id, item)
        return head.count > 0 and not (head.ttl is not None and head.ttl <= self.now())

    async def settled(self, delete: Any) -> bool:
        """Make a conditional deletion, ``delete(budget)``, until its outcome is known. Whether it was made."""
        patience = self.patience()
        while True:
            try:
                await delete(patience)
                return True
            except ConditionFailed:
                return False
            except RequestFailed as failure:
                if not await patience.pause():
                    raise unavailable(self.table.name, patience, failure) from failure.cause


class CredentialsError(Exception):
    """There are no AWS credentials, or they cannot be had. The cause tells why."""


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[Store]:
    """The table, through a client that is closed in the end.

    Raises:
        CredentialsError: There are no credentials.
        BotoCoreError: There is no such profile, or no region.
        ValueError: The endpoint is not a URL.
    """
    from aiobotocore.session import AioSession

    session = AioSession(profile=connection.profile)
    await _check_credentials(session)
    owned = await OwnedClient.open(connection.region, connection.endpoint_url, session)
    try:
        spent = Spent()
        options = StorageOptions(cache=None, patience_seconds=PATIENCE_SECONDS, observer=spent)
        yield Store(Table(owned.client, connection.table, spent), options, spent)
    finally:
        await owned.close()


async def _check_credentials(session: Any) -> None:
    """Get the credentials now: whatever goes wrong with them later looks like a fault of the request."""
    try:
        credentials = await session.get_credentials()
        if credentials is not None:
            await credentials.get_frozen_credentials()
            return
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except Exception as error:  # a plug-in of botocore's: files, programs, tokens and services of all kinds
        raise CredentialsError(str(error)) from error
    raise CredentialsError("there are none")
