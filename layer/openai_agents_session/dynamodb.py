"""``DynamoDBSession`` and ``create_table_if_not_exists``: the import path of the reference library."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import dropwhile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import client as clients
from ._client_check import checked_client
from .errors import (
    CorruptSessionError,
    InvalidInputError,
    LeaseUnavailableError,
    SessionClosedError,
    SessionError,
    StorageError,
    UnavailableError,
)
from .events import Event
from .options import StorageOptions
from .serial import Serial
from .storage.cleared import ClearedTurns
from .storage.description import RecoveryReport, SessionInfo
from .storage.items import Items, fits_one_batch, from_batch
from .storage.keys import SEPARATOR, SESSION_ID_LIMIT_BYTES
from .storage.operations import SessionStore
from .storage.retry import GRACE_SECONDS, RetryBudget, current_deadline, deadline
from .storage.table import Table
from .storage.turn_log import Delivery, Held, Meeting, TurnLog, Unremembered, refused
from .tool_calls import whole_start

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["DynamoDBSession", "Lease", "create_table_if_not_exists"]

LEASE_LIMIT_SECONDS = 366 * 86_400
"""Longest lease. A lease is for a turn; what stands in the way of everybody for longer is a mistake."""

TTL_LIMIT_SECONDS = 100 * 366 * 86_400
"""Longest time to live. What is to live longer has none."""

OWNER_LIMIT_BYTES = 2_048
"""Longest owner, in UTF-8 bytes. It is stored and paid for with every write."""

CLEAR_TRIES = 5
"""How often to look again for turns that end while a session is being cleared."""

CREATE_TABLE_SECONDS = 60.0
"""How long to wait for a table that is being made; DynamoDB takes some seconds."""

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


class DynamoDBSession:
    """The history of one conversation, in one DynamoDB table.

    Implements the ``Session`` protocol of ``openai-agents``. A short session is one item that the reference library
    reads; a longer one is a head and compressed parts, without a size limit, at a flat cost a turn. Every batch is
    stored whole, in order and exactly once, or not at all. Objects are cheap: make one a turn.

    Args:
        session_id: 1 to 2,032 UTF-8 bytes, without ``#~``.
        dynamodb_client: An aiobotocore DynamoDB client. Not closed by the session.
        table_name: A table with the partition key ``session_id`` (String), and TTL on ``ttl`` if ``ttl_seconds`` is
            used.
        ttl_seconds: The session expires so many seconds after its last write; None for never. Expired means empty at
            once, whenever DynamoDB gets to deleting it.
        session_settings: ``SessionSettings`` of the SDK: the default ``limit``.
        owner: Whom the session belongs to. It is bound on first write; every operation of any other owner raises
            ``WrongOwnerError``. None works on any session.
        whole_tool_calls: With a limit, leave out tool outputs whose call is outside the window, which models refuse.
            The window then has fewer items than the limit.
        options: Layout, cache and retry budget of the storage engine.

    Raises:
        InvalidInputError: An argument is not acceptable.
    """

    session_id: str

    def __init__(
        self,
        session_id: str,
        dynamodb_client: DynamoDBClient,
        table_name: str,
        *,
        ttl_seconds: int | None = None,
        session_settings: SessionSettings | None = None,
        owner: str | None = None,
        whole_tool_calls: bool = False,
        options: StorageOptions | None = None,
    ) -> None:
        options = StorageOptions() if options is None else options
        if not isinstance(options, StorageOptions):
            raise InvalidInputError(f"session {session_id!r}: options must be StorageOptions, not {options!r}")
        if not (session_settings is None or isinstance(session_settings, dict) or hasattr(session_settings, "limit")):
            raise InvalidInputError(f"session {session_id!r}: session_settings has no limit: {session_settings!r}")
        self.session_id = _checked_session_id(session_id)
        self._session_settings = session_settings
        self.owner = _checked_owner(self.session_id, owner)
        self._options = options
        self._table = Table(checked_client(dynamodb_client), _checked_table_name(table_name), options.observer)
        self._ttl_seconds = _checked_ttl(self.session_id, ttl_seconds)
        self._store = self._companion(self.session_id)
        self._whole_tool_calls = whole_tool_calls
        self._owned_client: clients.OwnedClient | None = None
        self._serial = Serial(f"session {self.session_id!r}")
        self._has_lease = False
        self._closed = False
        _register_with_sdk()

    @property
    def session_settings(self) -> SessionSettings:
        """The SDK's settings of the session: as given, or its defaults.

        Made at the first use: importing the SDK for it would cost every cold start a second.
        """
        if self._session_settings is None:
            from agents.memory import SessionSettings

            self._session_settings = SessionSettings()
        return self._session_settings

    @session_settings.setter
    def session_settings(self, settings: SessionSettings | None) -> None:
        self._session_settings = settings

    @classmethod
    def connect(
        cls,
        session_id: str,
        table_name: str,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        **settings: Any,
    ) -> Connecting:
        """A session that makes, owns and closes its own client.

        Use it as ``async with DynamoDBSession.connect(...) as session`` or ``session = await ...connect(...)`` followed
        by ``await session.close()``. For many sessions make one client and share it: a client costs 50 ms and a
        connection.

        Args:
            session_id: As for the constructor.
            table_name: As for the constructor.
            region_name: AWS region; None for the environment's.
            endpoint_url: Another endpoint than AWS's; None for the environment's.
            **settings: The constructor's other keyword arguments.
        """
        return Connecting(cls, session_id, table_name, region_name, endpoint_url, settings)

    # --- the SDK's protocol ----------------------------------------------------------------------------------------

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The history, oldest item first. Sees every acknowledged write.

        Args:
            limit: Only the latest so many items; None for the default of ``session_settings``, or all. Reads only the
                parts it needs. 0 and below give none.

        Returns:
            Fresh values that the caller may change.

        Raises:
            CorruptSessionError: A stored part cannot be read.
            StorageError: DynamoDB refused or kept failing.
        """
        async with self._open():
            limit = self._limit(limit)
            if limit is not None and limit <= 0:
                return []
            if limit is None or not self._whole_tool_calls:
                newest: list[TResponseInputItem] = await self._store.read(limit)
                return newest
            items: list[TResponseInputItem] = await self._store.read(limit + 1)
            return self._newest(items, limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append a batch: whole, in order and exactly once, or not at all.

        Args:
            items: JSON objects, or pydantic models, which are dumped in JSON mode. An empty list does nothing.

        Raises:
            InvalidItemError: An item is not a JSON object; nothing was stored.
            ContentionError: Other writers kept coming first; nothing was stored.
            UnavailableError: DynamoDB kept failing; nothing was stored.
            OutcomeUnknownError: An answer was lost; the batch is stored once or not at all. Read before repeating it.
            CorruptSessionError: The head cannot be read; nothing was overwritten.
        """
        batch = from_batch(self.session_id, items)
        async with self._open():
            if batch.count:
                await _settled(self._store.append(batch))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the newest item and return it; None when the session is empty. Raises like ``add_items``."""
        async with self._open():
            item: TResponseInputItem | None = await _settled(self._store.pop())
            return item

    async def clear_session(self) -> None:
        """Remove the session from the table, with all its parts. Raises like ``add_items``."""
        async with self._open():
            await _settled(self._store.clear())

    async def clear_turns(self) -> None:
        """The same, but deliveries of its turns are still recognised for a day, and not served again."""
        async with self._open():
            await _settled(self._clear_turns())

    async def _clear_turns(self) -> None:
        for _ in range(CLEAR_TRIES):
            try:
                turns, commit = await self._store.turns()
            except CorruptSessionError:
                break
            if commit is None:
                return
            await self._done.add(turns)
            # Only what was just read: a turn may have ended at this moment, and is to be remembered, too.
            if await self._store.clear(expected=commit):
                return
        await self._store.clear()

    # --- what the SDK's own backends have besides --------------------------------------------------------------------

    async def ping(self) -> bool:
        """Whether the table can be read with these credentials. Reads one item: needs ``dynamodb:GetItem``."""
        async with self._open():
            try:
                await self._table.read_item(self.session_id, self._store.budget())
            except StorageError:
                return False
            return True

    async def close(self) -> None:
        """Refuse further work, and close the client if the session made it. May be called again."""
        self._closed = True
        async with self._serial.lock():  # what is in flight ends first
            client, self._owned_client = self._owned_client, None
            if client is not None:
                await _settled(client.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- compaction: the hooks that the SDK looks for ----------------------------------------------------------------

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Put these items in place of the whole history, in one step."""
        if type(self) is not DynamoDBSession:  # a subclass may transform items; do not bypass it
            return False
        batch = from_batch(self.session_id, items)
        async with self._open():
            return await _settled(self._store.replace(0, batch))

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> Any:
        """The latest ``limit`` items, with a way to replace a suffix of them if nothing has changed until then.

        Args:
            limit: How many items to look at.
            prune_prefix: Which items may go if they stand at the beginning of the history: ``EncryptedSession`` passes
                it, for what has expired.
        """
        if type(self) is not DynamoDBSession:
            return None
        if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
            raise InvalidInputError(f"session {self.session_id!r}: limit must be a positive integer, not {limit!r}")
        try:
            from agents.memory.session import _CompactionSnapshot
        except ImportError:  # an SDK without the hook: it then replaces by clearing and adding
            return None
        async with self._open():
            items, head = await self._store.read_with_head(limit)
        if head.commit is None:
            return None
        total, commit = head.count, head.commit

        async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
            batch = from_batch(self.session_id, output)
            if not isinstance(start, int) or not 0 <= start <= len(items):
                raise InvalidInputError(
                    f"session {self.session_id!r}: start must be within the snapshot, not {start!r}"
                )
            keep = total - len(items) + start
            async with self._open():
                rest = None if prune_prefix is None else await self._without_prefix(keep, prune_prefix)
                if rest is not None and fits_one_batch(rest + batch):
                    keep, batch = 0, rest + batch
                return await _settled(self._store.replace(keep, batch, expected=commit))

        return _CompactionSnapshot(items=items, complete=len(items) == total, replace_suffix=replace_suffix)

    async def _without_prefix(self, keep: int, prune: Callable[[TResponseInputItem], bool]) -> Items | None:
        """The first ``keep`` items without those at the beginning that may go; None while that is not worth it."""
        kept = (await self._store.read(None))[:keep]
        rest = list(dropwhile(prune, kept))
        # What stays is written again: once half of it may go, that costs as much as what it saves.
        if len(rest) > len(kept) // 2 or len(rest) == len(kept):
            return None
        try:
            return from_batch(self.session_id, rest)
        except InvalidInputError:  # too large to be written again in one piece
            return None

    # --- for operators -----------------------------------------------------------------------------------------------

    async def describe(self) -> SessionInfo:
        """What the table holds of the session: items, parts, sizes, expiry, owner. Reads one item."""
        async with self._open():
            return await self._store.describe()

    async def recover(self) -> RecoveryReport:
        """Drop the parts that cannot be read, so that the session goes on with the rest.

        Does nothing to a session that is whole. Needs the lease of a running turn like any write.

        Returns:
            What was dropped.

        Raises:
            CorruptSessionError: The head itself is damaged. Nothing is guessed: export what can be read with
                ``openai-agents-session salvage``, delete the session, and import that.
        """
        async with self._open():
            return await _settled(self._store.recover())

    # --- one turn at a time ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, seconds: float, *, wait_seconds: float = 0.0) -> AsyncIterator[Lease]:
        """Hold the session for one turn: until it ends nobody else takes a lease or writes.

        Each write checks, at the commit point, that the lease is still ours. A holder that dies frees it when it runs
        out; a ``clear_session`` of anybody ends it. Costs one write to take and one to give back.

        Args:
            seconds: When it ends from now, if it is not given back. In Lambda, the remaining time of the invocation.
            wait_seconds: How long of that to wait for another holder.

        Raises:
            InvalidInputError: ``seconds`` is not a number of seconds up to a year, or this object holds a lease
                already, or another of its tasks is taking one.
            LeaseUnavailableError: Another turn held it all the time; ``retry_after`` says for how long at most.
            LeaseLostError: From a write in the turn: the lease ran out, was cleared or is somebody else's.
        """
        self._check_lease(seconds, wait_seconds)
        self._has_lease = True  # before anything is awaited: of two tasks that ask, one gets here
        try:
            await self._take_lease(seconds, wait_seconds)
            yield Lease(self)
        finally:
            await _settled(self._release_lease())

    @asynccontextmanager
    async def _turn(
        self, delivery: Delivery, message: list[Any], seconds: float, *, wait_seconds: float, **cut: Any
    ) -> AsyncIterator[Meeting]:
        """Hold the session for a delivery's turn, which is begun with the message; or tell why there is none.

        ``cut`` is what goes before it: ``keep`` and ``revision`` of ``SessionStore.begin_turn``.
        """
        batch = from_batch(self.session_id, message)
        self._check_lease(seconds, wait_seconds)
        known: TurnLog | None = None

        async def begin(milliseconds: int) -> Meeting:
            nonlocal known
            met = await self._store.begin_turn(delivery, batch, milliseconds, known=known, **cut)
            if not isinstance(met, Unremembered):
                return met
            known = await self._forgotten_turns(met)
            return await self._store.begin_turn(delivery, batch, milliseconds, known=known, **cut)

        self._has_lease = True
        try:
            yield await self._waited(begin, seconds, wait_seconds)
        finally:
            await _settled(self._release_lease())

    async def _meeting(self, delivery: Delivery) -> Meeting | None:
        async with self._open():
            met = await self._store.meeting(delivery)
            return refused(await self._forgotten_turns(met), delivery) if isinstance(met, Unremembered) else met

    async def _forgotten_turns(self, met: Unremembered) -> TurnLog:
        """What the head should know, and does not: the turns before a clear; a run that an earlier version parked."""
        if met.is_new:
            return TurnLog(finished=await self._done.read())
        from .runs import PendingRuns

        run = await PendingRuns(self).get()
        return TurnLog(waiting=run.run_id if run and run.status == "pending" else None)

    async def _take_lease(self, seconds: float, wait_seconds: float) -> None:
        async def take(milliseconds: int) -> Held | None:
            left = await self._store.take_lease(milliseconds)
            return None if left is None else Held(left)

        met = await self._waited(take, seconds, wait_seconds)
        if met is not None:
            raise self._held(met.seconds)

    async def _waited(self, attempt: Callable[[int], Awaitable[_T]], seconds: float, wait_seconds: float) -> _T:
        """What an attempt to get the lease meets once nobody else holds it, or all the time to wait for that is over.

        Args:
            attempt: Is given the milliseconds that the lease shall last, and returns ``Held`` when it is not free.
            seconds: How long the lease shall last from now.
            wait_seconds: How long of that to wait.
        """
        waiting, end = RetryBudget(min(wait_seconds, seconds)), _monotonic() + seconds
        met: _T | None = None
        with deadline(_monotonic() + waiting.seconds + self._options.patience_seconds + GRACE_SECONDS):
            while True:
                milliseconds = max(1, int((end - _monotonic()) * 1000))
                try:
                    async with self._open():
                        met = await _settled(attempt(milliseconds))
                except UnavailableError as error:
                    if not isinstance(met, Held):
                        raise
                    raise self._held(met.seconds) from error  # there was no time left to look again
                if not isinstance(met, Held):
                    return met
                if self._options.observer is not None:
                    self._options.observer(Event("lease_wait"))
                if not await waiting.pause():
                    return met

    def _held(self, seconds: float) -> LeaseUnavailableError:
        return LeaseUnavailableError(
            f"session {self.session_id!r}: another turn is running; it ends in at most {seconds:.1f} s",
            retry_after=seconds,
        )

    async def _release_lease(self) -> None:
        """Give back what this object holds. What cannot be given back runs out: no reason for the turn to fail."""
        if self._store.lease is None:
            self._has_lease = False
            return
        lock = self._serial.lock()
        try:
            await self._acquired(lock)
            try:
                await self._store.release_lease()
            finally:
                lock.release()
        except SessionError as error:
            _logger.warning("the lease of session %r could not be given back: %s", self.session_id, error)
        finally:
            self._store.lease = None
            self._has_lease = False

    async def _extend_lease(self, seconds: float) -> None:
        self._check_seconds("a lease", seconds)
        async with self._open():
            await _settled(self._store.extend_lease(int(seconds * 1000)))

    def _check_lease(self, seconds: Any, wait_seconds: Any) -> None:
        self._check_seconds("a lease", seconds)
        self._check_seconds("wait_seconds", wait_seconds, least=0.0)
        if self._has_lease:
            raise InvalidInputError(f"session {self.session_id!r}: this object holds a lease already")

    def _check_seconds(self, what: str, seconds: Any, *, least: float = math.ulp(0.0)) -> None:
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not least <= seconds <= LEASE_LIMIT_SECONDS:  # also refuses NaN
            raise InvalidInputError(
                f"session {self.session_id!r}: {what} must be a positive number of seconds, at most "
                f"{LEASE_LIMIT_SECONDS}"
            )

    # --- small things ------------------------------------------------------------------------------------------------

    def _companion(self, key: str) -> SessionStore:
        """The store of what is kept beside the session: same table, expiry, owner and options."""
        return SessionStore(key, self._table, self._options, self._ttl_seconds, self.owner)

    def _sibling(self, session_id: str) -> SessionStore:
        """The store of another session: same table, expiry, owner and options. Raises ``InvalidInputError``."""
        return self._companion(_checked_session_id(session_id))

    @property
    def _done(self) -> ClearedTurns:
        """What is remembered of the session's turns when it is cleared."""
        return ClearedTurns(self.session_id, self._table, self._options, self.owner)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        """One operation at a time: the head keeps only the last receipt of each writer."""
        lock = self._serial.lock()
        with self._store.in_one_budget():  # waiting for the operation before counts, and so does a second request
            await self._acquired(lock)
            try:
                if self._closed:
                    raise SessionClosedError(f"session {self.session_id!r} is closed")
                yield
            finally:
                lock.release()

    async def _acquired(self, lock: asyncio.Lock) -> None:
        """Wait for the operation under way, but not beyond the deadline."""
        try:
            async with asyncio.timeout_at(current_deadline()):
                await lock.acquire()
        except TimeoutError as error:
            raise UnavailableError(
                f"session {self.session_id!r}: another operation of this object was under way until the time of this "
                "one was over; nothing was sent"
            ) from error

    def _limit(self, limit: Any) -> int | None:
        settings: Any = self._session_settings
        if limit is None and settings is not None:
            limit = settings.get("limit") if isinstance(settings, dict) else settings.limit
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
            raise InvalidInputError(f"session {self.session_id!r}: limit must be an integer or None, not {limit!r}")
        return limit

    def _newest(self, items: list[Any], limit: int) -> list[Any]:
        """The window of a history that a limit leaves: not beginning with outputs whose calls are outside, if asked."""
        start = max(0, len(items) - limit)
        return items[whole_start(items, start) if self._whole_tool_calls else start :]


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held; see ``DynamoDBSession.lease``."""

    _session: DynamoDBSession

    async def extend(self, seconds: float) -> None:
        """Let it last so many seconds from now.

        Raises:
            LeaseLostError: It has run out, or was cleared.
        """
        await self._session._extend_lease(seconds)


class Connecting:
    """What ``DynamoDBSession.connect`` returns: await it, or enter it."""

    def __init__(
        self,
        kind: type[DynamoDBSession],
        session_id: str,
        table_name: str,
        region_name: str | None,
        endpoint_url: str | None,
        settings: dict[str, Any],
    ) -> None:
        self._kind = kind
        self._session_id = session_id
        self._table_name = table_name
        self._region_name = region_name
        self._endpoint_url = endpoint_url
        self._settings = settings
        self._session: DynamoDBSession | None = None

    def __await__(self) -> Generator[Any, None, DynamoDBSession]:
        return self._connected().__await__()

    async def __aenter__(self) -> DynamoDBSession:
        self._session = await self._connected()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _connected(self) -> DynamoDBSession:
        _checked_session_id(self._session_id)
        owned = await clients.OwnedClient.open(self._region_name, self._endpoint_url)
        try:
            session = self._kind(self._session_id, owned.client, self._table_name, **self._settings)
        except BaseException:
            await owned.close()
            raise
        session._owned_client = owned
        return session


async def create_table_if_not_exists(
    client: DynamoDBClient, table_name: str, *, enable_ttl: bool = True, with_index: bool = False
) -> None:
    """Create the table, on demand, with TTL on ``ttl``. For development; deploy it as a template in production.

    Waits until the table can be used, whoever creates it, at most a minute. A table that exists without TTL gets it.

    Args:
        client: An aiobotocore DynamoDB client.
        table_name: The table's name.
        enable_ttl: Whether DynamoDB deletes expired items.
        with_index: Whether the table gets the index that ``conversations.list_conversations`` needs, also where it
            exists. An append costs the same with it; the first one of a day, a rename and a deletion cost a write
            unit or two more.

    Raises:
        StorageError: It could not be created, or not be looked at.
    """
    table = Table(checked_client(client), _checked_table_name(table_name))
    await table.create(enable_ttl=enable_ttl, with_index=with_index, budget=RetryBudget(CREATE_TABLE_SECONDS))


async def _settled(mutation: Awaitable[_T]) -> _T:
    """Wait for a mutation even when cancelled meanwhile: the caller of a cancelled write must know that it is over."""
    task = asyncio.ensure_future(mutation)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            cancellation = cancelled
    if cancellation is not None:
        if not task.cancelled():
            task.exception()  # seen: else asyncio would report it as never retrieved
        raise cancellation
    return task.result()


def _register_with_sdk() -> None:
    """Count as one of the SDK's sessions, without importing the SDK: that costs a second of every cold start."""
    sdk = sys.modules.get("agents.memory.session")
    base = getattr(sdk, "SessionABC", None)
    if base is not None and not issubclass(DynamoDBSession, base):
        base.register(DynamoDBSession)


def _checked_session_id(session_id: Any) -> str:
    if not isinstance(session_id, str):
        raise InvalidInputError(f"session_id must be a string, not {type(session_id).__name__}")
    if not session_id:
        raise InvalidInputError("session_id must not be empty")
    try:
        length = len(session_id.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"session_id {session_id!r} is not valid Unicode text") from error
    if length > SESSION_ID_LIMIT_BYTES:
        raise InvalidInputError(
            f"session_id {session_id[:40]!r}... has {length} UTF-8 bytes; the most is {SESSION_ID_LIMIT_BYTES}"
        )
    if SEPARATOR in session_id:
        raise InvalidInputError(f"session_id {session_id!r} contains {SEPARATOR!r}, which marks the parts of sessions")
    return session_id


def _checked_table_name(table_name: Any) -> str:
    if not isinstance(table_name, str) or not table_name:
        raise InvalidInputError(f"table_name must be a non-empty string, not {table_name!r}")
    return table_name


def _checked_ttl(session_id: str, ttl_seconds: Any) -> int | None:
    if ttl_seconds is None:
        return None
    if not isinstance(ttl_seconds, int) or isinstance(ttl_seconds, bool) or not 0 < ttl_seconds <= TTL_LIMIT_SECONDS:
        shown = ttl_seconds if not isinstance(ttl_seconds, int) or ttl_seconds.bit_length() < 64 else "a huge number"
        raise InvalidInputError(
            f"session {session_id!r}: ttl_seconds must be a positive integer of at most {TTL_LIMIT_SECONDS} (a hundred "
            f"years) or None, not {shown!r}"
        )
    return ttl_seconds


def _checked_owner(session_id: str, owner: Any) -> str | None:
    if owner is None:
        return None
    try:
        if isinstance(owner, str) and 0 < len(owner) <= 512 and len(owner.encode()) <= OWNER_LIMIT_BYTES:
            return owner
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"session {session_id!r}: owner {owner!r} is not valid Unicode text") from error
    raise InvalidInputError(f"session {session_id!r}: owner must be a string of 1 to 512 characters or None")


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
