"""Conversations as a product: list, name, page through, rewind, fork and redact them, and what they have used.

::

    page = await list_conversations(client, "agent-sessions", "ada", limit=20)
    for found in page.conversations:
        print(found.title, found.updated_at, found.items)

    conversation = Conversation(session)            # a DynamoDBSession
    await conversation.rename("Trip to Lisbon")
    copy = await conversation.fork(keep=4)          # a new conversation of the first four items
    await conversation.rewind(2)                    # the first two items stay
    await conversation.redact(1)                    # the second item says "[redacted]"
    print((await conversation.info()).usage.total_tokens)

The list needs an index, ``create_table_if_not_exists(..., with_index=True)``; everything else works without.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from ._client_check import checked_client
from .dynamodb import DynamoDBSession, _checked_owner, _checked_table_name, _settled
from .errors import InvalidInputError, OutcomeUnknownError, SessionError
from .options import StorageOptions
from .runs import PendingRuns
from .storage.editing import Editor
from .storage.head import Head
from .storage.history import HistoryWindow
from .storage.keys import SESSION_ID_LIMIT_BYTES
from .storage.listing import Found, Listing, Place, searched
from .storage.profile import METADATA_LIMIT_BYTES, NO_METADATA, Profile
from .storage.redaction import NOTICE, NOTICE_LIMIT_CHARACTERS
from .storage.retry import RetryBudget
from .storage.table import OWNER_INDEX, IndexEntry, Table
from .storage.titles import TITLE_LIMIT_BYTES, TITLE_LIMIT_CHARACTERS, one_line
from .storage.turn_log import Outcome, TurnLog
from .storage.usage import NO_USAGE, Usage

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = [
    "METADATA_LIMIT_BYTES",
    "NOTICE",
    "OWNER_INDEX",
    "TITLE_LIMIT_CHARACTERS",
    "Conversation",
    "ConversationInfo",
    "ConversationPage",
    "HistoryPage",
    "State",
    "TurnSpan",
    "Usage",
    "list_conversations",
]

PAGE_LIMIT = 200
"""Most conversations, or items, on one page."""

HISTORY_BYTES = 1024 * 1024
"""How many bytes of JSON a page of a history has at the most, unless its only item is larger."""

_SEARCH_LIMIT_CHARACTERS = 200
_CURSOR_VERSION = 1
_CURSOR_LIMIT_CHARACTERS = 8_192


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """What is known of a conversation without reading it.

    Attributes:
        session_id: The session.
        title: What it is called: given, or taken from its first question; None for neither.
        owner: Whom it is bound to, or None.
        created: Unix second in which it began.
        updated_at: Unix time of its last activity, to the millisecond where it has an owner, else to the second. Naming
            it is no activity.
        items: Items in its history.
        metadata: What was said of it.
        usage: What its model calls have used, as far as they were counted.
        usage_by_day: The same for each of the newest days with any, by date (UTC, ``2026-11-26``), and ``earlier`` for
            what is older.
        ttl: Unix second of expiry, or None.
        is_damaged: Whether its head cannot be read: then only its id and ``updated_at`` are known.
    """

    session_id: str
    title: str | None
    owner: str | None
    created: int
    updated_at: float
    items: int
    metadata: dict[str, Any] = field(default_factory=dict)
    usage: Usage = NO_USAGE
    usage_by_day: dict[str, Usage] = field(default_factory=dict)
    ttl: int | None = None
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of a list.

    Attributes:
        conversations: Newest activity first.
        cursor: Where the next page begins, for ``list_conversations``; None when there is none.
    """

    conversations: tuple[ConversationInfo, ...]
    cursor: str | None


NOT_COPIED = "This copy of the conversation has no output of this call, which may have run in the original, or may run."
"""What a copy has for a call without an output."""


class State(StrEnum):
    """What a conversation is doing."""

    IDLE = "idle"
    """Nothing: it can go on."""
    RUNNING = "running"
    """A turn holds its lease."""
    WAITING = "waiting"
    """A run waits for a decision."""
    UNFINISHED = "unfinished"
    """A turn was begun and not done, and nobody holds the lease: it was stopped, or failed, or its process died."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of a history, and what is known of the conversation at that moment.

    Attributes:
        items: Oldest first.
        first: Position of the first in the history, from 0; they are as many as there are items.
        total: Items in the history.
        info: The conversation; None where there is none.
        state: What it is doing.
        turns: The newest turns that are done, oldest first; see ``Conversation.turns``.
        revision: Names this state of the session: what is based on the page can insist on it (``turns.named_turn``).
    """

    items: list[Any]
    first: int
    total: int
    info: ConversationInfo | None = None
    state: State = State.IDLE
    turns: tuple[TurnSpan, ...] = ()
    revision: bytes = b""

    @property
    def before(self) -> int | None:
        """What to ask for the page before with; None when there is none."""
        return self.first or None


@dataclass(frozen=True, slots=True)
class TurnSpan:
    """One of the newest turns: where its items are.

    Attributes:
        first: Position of its first item, the question. To rewind to it takes the turn back.
        last: Position after its last item.
        outcome: How it ended.
        usage: What it has used; known of the newest turns alone.
    """

    first: int
    last: int
    outcome: Outcome
    usage: Usage

    def to_dict(self) -> dict[str, Any]:
        """For JSON: positions, the outcome's name such as ``"answered"``, and the usage, 0 where it is not known."""
        outcome = self.outcome.name.lower()
        return {"first": self.first, "last": self.last, "outcome": outcome, "usage": self.usage.to_dict()}


async def list_conversations(
    dynamodb_client: DynamoDBClient,
    table_name: str,
    owner: str,
    *,
    limit: int = 20,
    cursor: str | None = None,
    search: str | None = None,
    options: StorageOptions | None = None,
) -> ConversationPage:
    """The conversations of an owner, newest activity first.

    A page is a query of the index and a read of each conversation of the days that it reaches into: it costs the same
    however many conversations there are. The order is exact, to the millisecond, among up to 1,000 conversations a day.
    A conversation that has activity between two pages moves to the top, and is on neither of them if it was not on the
    first. The index follows a write within moments, not at once.

    Args:
        dynamodb_client: An aiobotocore client; stays the caller's.
        table_name: The table. Needs ``dynamodb:Query`` on its index and ``dynamodb:BatchGetItem``.
        owner: Whose. Conversations without an owner are in no list.
        limit: How many at the most, 1 to 200. There may be fewer on a page, with a cursor.
        cursor: Of the page before; None for the first page.
        search: Only those whose titles hold all these words, in any case and order. Titles are read from the index, a
            thousand at a time.
        options: For the retry budget, the observer and the clock.

    Raises:
        IndexNotFoundError: The table has no index; the message says how to add it.
        InvalidInputError: An argument is not acceptable, such as a cursor of somebody else's making.
        StorageError: DynamoDB refused or kept failing.
    """
    options = StorageOptions() if options is None else options
    if owner is None:
        raise InvalidInputError("owner must be a string of 1 to 512 characters: conversations without one have no list")
    _checked_owner("(list)", owner)
    _checked_number("limit", limit, 1, PAGE_LIMIT)
    if search is not None and (not isinstance(search, str) or len(search) > _SEARCH_LIMIT_CHARACTERS):
        raise InvalidInputError(f"search must be text of at most {_SEARCH_LIMIT_CHARACTERS} characters, not {search!r}")
    table = Table(checked_client(dynamodb_client), _checked_table_name(table_name), options.observer)
    place = Place() if cursor is None else _place(cursor)
    listing = Listing(table, owner, int(options.clock()))
    found, after = await listing.page(limit, place, searched(search or ""), RetryBudget(options.patience_seconds))
    return ConversationPage(tuple(map(_listed, found)), None if after is None else _cursor(after))


class Conversation:
    """One conversation, by its session.

    Every change is one commit, and raises what ``DynamoDBSession.add_items`` raises: after any error but
    ``OutcomeUnknownError`` nothing has changed. While a turn runs elsewhere, only ``update`` and ``rename`` are let in;
    in the turn, the session that holds the lease may do everything.

    Args:
        session: The session. Its owner, if it has one, is checked by everything.
    """

    def __init__(self, session: DynamoDBSession) -> None:
        self.session = session
        self._store = session._store
        self._editor = Editor(session._store)

    async def info(self) -> ConversationInfo:
        """What is known of it. Reads one item.

        Raises:
            SessionNotFoundError: There is no such conversation, or it has expired.
        """
        async with self.session._open():
            return _described(await self._editor.seen())

    @property
    def usage_seen(self) -> Usage:
        """What it had used when the session object last read or wrote it. Sends no request."""
        head = self._store.committer.known
        return NO_USAGE if head is None else head.profile.ledger.total

    async def turns(self) -> tuple[TurnSpan, ...]:
        """The newest turns that are done and whose items are there, oldest first; for runs of ``turns.named_turn``."""
        async with self.session._open():
            log, _ = await self._store.turns()
        return spans_of(log)

    async def history(
        self,
        *,
        before: int | None = None,
        limit: int = 50,
        max_bytes: int = HISTORY_BYTES,
        size_of: Callable[[Any], int] | None = None,
    ) -> HistoryPage:
        """A page of the history, from its end back.

        Args:
            before: Position that the page ends before: ``before`` of the page after it; None for the newest items.
            limit: How many items at the most, 1 to 200.
            max_bytes: How many bytes they may have together. One item that has more is a page of its own.
            size_of: Bytes of an item as it will be sent; None for its JSON in UTF-8.

        Raises:
            CorruptSessionError: A part of the history cannot be read.
        """
        _checked_number("limit", limit, 1, PAGE_LIMIT)
        _checked_number("max_bytes", max_bytes, 1, 1 << 40)
        if before is not None:
            _checked_number("before", before, 0, 1 << 53)
        window = HistoryWindow(before, limit, max_bytes)
        async with self.session._open():
            items, first, head = await self._store.page(window)
        shown = _fitting(items, max_bytes, size_of or _json_bytes)
        info = _described(head) if head.exists else None
        state = _state_of(head, self._store.options.clock())
        began = first + len(items) - len(shown)
        return HistoryPage(shown, began, head.count, info, state, spans_of(head.turns), head.commit or b"")

    async def stop(self) -> bool:
        """End the turn that is running, whoever runs it: its next write is refused, so that it does nothing more.

        What it had stored stays; the next turn puts the history in order, or goes on with it.

        Returns:
            Whether a turn was running.
        """
        async with self.session._open():
            return await _settled(self._store.revoke_lease())

    # --- naming ----------------------------------------------------------------------------------------------------

    async def rename(self, title: str | None) -> ConversationInfo:
        """Give it a title; see ``update``."""
        return await self.update(title=title)

    async def update(
        self, *, title: str | EllipsisType | None = ..., metadata: Mapping[str, Any] | None = None
    ) -> ConversationInfo:
        """Change title and metadata, in one write. It is no activity: the place in the list and the expiry stay.

        Args:
            title: At most 100 characters and 256 bytes; white space is made one space, control characters go. None
                takes it away: the next question gives one. Left out, it stays.
            metadata: Values by name, merged into what there is; None as a value removes one. The whole has at most 512
                bytes as JSON: it is paid for with every write.

        Returns:
            The conversation as it is then.

        Raises:
            InvalidInputError: The title or the metadata is not acceptable.
            SessionNotFoundError: There is no such conversation.
        """
        name = title if title is None or isinstance(title, EllipsisType) else _checked_title(title)
        changes = _checked_changes(metadata)

        def change(profile: Profile) -> Profile:
            named = profile if isinstance(name, EllipsisType) else profile.named(name)
            return replace(named, metadata=_merged(named, changes)) if changes else named

        async with self.session._open():
            head = await _settled(self._editor.describe(change))
        return _described(head)

    # --- changing the history --------------------------------------------------------------------------------------

    async def rewind(self, keep: int) -> int:
        """Let the first ``keep`` items stay, and remove the rest; a run that waits for approval among it is discarded.

        To answer a question again, rewind to the turn's ``first`` and send the question; to edit it, send another.

        Args:
            keep: How many items stay. Where there are no more, nothing changes.

        Returns:
            How many items were removed.

        Raises:
            InvalidInputError: A tool call would be left without its output, or reasoning without what follows; the
                message says where the history can end.
            LeaseUnavailableError: A turn is running.
            OutcomeUnknownError: An answer was lost; or the history is rewound, and a run may still wait: discard it.
            SessionNotFoundError: There is no such conversation.
        """
        _checked_number("keep", keep, 0, 1 << 53)
        async with self.session._open():
            return await _settled(self._rewound(keep))

    async def _rewound(self, keep: int) -> int:
        removed = await self._editor.rewind(keep)
        if removed:
            await self._discard_run()
        return removed

    async def _discard_run(self) -> None:
        """After the commit: a turn that has a name cannot be gone on with any more, whatever becomes of this."""
        runs = PendingRuns(self.session)
        try:
            if await runs.get() is not None:
                await runs.discard()
        except SessionError as error:
            raise OutcomeUnknownError(
                f"session {self.session.session_id!r}: the history is rewound, but a run may still wait for approval "
                f"({error}). Discard it."
            ) from error

    async def fork(
        self, session_id: str | None = None, *, keep: int | None = None, title: str | EllipsisType | None = ...
    ) -> ConversationInfo:
        """Store the first items as a conversation of its own, with the same owner and metadata.

        It is there whole or not at all: head and parts are one transaction of up to 4 MB (packed). A larger one is
        written in steps, under an early end until it is whole. What was used is not copied: sums would count it twice.
        A call that has no output, of a run that waits or a turn that was stopped, gets one in the copy that says so.

        Args:
            session_id: Of the copy; None for a new random one.
            keep: How many items; None for all.
            title: Of the copy; left out, the original's with "(copy)" behind it, so that a list tells them apart.

        Returns:
            The copy.

        Raises:
            InvalidInputError: ``keep`` is out of range, or would cut a step in two.
            LeaseUnavailableError: A turn is running.
            SessionExistsError: There is a conversation under that id.
            SessionNotFoundError: There is nothing to copy.
        """
        if keep is not None:
            _checked_number("keep", keep, 1, 1 << 53)
        name = title if title is None or isinstance(title, EllipsisType) else _checked_title(title)
        copy_id = secrets.token_hex(16) if session_id is None else session_id
        copy = self.session._sibling(copy_id)

        def change(profile: Profile) -> Profile:
            return profile.copied() if isinstance(name, EllipsisType) else profile.named(name)

        async with self.session._open():
            head = await _settled(self._editor.copy(copy, keep, change, is_new=session_id is None, closing=NOT_COPIED))
        return _described(head)

    async def redact(self, position: int, *, notice: str = NOTICE) -> bool:
        """Put a notice in place of what one item says; the rest of the history stays as it is.

        The item keeps its kind, role and ids, so that models accept the history. Older copies of it in the table are
        deleted before this returns. The history from the item on is written again. It is no activity. Not reached are
        backups, streams and logs, and forks that were made before.

        Args:
            position: Of the item in the history, from 0.
            notice: What it says from now on, at most 1,000 characters.

        Returns:
            Whether it said anything else before.

        Raises:
            InvalidInputError: There is no such item; or a run waits for approval, whose state holds what was said:
                decide on it or discard it first.
            LeaseUnavailableError: A turn is running.
            OutcomeUnknownError: An answer was lost, or an older copy may not be deleted: redact it again.
        """
        _checked_number("position", position, 0, 1 << 53)
        if not isinstance(notice, str) or not 0 < len(notice) <= NOTICE_LIMIT_CHARACTERS:
            raise InvalidInputError(f"notice must be text of 1 to {NOTICE_LIMIT_CHARACTERS} characters")
        async with self.session._open():
            return await _settled(self._redacted(position, notice))

    async def _redacted(self, position: int, notice: str) -> bool:
        if await PendingRuns(self.session).get() is not None:
            raise InvalidInputError(
                f"session {self.session.session_id!r}: a run waits for approval, and its state holds what was said: "
                "decide on it or discard it first"
            )
        return await self._editor.redact(position, notice)

    async def count_usage(self, usage: Usage) -> None:
        """Add what a run has used that ``turns.named_turn`` did not hold; one write. Do not repeat it on a guess.

        Args:
            usage: ``Usage.of(result.context_wrapper.usage)``. Of a resumed run: what it has used since it was parked.
        """
        if not isinstance(usage, Usage):
            raise InvalidInputError(f"usage must be a Usage, such as Usage.of(...), not {usage!r}")
        second = self._store.now()

        def change(profile: Profile) -> Profile:
            return replace(profile, ledger=profile.ledger.plus(second, usage))

        async with self.session._open():
            await _settled(self._editor.describe(change))


def spans_of(log: TurnLog) -> tuple[TurnSpan, ...]:
    """The turns of a log that are done and whose items are there, oldest first."""
    spans = {turn.first: TurnSpan(turn.first, turn.last, turn.outcome, turn.usage) for turn in reversed(log.finished)}
    return tuple(span for _, span in sorted(spans.items()) if span.last > span.first)


def _state_of(head: Head, now: float) -> State:
    if head.lease is not None and head.lease.until > now * 1000:
        return State.RUNNING
    if head.turns.open is not None:
        return State.UNFINISHED
    return State.IDLE if head.turns.waiting is None else State.WAITING


def _described(head: Head) -> ConversationInfo:
    return _info(head, head.count)


def _listed(found: Found) -> ConversationInfo:
    if found.head is None:
        return ConversationInfo(found.session_id, None, None, 0, found.at / 1000, 0, is_damaged=True)
    return _info(found.head, found.count)


def _info(head: Head, items: int) -> ConversationInfo:
    profile = head.profile
    return ConversationInfo(
        session_id=head.session_id,
        title=profile.title,
        owner=head.owner,
        created=head.created,
        updated_at=(head.updated_at * 1000 + profile.milliseconds) / 1000,
        items=items,
        metadata=profile.described(),
        usage=profile.ledger.total,
        usage_by_day=profile.ledger.by_day(),
        ttl=head.ttl,
    )


# --- pages -----------------------------------------------------------------------------------------------------------


def _fitting(items: list[Any], max_bytes: int, size_of: Callable[[Any], int]) -> list[Any]:
    """The newest items that fit; at least one."""
    size, first = 0, len(items)
    while first and (not size or size + size_of(items[first - 1]) <= max_bytes):
        first -= 1
        size += max(1, size_of(items[first]))
    return items[first:]


def _json_bytes(item: Any) -> int:
    return len(json.dumps(item, ensure_ascii=False).encode(errors="surrogatepass"))


def _cursor(place: Place) -> str:
    start = place.start and [place.start.active, place.start.session_id]
    text = json.dumps([_CURSOR_VERSION, start, place.after], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    if not isinstance(cursor, str) or len(cursor) > _CURSOR_LIMIT_CHARACTERS:
        raise _bad_cursor()
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        version, start, after = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if version != _CURSOR_VERSION:
            raise _bad_cursor()
        entry = None if start is None else IndexEntry(_text(start[1]), _count(start[0]))
        return Place(entry, None if after is None else (_count(after[0]), _text(after[1])))
    except (ValueError, TypeError, LookupError, RecursionError, binascii.Error) as error:
        raise _bad_cursor() from error


def _bad_cursor() -> InvalidInputError:
    return InvalidInputError("cursor is not one that list_conversations gave: begin with the first page")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= SESSION_ID_LIMIT_BYTES:
        raise TypeError(f"{value!r} is no id")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise TypeError(f"{value!r} is no moment")
    return value


def described_as(title: str | None, metadata: Mapping[str, Any] | None) -> Profile:
    """What a head says of a conversation that has this title and metadata. Raises ``InvalidInputError``."""
    named = Profile() if title is None else Profile().named(_checked_title(title))
    return replace(named, metadata=_merged(named, _checked_changes(metadata)))


# --- arguments -------------------------------------------------------------------------------------------------------


def _checked_number(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInputError(f"{name} must be an integer from {least} to {most}, not {value!r}")


def _checked_title(title: Any) -> str:
    if not isinstance(title, str):
        raise InvalidInputError(f"title must be text or None, not {title!r}")
    line = one_line(title)
    if not line:
        raise InvalidInputError("title has no character that can be shown; None takes a title away")
    if len(line) > TITLE_LIMIT_CHARACTERS or len(line.encode()) > TITLE_LIMIT_BYTES:
        raise InvalidInputError(
            f"title has {len(line)} characters and {len(line.encode())} bytes; the most are "
            f"{TITLE_LIMIT_CHARACTERS} and {TITLE_LIMIT_BYTES}"
        )
    return line


def _checked_changes(metadata: Any) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise InvalidInputError(f"metadata must be values by name, not {metadata!r}")
    changes = dict(metadata)
    _metadata_text({name: value for name, value in changes.items() if value is not None})
    return changes


def _merged(profile: Profile, changes: Mapping[str, Any]) -> str:
    merged = {name: value for name, value in (profile.described() | dict(changes)).items() if value is not None}
    return _metadata_text(merged)


def _metadata_text(metadata: dict[str, Any]) -> str:
    try:
        text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"metadata is not JSON: {error}") from error
    if size > METADATA_LIMIT_BYTES:
        raise InvalidInputError(f"metadata has {size} bytes as JSON; the most is {METADATA_LIMIT_BYTES}")
    return text if metadata else NO_METADATA
