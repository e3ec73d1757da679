"""Conversations: listed, named, rewound, forked, redacted and accounted for, on every engine."""

from __future__ import annotations

import asyncio
import base64
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import (
    DynamoDBSession,
    IndexNotFoundError,
    InvalidInputError,
    LeaseUnavailableError,
    SessionExistsError,
    SessionNotFoundError,
    StorageOptions,
    WrongOwnerError,
    create_table_if_not_exists,
)
from openai_agents_session.conversations import Conversation, ConversationInfo, list_conversations
from openai_agents_session.runs import PendingCall, PendingRuns
from openai_agents_session.storage.table import IndexEntry
from tests.support.contract import TINY, message, messages
from tests.support.script import stored_items, unknown_parts
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

DAY = 86_400
START = 1_800_000_000


@dataclass
class Book:
    """The conversations of a table, at a time that the test moves.

    Attributes:
        client: A client of the engine.
        table: A table with the index.
        now: Unix time.
        ids: The sessions that were made, in no order.
    """

    client: DynamoDBClient
    table: str
    now: float = START
    ids: list[str] = field(default_factory=list)

    def options(self, layout: StorageOptions = TINY) -> StorageOptions:
        return replace(layout, clock=lambda: self.now)

    def session(self, session_id: str, owner: str | None = "ada", **others: Any) -> DynamoDBSession:
        layout = others.pop("layout", TINY)
        return DynamoDBSession(session_id, self.client, self.table, owner=owner, options=self.options(layout), **others)

    def conversation(self, session_id: str, owner: str | None = "ada", **others: Any) -> Conversation:
        return Conversation(self.session(session_id, owner, **others))

    async def say(self, session_id: str, text: str = "Hello", owner: str | None = "ada", **others: Any) -> None:
        await self.session(session_id, owner, **others).add_items([{"role": "user", "content": text}])

    async def listed(self, owner: str = "ada", **how: Any) -> list[ConversationInfo]:
        """All pages, read through their cursors."""
        found: list[ConversationInfo] = []
        cursor = None
        while True:
            page = await list_conversations(
                self.client, self.table, owner, cursor=cursor, options=self.options(), **how
            )
            assert len(page.conversations) <= how.get("limit", 20)
            found += page.conversations
            if page.cursor is None:
                return found
            cursor = page.cursor

    async def ids_of(self, owner: str = "ada", **how: Any) -> list[str]:
        return [one.session_id for one in await self.listed(owner, **how)]

    async def index(self, owner: str = "ada") -> dict[str, IndexEntry]:
        table = self.session("x")._table
        entries, _ = await table.read_index(owner, None, 100, self.session("x")._store.budget())
        return {entry.session_id: entry for entry in entries}


@pytest.fixture
async def book(client: DynamoDBClient) -> Book:
    name = f"sessions-{uuid.uuid4().hex}"
    await create_table_if_not_exists(client, name, with_index=True)
    return Book(client, name)


# --- the list --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize("limit", [1, 3, 7, 50])
async def test_the_list_is_in_the_order_of_activity(book: Book, limit: int) -> None:
    """Whatever was written when, pages of any size give each conversation once, newest activity first, to the ms."""
    chance = random.Random(limit)
    last: dict[str, float] = {}
    for _ in range(60):
        book.now += chance.choice([0.001, 0.002, 0.7, 40, 7_000, 50_000, 3 * DAY])
        session_id = f"s{chance.randrange(18)}"
        await book.say(session_id)
        last[session_id] = book.now
    found = await book.listed(limit=limit)
    assert [one.session_id for one in found] == sorted(last, key=lambda name: -last[name])
    assert [one.updated_at for one in found] == pytest.approx([last[one.session_id] for one in found], abs=0.0011)


async def test_many_of_one_moment_are_each_listed_once(book: Book) -> None:
    """Conversations with the same millisecond have an order, too: no page repeats or loses one."""
    await asyncio.gather(*(book.say(f"s{number:02}") for number in range(25)))
    assert await book.ids_of(limit=4) == [f"s{number:02}" for number in range(24, -1, -1)]


async def test_a_conversation_in_the_list(book: Book) -> None:
    """The list tells title, times, number of items, metadata and expiry, also of conversations with parts."""
    session = book.session("s", ttl_seconds=5 * DAY)
    await session.add_items([{"role": "user", "content": "Where is\n Lisbon?"}])
    await Conversation(session).update(metadata={"project": "travel"})
    book.now += 100.25
    for number in range(20):
        await session.add_items([message(number, 300)])
    (found,) = await book.listed()
    assert (found.session_id, found.title, found.owner) == ("s", "Where is Lisbon?", "ada")
    assert (found.created, found.updated_at) == (START, START + 100.25)
    assert (found.items, found.ttl) == (21, START + 100 + 5 * DAY)
    assert found.metadata == {"project": "travel"}
    assert found == await Conversation(session).info()


async def test_only_ones_own(book: Book) -> None:
    """The list of an owner has no conversation of anybody else's, nor of nobody's, nor what lies beside sessions."""
    await book.say("mine")
    await book.say("his", owner="bob")
    await book.say("nobody's", owner=None)
    runs = PendingRuns(book.session("mine"))
    await runs.park("state", [PendingCall("c", "tool", "{}")])
    assert await book.ids_of() == ["mine"]
    assert await book.ids_of("bob") == ["his"]
    assert await book.ids_of("ada ") == []


async def test_a_session_that_changes_hands_is_not_shown_to_the_one_before(book: Book) -> None:
    """What the index says is checked against the head: an entry that is late shows nobody another's conversation."""
    await book.say("s", "my secret")
    (entry,) = (await book.index()).values()
    await book.session("s").clear_session()
    await book.say("s", "his secret", owner="bob")
    await book.client.put_item(
        TableName=book.table,
        Item={
            "session_id": {"S": "stale"},
            "owner": {"S": "ada"},
            "active": {"N": str(entry.active)},
        },
    )
    assert [one.is_damaged for one in await book.listed()] == [True]
    assert await book.ids_of("bob") == ["s"]


async def test_what_is_not_listed(book: Book) -> None:
    """Cleared, emptied and expired conversations are in no list; one that begins again is."""
    for name in ("cleared", "popped", "stays"):
        await book.say(name)
    await book.say("expires", ttl_seconds=60)
    assert len(await book.listed()) == 4
    await book.session("cleared").clear_session()
    await book.session("popped").pop_item()
    book.now += 60
    assert await book.ids_of() == ["stays"]
    assert set(await book.index()) == {"stays", "expires"}
    await book.say("popped")
    await book.say("expires")
    assert set(await book.ids_of()) == {"popped", "expires", "stays"}


async def test_a_damaged_conversation_hides_none(book: Book) -> None:
    """A head that cannot be read is in the list, marked, and everything else is as it was."""
    for name in ("a", "b", "c"):
        await book.say(name)
        book.now += 1
    await book.client.update_item(
        TableName=book.table,
        Key={"session_id": {"S": "b"}},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"B": b"garbage"}},
    )
    found = await book.listed()
    assert [(one.session_id, one.is_damaged) for one in found] == [("c", False), ("b", True), ("a", False)]


async def test_activity_between_two_pages(book: Book) -> None:
    """What has no activity between two pages is on one of them, once."""
    for number in range(12):
        await book.say(f"s{number:02}")
        book.now += DAY / 3
    first = await list_conversations(book.client, book.table, "ada", limit=5, options=book.options())
    await book.say("s02")
    await book.say("new")
    second = await list_conversations(
        book.client, book.table, "ada", limit=50, cursor=first.cursor, options=book.options()
    )
    found = [one.session_id for one in (*first.conversations, *second.conversations)]
    assert found == [f"s{number:02}" for number in range(11, -1, -1) if number != 2]


async def test_search(book: Book) -> None:
    """A search gives the conversations whose titles hold all its words, in any case, wherever they are in the list."""
    for number, title in enumerate(["Trip to LISBON", "Taxes", "Straße nach Lisbon", "lisbon", "Trip"]):
        await book.say(f"s{number}", title)
        book.now += DAY
    assert await book.ids_of(search="lisbon", limit=1) == ["s3", "s2", "s0"]
    assert await book.ids_of(search=" TRIP  lisbon ") == ["s0"]
    assert await book.ids_of(search="STRASSE") == ["s2"]
    assert await book.ids_of(search="nothing") == []


async def test_without_the_index(client: DynamoDBClient, table: str) -> None:
    """A table without the index does everything else, and the list says how to add it; added, it has what was there."""
    book = Book(client, table)
    await book.say("s")
    conversation = book.conversation("s")
    await conversation.rename("Named")
    await conversation.fork("copy")
    await conversation.redact(0)
    await conversation.rewind(0)
    assert (await conversation.info()).items == 0
    with pytest.raises(IndexNotFoundError, match=r"add-index.*with_index=True"):
        await book.listed()
    await create_table_if_not_exists(client, table, with_index=True)
    await create_table_if_not_exists(client, table, with_index=True)
    assert await book.ids_of() == ["copy"]


async def test_a_cursor_of_somebody_elses_making(book: Book) -> None:
    """Whatever is no cursor of the list is refused, and what is one shows only the asker's own conversations."""
    for owner in ("ada", "bob"):
        for number in range(3):
            await book.say(f"{owner}{number}", owner=owner)
            book.now += 1
    page = await list_conversations(book.client, book.table, "bob", limit=2, options=book.options())
    assert page.cursor
    stolen = await list_conversations(book.client, book.table, "ada", cursor=page.cursor, options=book.options())
    assert all(one.owner == "ada" for one in stolen.conversations)
    crafted = [f'[1,[1,"{name}"],null]' for name in ("\\ud800", "x" * 3_000)]
    encoded = [base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in crafted]
    cursor: Any
    for cursor in (
        *("", "x", "A" * 10_000, page.cursor[:-3], page.cursor + "AAAA", "WzEsbnVsbCxbIngiLDFdXQ", 7, "é"),
        *encoded,
    ):
        with pytest.raises(InvalidInputError, match="cursor"):
            await list_conversations(book.client, book.table, "ada", cursor=cursor)


async def test_bad_arguments_of_the_list(book: Book) -> None:
    """A limit, an owner or a search that is not one is refused before anything is asked."""
    bad: Any
    for bad in (0, -1, 201, 1.5, True, "3", None):
        with pytest.raises(InvalidInputError, match="limit"):
            await list_conversations(book.client, book.table, "ada", limit=bad)
    for bad in (None, "", "x" * 600, 7, "\ud800"):
        with pytest.raises(InvalidInputError, match="owner"):
            await list_conversations(book.client, book.table, bad)
    for bad in (7, "x" * 300):
        with pytest.raises(InvalidInputError, match="search"):
            await list_conversations(book.client, book.table, "ada", search=bad)


# --- titles and metadata ---------------------------------------------------------------------------------------------


async def test_the_title_is_taken_from_the_first_question(book: Book) -> None:
    """The first question that has text gives the title; later ones do not change it; encrypted items give none."""
    await book.session("s").add_items([{"role": "assistant", "content": "Welcome"}])
    assert (await book.conversation("s").info()).title is None
    await book.say("s", "  What is\u2028the capital of Portugal?  ")
    await book.say("s", "And of Spain?")
    assert (await book.conversation("s").info()).title == "What is the capital of Portugal?"
    await book.session("e").add_items([{"__enc__": 1, "payload": "x"}])  # type: ignore[list-item]
    assert (await book.conversation("e").info()).title is None


async def test_a_name_is_no_activity(book: Book) -> None:
    """A new name or metadata change neither the place in the list, nor the expiry, nor the history."""
    await book.say("a", ttl_seconds=1_000)
    for number in range(9):
        await book.session("a", ttl_seconds=1_000).add_items([message(number, 200)])
    book.now += 5
    await book.say("b")
    book.now += 100
    before = await book.conversation("a").info()
    history = await book.session("a").get_items()
    for operator in (book.conversation("a"), book.conversation("a", None), book.conversation("a", ttl_seconds=7)):
        after = await operator.update(title="Named", metadata={"a": 1})
        assert (after.title, after.metadata) == ("Named", {"a": 1})
        assert (after.updated_at, after.ttl, after.items) == (before.updated_at, before.ttl, before.items)
    assert await book.ids_of() == ["b", "a"]
    assert [one.title for one in await book.listed()] == ["Hello", "Named"]
    assert await book.session("a").get_items() == history
    assert (await book.index())["a"].title == "Named"


async def test_metadata_is_merged(book: Book) -> None:
    """Metadata that is given is merged into what there is; None removes a value; the whole is bounded."""
    await book.say("s")
    conversation = book.conversation("s")
    await conversation.update(metadata={"a": 1, "b": {"c": ["é", None, True]}})
    await conversation.update(metadata={"a": None, "d": "x"})
    expected = {"b": {"c": ["é", None, True]}, "d": "x"}
    assert (await conversation.update(metadata={})).metadata == expected
    bad: Any
    for bad in ({"e": "x" * 480}, {"e": b"x"}, {"e": float("nan")}, {1: "x"}, ["a"], "text", {"e": "\ud800"}):
        with pytest.raises(InvalidInputError, match="metadata"):
            await conversation.update(metadata=bad)
    await book.say("s")
    assert (await conversation.info()).metadata == expected


async def test_bad_titles(book: Book) -> None:
    """A title that is no text, too long, or shows nothing is refused, and the old one stays."""
    await book.say("s")
    conversation = book.conversation("s")
    bad: Any
    for bad in ("", " \n", "\u200b\u202e", "x" * 101, "中" * 90, 7, b"x", "\ud800"):
        with pytest.raises(InvalidInputError, match="title"):
            await conversation.rename(bad)
    assert (await conversation.info()).title == "Hello"
    assert (await conversation.rename(" a\tb\u2029c\u202e\x07 ")).title == "a b c"
    assert (await conversation.rename(None)).title is None
    await book.say("s", "Another question")
    assert (await conversation.info()).title == "Another question"


async def test_there_is_nothing_to_name(book: Book) -> None:
    """What is not there, has expired or is another's is not named, copied or rewound, and nothing is left."""
    await book.say("expired", ttl_seconds=1)
    await book.say("bob's", owner="bob")
    book.now += 1
    before = await stored_items(book.client, book.table)
    for name in ("absent", "expired"):
        conversation = book.conversation(name)
        with pytest.raises(SessionNotFoundError, match=name):
            await conversation.rename("x")
        with pytest.raises(SessionNotFoundError, match=name):
            await conversation.rewind(0)
        with pytest.raises(SessionNotFoundError, match=name):
            await conversation.fork()
        with pytest.raises(SessionNotFoundError, match=name):
            await conversation.info()
        with pytest.raises(SessionNotFoundError, match=name):
            await conversation.redact(0)
    other = book.conversation("bob's")
    for work in (other.info, lambda: other.rename("x"), lambda: other.rewind(0), other.fork, lambda: other.redact(0)):
        with pytest.raises(WrongOwnerError):
            await work()
    with pytest.raises(WrongOwnerError):
        await other.history()
    assert await stored_items(book.client, book.table) == before


async def test_a_running_turn_is_renamed_and_goes_on(book: Book) -> None:
    """While a turn runs, the name may be changed, and nothing else; the turn's next write goes through."""
    session = book.session("s")
    await session.add_items(messages(0, 3))
    other = book.conversation("s")
    async with session.lease(30):
        await other.rename("Named")
        for work in (lambda: other.rewind(1), lambda: other.redact(0)):
            with pytest.raises(LeaseUnavailableError):
                await work()
        await session.add_items(messages(3, 1))
        assert await Conversation(session).rewind(2) == 2
    assert await book.session("s").get_items() == messages(0, 2)
    assert (await other.info()).title == "Named"


# --- what it costs ---------------------------------------------------------------------------------------------------


async def _write_many(book: Book, owner: str, many: int, a_day: int) -> None:
    """So many conversations of an owner, so many a day, each a copy of one but for its id and times."""
    await book.say("template", owner=owner)
    (template,) = [
        item for item in await stored_items(book.client, book.table) if item["session_id"]["S"] == "template"
    ]
    await book.session("template", None).clear_session()
    requests = []
    for number in range(many):
        second = START + DAY * (number // a_day) + number % a_day
        copy = {"session_id": {"S": f"{owner}-{number:05}"}, "updated_at": {"N": str(second)}}
        requests.append({"PutRequest": {"Item": {**template, **copy, "active": {"N": str(1000 * second)}}}})
    batches = [requests[start : start + 25] for start in range(0, many, 25)]
    for start in range(0, len(batches), 8):
        await asyncio.gather(
            *(book.client.batch_write_item(RequestItems={book.table: batch}) for batch in batches[start : start + 8])  # type: ignore[dict-item]
        )


@pytest.mark.parametrize("a_day", [10, 100_000])
@pytest.mark.timeout(300)
async def test_the_first_page_costs_the_same_however_many_there_are(
    engine: Engine, book: Book, connect: Any, a_day: int
) -> None:
    """Ten thousand conversations of one owner, on many days or on one: a page takes as many requests as of few."""
    counts = []
    for many in (1_200, 10_000 if engine.name == "dynoxide" else 2_400):
        owner = f"owner-{many}"
        await _write_many(book, owner, many, a_day)
        async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
            behind = await connect(proxy.url)
            page = await list_conversations(behind, book.table, owner, limit=20, options=book.options())
            counts.append(dict(Counter(proxy.operations)))
        assert [one.session_id for one in page.conversations] == [f"{owner}-{many - 1 - n:05}" for n in range(20)]
        assert page.cursor
        following = await list_conversations(
            book.client, book.table, owner, limit=20, cursor=page.cursor, options=book.options()
        )
        assert following.conversations[0].session_id == f"{owner}-{many - 21:05}"
    assert (
        counts[0] == counts[1] == ({"Query": 1, "BatchGetItem": 1} if a_day == 10 else {"Query": 2, "BatchGetItem": 10})
    )


@pytest.mark.needs("index units")
async def test_an_append_costs_the_same_with_the_index(book: Book, client: DynamoDBClient, table: str) -> None:
    """Every append but the first of a day writes the same units with the index as without, by the engine's count."""
    plain = Book(client, table)
    spent: dict[str, list[tuple[float, float]]] = {book.table: [], table: []}

    def count(parsed: Any, **_: Any) -> None:
        told = parsed.get("ConsumedCapacity")
        if told:
            of_index = sum(one["CapacityUnits"] for one in told.get("GlobalSecondaryIndexes", {}).values())
            spent[told["TableName"]].append((told["Table"]["CapacityUnits"], of_index))

    def ask(params: Any, **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "INDEXES"

    client.meta.events.register("provide-client-params.dynamodb.PutItem", ask)
    client.meta.events.register("after-call.dynamodb.PutItem", count)
    numbers = iter(range(1_000))
    for day in range(3):
        for _ in range(12):
            number = next(numbers)
            for one in (book, plain):
                one.now = START + day * DAY + number
                await one.session("s", layout=StorageOptions()).add_items([message(number, 400)])
    with_index, without = spent[book.table], spent[table]
    assert [units for units, _ in with_index] == [units for units, _ in without]
    assert [index for _, index in with_index if index] == [1, 2, 2]
    assert sum(units for units, _ in without) > 36


# --- rewinding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [TINY, StorageOptions(), StorageOptions(single_item=True)])
async def test_rewind(book: Book, layout: StorageOptions) -> None:
    """The first so many items stay, wherever they lie, in one write; and the conversation goes on from there."""
    session = book.session("s", layout=layout)
    for start in range(0, 40, 2):
        await session.add_items(messages(start, 2, 250))
    for keep, left in ((100, 40), (40, 40), (33, 33), (7, 7), (1, 1), (0, 0)):
        before = len(await session.get_items())
        assert await book.conversation("s", layout=layout).rewind(keep) == before - left
        assert await session.get_items() == messages(0, left, 250)
    await session.add_items(messages(50, 1))
    assert await book.session("s").get_items() == messages(50, 1)
    assert await unknown_parts(book.client, book.table) == []


def a_step(number: int) -> list[Any]:
    """A question, reasoning, two calls, their outputs, and an answer."""
    calls = [f"call_{number}_{which}" for which in "ab"]
    return [
        {"role": "user", "content": f"Question {number}"},
        {"type": "reasoning", "id": f"rs_{number}", "summary": []},
        *({"type": "function_call", "call_id": call, "name": "tool", "arguments": "{}"} for call in calls),
        *({"type": "function_call_output", "call_id": call, "output": "1"} for call in calls),
        {"role": "assistant", "content": f"Answer {number}"},
    ]


async def test_no_step_is_cut_in_two(book: Book) -> None:
    """A history ends neither between a call and its output nor after reasoning; the error says where it may end."""
    history = [item for number in range(3) for item in a_step(number)]
    session = book.session("s")
    for start in range(0, 21, 3):
        await session.add_items(history[start : start + 3])
    conversation = book.conversation("s")
    whole = {number * 7 + place for number in range(3) for place in (0, 1, 6)} | {21}
    for keep in range(20, 0, -1):
        if keep in whole:
            await conversation.fork(f"fork-{keep}", keep=keep)
            assert await book.session(f"fork-{keep}").get_items() == history[:keep]
            continue
        before, after = max(p for p in whole if p < keep), min(p for p in whole if p > keep)
        for work in (lambda keep=keep: conversation.rewind(keep), lambda keep=keep: conversation.fork(keep=keep)):
            with pytest.raises(InvalidInputError, match=f"Keep {before} items, or {after}"):
                await work()
        assert await session.get_items() == history
    for keep in sorted(whole, reverse=True):
        await conversation.rewind(keep)
        assert await session.get_items() == history[:keep]


async def test_an_output_without_a_call_keeps_nobody_from_rewinding(book: Book) -> None:
    """An output that answers no call is no step that could be cut."""
    history: list[Any] = [*messages(0, 3), {"type": "function_call_output", "call_id": "x", "output": "1"}]
    await book.session("s").add_items(history)
    assert await book.conversation("s").rewind(2) == 2


async def test_rewinding_to_the_beginning_forgets_the_question(book: Book) -> None:
    """A title that was taken from a question goes with it, and the edited question gives one; a given title stays."""
    await book.say("s", "Mispelled question")
    conversation = book.conversation("s")
    await conversation.rewind(0)
    assert (await conversation.info()).title is None
    await book.say("s", "Question")
    assert (await conversation.info()).title == "Question"
    await conversation.rename("Mine")
    await conversation.rewind(0)
    await book.say("s", "Another")
    assert (await conversation.info()).title == "Mine"


async def test_a_run_that_waits_goes_with_its_question(book: Book) -> None:
    """A rewind over a run that waits for approval discards it."""
    await book.session("s").add_items(messages(0, 4))
    runs = PendingRuns(book.session("s"))
    await runs.park("state", [PendingCall("c", "tool", "{}")])
    await book.conversation("s").rewind(4)
    assert await runs.get() is not None
    await book.conversation("s").rewind(3)
    assert await runs.get() is None


async def test_bad_positions(book: Book) -> None:
    """A position that is no number of items is refused."""
    await book.session("s").add_items(messages(0, 3))
    conversation = book.conversation("s")
    bad: Any
    for bad in (-1, 1.0, True, "1", None, 1 << 60):
        with pytest.raises(InvalidInputError, match="keep"):
            await conversation.rewind(bad)
        with pytest.raises(InvalidInputError, match="position"):
            await conversation.redact(bad)
    for bad in (0, -1, 4, True, "1"):
        with pytest.raises(InvalidInputError):
            await conversation.fork(keep=bad)
    with pytest.raises(InvalidInputError, match="no item at 3; it has 3"):
        await conversation.redact(3)
    assert await book.session("s").get_items() == messages(0, 3)


# --- forking ---------------------------------------------------------------------------------------------------------


async def test_a_redaction_in_a_copy_takes_the_title_that_quotes_the_item(book: Book) -> None:
    """What a copy's title quotes of its first question goes with it; a title that was given stays."""
    session = book.session("s")
    await session.add_items([{"role": "user", "content": "My number is 4711"}])
    copy = await Conversation(session).fork()
    assert copy.title == "My number is 4711 (copy)"
    second = await Conversation(book.session(copy.session_id)).fork()
    assert second.title == "My number is 4711 (copy 2)"
    named = await Conversation(session).fork(title="Numbers")
    for one, title in ((copy, None), (second, None), (named, "Numbers")):
        conversation = Conversation(book.session(one.session_id))
        await conversation.redact(0)
        assert (await conversation.info()).title == title


@pytest.mark.parametrize(
    "layout", [TINY, replace(TINY, compress=False), StorageOptions(), StorageOptions(single_item=True)]
)
@pytest.mark.parametrize("ttl_seconds", [None, 3_600])
async def test_fork(book: Book, layout: StorageOptions, ttl_seconds: int | None) -> None:
    """A fork has the first items, the metadata and a title that says so, in parts of its own; both go on apart."""
    session = book.session("s", layout=layout, ttl_seconds=ttl_seconds)
    for start, size in ((0, 40), (2, 300), (4, 9_000), (6, 20), (8, 700)):
        await session.add_items(messages(start, 2, size))
    history = await session.get_items()
    conversation = Conversation(session)
    await conversation.update(title="Mine", metadata={"a": 1})
    for keep in (1, 4, 6, 10, None):
        copy = await conversation.fork(keep=keep)
        forked = book.session(copy.session_id, layout=layout, ttl_seconds=ttl_seconds)
        kept = history[:keep]
        assert await forked.get_items() == kept
        assert (copy.title, copy.metadata, copy.items, copy.owner) == ("Mine (copy)", {"a": 1}, len(kept), "ada")
        assert copy == await Conversation(forked).info()
        for number in range(9):
            await forked.add_items([message(90 + number, 300)])
        assert await forked.get_items() == [*kept, *(message(90 + number, 300) for number in range(9))]
        assert await session.get_items() == history
    await session.clear_session()
    assert len(await book.listed()) == 5
    assert await unknown_parts(book.client, book.table) == []
    for one in await book.listed():
        await book.session(one.session_id).clear_session()
    assert await stored_items(book.client, book.table) == []


async def test_a_fork_writes_over_nothing(book: Book) -> None:
    """A fork under an id that is in use is refused; of several at once under one id, one is stored."""
    await book.session("s").add_items(messages(0, 9, 300))
    await book.say("used")
    await book.say("bob's", owner="bob")
    conversation = book.conversation("s")
    for name in ("used", "bob's", "s"):
        before = await stored_items(book.client, book.table)
        with pytest.raises((SessionExistsError, WrongOwnerError)):
            await conversation.fork(name)
        assert await stored_items(book.client, book.table) == before
    for name in ("", "a#~b", "x" * 3_000):
        with pytest.raises(InvalidInputError, match="session_id"):
            await conversation.fork(name)
    outcomes = await asyncio.gather(
        *(book.conversation("s").fork("copy", title=f"{number}") for number in range(6)), return_exceptions=True
    )
    stored = [one for one in outcomes if isinstance(one, ConversationInfo)]
    assert len(stored) == 1
    assert all(isinstance(one, (ConversationInfo, SessionExistsError)) for one in outcomes)
    assert (await book.conversation("copy").info()).title == stored[0].title


async def test_a_fork_too_large_for_a_transaction(book: Book) -> None:
    """What one transaction does not hold is forked all the same, whole, and without an end that it should not have."""
    layout = replace(TINY, part_bytes=1_024, compress=False)
    session = book.session("s", layout=layout)
    for start in range(0, 12, 2):
        await session.add_items(messages(start, 2, 12_000))
    copy = await Conversation(session).fork("copy")
    assert copy.ttl is None
    assert await book.session("copy", layout=layout).get_items() == messages(0, 12, 12_000)
    parts = [item for item in await stored_items(book.client, book.table) if "generation" in item]
    assert len(parts) > 200
    assert not any("ttl" in part for part in parts)
    assert await unknown_parts(book.client, book.table) == []


async def test_a_fork_over_what_was_left(book: Book) -> None:
    """Under an id whose session was emptied, or left parts, a fork is stored whole."""
    session = book.session("s")
    await session.add_items(messages(0, 9, 900))
    left = book.session("left")
    await left.add_items(messages(0, 9, 900))
    await left.add_items(messages(0, 9, 900))
    await book.client.delete_item(TableName=book.table, Key={"session_id": {"S": "left"}})
    await book.session("emptied").add_items(messages(0, 1))
    await book.session("emptied").pop_item()
    for name in ("left", "emptied"):
        await Conversation(session).fork(name)
        assert await book.session(name).get_items() == messages(0, 9, 900)


# --- redacting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [TINY, StorageOptions(), StorageOptions(single_item=True)])
@pytest.mark.parametrize("ttl_seconds", [None, 3_600])
async def test_redact(book: Book, layout: StorageOptions, ttl_seconds: int | None) -> None:
    """One item says the notice, and everything else is as it was: it is no activity."""
    chance = random.Random(1)
    session = book.session("s", layout=layout, ttl_seconds=ttl_seconds)
    history: list[Any] = []
    for number in range(18):
        batch = [
            {"role": "user", "content": f"secret-{number}-{'x' * chance.choice([10, 400, 3_000])}"},
            message(number),
        ]
        await session.add_items(batch)
        history += batch
    before = await Conversation(session).info()
    book.now += 60
    layout = replace(layout, compress=False)
    for number in (17, 0, 9, 9, 3):
        operator = book.conversation("s", None, layout=layout)
        first = history[2 * number]["content"] != "gone"
        assert await operator.redact(2 * number, notice="gone") is first
        history[2 * number] = {"role": "user", "content": "gone"}
        assert await book.session("s").get_items() == history
        after = await operator.info()
        assert replace(after, title=None) == replace(before, title=None)
    assert (await book.conversation("s").info()).title is None
    assert await unknown_parts(book.client, book.table) == []


async def test_nothing_redacted_is_left_in_the_table(book: Book) -> None:
    """After a redaction no item of the table, live or garbage, holds what was said, nor does the title."""
    layout = replace(TINY, compress=False, fan_out=2)
    session = book.session("s", layout=layout)
    for number in range(14):
        await session.add_items([{"role": "user", "content": f"secret-{number}-" + "x" * 150}])
    for number in range(14):
        assert _holds(await stored_items(book.client, book.table), f"secret-{number}-")
        await Conversation(session).redact(number)
        assert not _holds(await stored_items(book.client, book.table), f"secret-{number}-")
    assert [item["content"] for item in await session.get_items()] == ["[redacted]"] * 14  # type: ignore[typeddict-item]


def _holds(items: list[Any], text: str) -> bool:
    values = [value for item in items for attribute in item.values() for value in attribute.values()]
    return any(text.encode() in (value.encode() if isinstance(value, str) else bytes(value)) for value in values)


async def test_a_run_that_waits_is_decided_before_a_redaction(book: Book) -> None:
    """The state of a run that waits holds what was said: the redaction is refused and says what to do."""
    await book.session("s").add_items(messages(0, 4))
    runs = PendingRuns(book.session("s"))
    await runs.park("state", [PendingCall("c", "tool", "{}")])
    with pytest.raises(InvalidInputError, match="decide on it or discard it"):
        await book.conversation("s").redact(0)
    await runs.discard()
    assert await book.conversation("s").redact(0)


# --- a history by pages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [TINY, StorageOptions()])
@pytest.mark.parametrize(("limit", "max_bytes"), [(1, 10**6), (7, 10**6), (200, 3_000), (5, 700), (200, 10**7)])
async def test_a_history_page_by_page(book: Book, layout: StorageOptions, limit: int, max_bytes: int) -> None:
    """Pages of any size, read backwards, give the history once, within their bounds, whatever is appended meanwhile."""
    session = book.session("s", layout=layout)
    chance = random.Random(3)
    history: list[Any] = []
    for _ in range(30):
        batch = messages(len(history), chance.randint(1, 3), chance.choice([20, 200, 2_000]))
        await session.add_items(batch)
        history += batch
    conversation, total = Conversation(session), len(history)
    pages = [await conversation.history(limit=limit, max_bytes=max_bytes)]
    while (before := pages[0].before) is not None:
        await session.add_items([message(999)])
        pages.insert(0, await conversation.history(before=before, limit=limit, max_bytes=max_bytes))
        assert len(pages[0].items) == 1 or sum(len(str(item)) for item in pages[0].items) <= max_bytes
        assert 0 < len(pages[0].items) <= limit
    assert [item for page in pages for item in page.items] == history
    assert pages[-1].total == total
    assert [page.first for page in pages] == [sum(len(one.items) for one in pages[:n]) for n in range(len(pages))]


async def test_a_large_item_hides_none(book: Book) -> None:
    """An item of 5 MB is a page of its own; the items before and after it are on pages of theirs."""
    session = book.session("s", layout=StorageOptions())
    large = {"role": "user", "content": "x" * 5_000_000}
    history: list[Any] = [*messages(0, 3), large, *messages(3, 3)]
    await session.add_items(history)
    conversation = Conversation(session)
    newest = await conversation.history(limit=50)
    assert (newest.items, newest.first) == (history[4:], 4)
    alone = await conversation.history(before=newest.before)
    assert (alone.items, alone.first) == ([large], 3)
    oldest = await conversation.history(before=alone.before)
    assert (oldest.items, oldest.before) == (history[:3], None)
    assert (await conversation.history(before=0)).items == []


async def test_bytes_as_they_will_be_sent(book: Book) -> None:
    """A caller who sends items in another form measures them in it."""
    await book.session("s").add_items(messages(0, 6))
    page = await book.conversation("s").history(max_bytes=3, size_of=lambda item: 1)
    assert page.items == messages(3, 3)
