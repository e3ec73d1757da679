"""A turn in place of what followed an earlier message, and a turn that somebody else stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import (
    DynamoDBSession,
    LeaseLostError,
    LeaseUnavailableError,
    StorageOptions,
    WrongOwnerError,
)
from openai_agents_session.conversations import NOT_COPIED, Conversation, State
from openai_agents_session.storage.turn_log import AlreadyDone, Changed, NothingOpen, Outcome
from openai_agents_session.turn_journal import TurnJournal
from openai_agents_session.turns import delivery_of, named_turn
from tests.support.short_turns import Invocation, answer, said, take
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

Open = Callable[..., DynamoDBSession]


@pytest.fixture
def open_session(client: DynamoDBClient, table: str) -> Open:
    return lambda session_id="ada", **options: DynamoDBSession(session_id, client, table, **options)


def talk(*texts: str) -> list[Any]:
    return [item for text in texts for item in (said(text), answer(f"re {text}"))]


async def test_what_follows_a_message_is_replaced_in_the_write_that_begins_the_turn(
    engine: Any, connect: Connect, table: str, open_session: Open
) -> None:
    """An edit costs no request more than any turn."""
    for text in ("one", "two", "three"):
        await take(open_session(), text, text)
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = await connect(proxy.url)
        await take(DynamoDBSession("ada", behind, table), "k", "2", keep=2)
        assert [record.request.operation for record in proxy.records] == ["GetItem", "PutItem", "PutItem"]
    assert await open_session().get_items() == talk("one", "2")


async def test_an_edit_that_is_delivered_again_is_done(open_session: Open) -> None:
    """The second delivery is told of the first, and takes nothing of what was said since."""
    await take(open_session(), "k", "one")
    assert await take(open_session(), "e", "1", keep=0) is None
    await take(open_session(), "l", "two")
    assert isinstance(await take(open_session(), "e", "1", keep=0), AlreadyDone)
    assert await open_session().get_items() == talk("1", "two")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("fault", [faults.drop_response, faults.drop_request], ids=["answer lost", "request lost"])
async def test_an_edit_of_which_anything_is_lost_happens_once(
    engine: Any, connect: Connect, table: str, open_session: Open, number: int, fault: Any
) -> None:
    """Whichever request or answer is lost, the history is that of one edit."""
    for text in ("one", "two"):
        await take(open_session(), text, text)
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = await connect(proxy.url, attempts=1)
        proxy.on(number + 1, fault)
        assert await take(DynamoDBSession("ada", behind, table), "k", "1", keep=0) is None
    assert await open_session().get_items() == talk("1")


async def test_an_edit_that_died_goes_on_and_cuts_no_more(open_session: Open) -> None:
    """Its history is cut and its message stored; delivered again it is answered, and nothing is cut twice."""
    for text in ("one", "two", "three"):
        await take(open_session(), text, text)
    with pytest.raises(ZeroDivisionError):
        async with named_turn(open_session(), Invocation(), delivery_of("k", "2 2"), [said("2")], keep=2):
            raise ZeroDivisionError
    assert await open_session().get_items() == [*talk("one"), said("2")]
    assert await take(open_session(), "k", "2", keep=2) is None
    assert await open_session().get_items() == talk("one", "2")


async def test_an_edit_after_a_turn_that_died_takes_that_away_too(open_session: Open) -> None:
    """What a turn left that was not done is put in order and then cut."""
    await take(open_session(), "one", "one")
    with pytest.raises(ZeroDivisionError):
        async with named_turn(open_session(), Invocation(), delivery_of("k", "two"), [said("two")]):
            raise ZeroDivisionError
    assert await take(open_session(), "e", "1", keep=0) is None
    assert await open_session().get_items() == talk("1")


async def test_a_long_history_is_cut_where_its_parts_are_not(open_session: Open) -> None:
    """An edit in the middle of what is sealed keeps what is before it, whole."""
    items = [item for number in range(300) for item in talk(f"{number} " + "x" * 400)]
    for first in range(0, len(items), 60):
        await open_session().add_items(items[first : first + 60])
    assert await take(open_session(), "k", "again", keep=250) is None
    assert await open_session().get_items() == [*items[:250], *talk("again")]


async def test_the_first_question_names_the_conversation_also_when_it_is_edited(open_session: Open) -> None:
    """A title that was taken from a question goes with it; one that was given stays."""
    await take(open_session(owner="ada"), "k", "one")
    await take(open_session(owner="ada"), "e", "another", keep=0)
    assert (await Conversation(open_session(owner="ada")).info()).title == "another"
    await Conversation(open_session(owner="ada")).rename("Given")
    await take(open_session(owner="ada"), "f", "a third", keep=0)
    assert (await Conversation(open_session(owner="ada")).info()).title == "Given"


async def test_a_turn_that_is_stopped_writes_nothing_more(open_session: Open) -> None:
    """Its next write is refused, what it had stored stays, and the conversation is free at once."""
    session = open_session()
    with pytest.raises(LeaseLostError):  # noqa: PT012 - the block is what is stopped
        async with named_turn(session, Invocation(), delivery_of("k", "hello"), [said("hello")]) as met:
            assert isinstance(met, TurnJournal)
            assert (await Conversation(open_session()).history()).state is State.RUNNING
            assert await Conversation(open_session()).stop()
            assert (await Conversation(open_session()).history()).state is State.UNFINISHED
            met.answered()
            await met.add_items([answer("too late")])
    assert await open_session().get_items() == [said("hello")]
    assert await take(open_session(), "l", "anew") is None
    assert await open_session().get_items() == [said("hello"), *talk("anew")]


async def test_where_no_turn_runs_there_is_nothing_to_stop(open_session: Open) -> None:
    """Stop then writes nothing, and makes no session."""
    assert not await Conversation(open_session("nobody")).stop()
    assert not (await open_session("nobody").describe()).exists
    await take(open_session(), "k", "hello")
    assert not await Conversation(open_session()).stop()
    assert (await Conversation(open_session()).history()).state is State.IDLE


async def test_a_page_of_the_history_tells_what_is_known_of_the_conversation(open_session: Open) -> None:
    """Title, turns and state come with the items, for the same read."""
    await take(open_session(owner="ada"), "k", "one")
    await take(open_session(owner="ada"), "l", "two")
    page = await Conversation(open_session(owner="ada")).history(limit=1)
    assert page.info is not None
    assert (page.info.title, page.total, page.state) == ("one", 4, State.IDLE)
    assert [(turn.first, turn.last) for turn in page.turns] == [(0, 2), (2, 4)]
    assert (await Conversation(open_session("nobody")).history()).info is None


@pytest.mark.parametrize("change", ["message", "rewind", "clear", "none"])
async def test_an_edit_is_based_on_the_history_that_was_read(open_session: Open, change: str) -> None:
    """What was answered meanwhile is not cut away: the edit is told that the session has changed, and does nothing."""
    for text in ("one", "two"):
        await take(open_session(), text, text)
    page = await Conversation(open_session()).history()
    match change:
        case "message":
            await take(open_session(), "m", "between")
        case "rewind":
            await Conversation(open_session()).rewind(2)
        case "clear":
            await open_session().clear_session()
    before = await open_session().get_items()
    edit = delivery_of("e", "2")
    async with named_turn(open_session(), Invocation(), edit, [said("2")], keep=2, revision=page.revision) as met:
        assert isinstance(met, Changed) is (change != "none")
    if change != "none":
        assert await open_session().get_items() == before


async def test_an_edit_that_died_goes_on_whatever_it_was_based_on(open_session: Open) -> None:
    """Its own write has changed the session: delivered again, it is the same turn."""
    await take(open_session(), "one", "one")
    page = await Conversation(open_session()).history()
    options: Any = {"keep": 0, "revision": page.revision}
    with pytest.raises(ZeroDivisionError):
        async with named_turn(open_session(), Invocation(), delivery_of("e", "1"), [said("1")], **options):
            raise ZeroDivisionError
    async with named_turn(open_session(), Invocation(), delivery_of("e", "1"), [said("1")], **options) as met:
        assert isinstance(met, TurnJournal)


async def begun_and_left(session: DynamoDBSession) -> None:
    async with named_turn(session, Invocation(), delivery_of("k", "two"), [said("two")]) as met:
        assert isinstance(met, TurnJournal)
        await met.add_items([answer("half")])
        raise ZeroDivisionError


@pytest.mark.parametrize("keep", [0, 2, 3])
async def test_a_rewind_ends_a_turn_that_was_not_done(open_session: Open, keep: int) -> None:
    """What it stored is gone: delivered again it has no effects again, and nothing is left to continue."""
    await take(open_session(), "one", "one")
    with pytest.raises(ZeroDivisionError):
        await begun_and_left(open_session())
    conversation = Conversation(open_session())
    assert (await conversation.history()).state is State.UNFINISHED
    await conversation.rewind(keep)
    assert (await conversation.history()).state is State.IDLE
    again = await take(open_session(), "k", "two")
    assert isinstance(again, AlreadyDone)
    assert again.turn.outcome is Outcome.CLEARED
    async with named_turn(open_session(), Invocation(), delivery_of("c", "", continues=True), []) as met:
        assert isinstance(met, NothingOpen)
    assert await open_session().get_items() == [*talk("one"), said("two")][:keep]


async def test_a_conversation_in_which_a_turn_runs_is_not_copied(open_session: Open) -> None:
    """Its last step may not be whole."""
    await take(open_session(), "one", "one")
    async with named_turn(open_session(), Invocation(), delivery_of("k", "two"), [said("two")]):
        with pytest.raises(LeaseUnavailableError):
            await Conversation(open_session()).fork("copy")
    assert await open_session("copy").get_items() == []


async def test_a_copy_has_no_call_without_an_output(open_session: Open) -> None:
    """A turn that was stopped is the original's: in the copy its calls have outputs that say so."""
    call = {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": "{}"}

    async def stopped() -> None:
        async with named_turn(open_session(), Invocation(), delivery_of("k", "one"), [said("one")]) as met:
            assert isinstance(met, TurnJournal)
            await met.add_items([call])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stopped()
    copy = await Conversation(open_session()).fork("copy")
    assert copy.items == 3
    items = await open_session("copy").get_items()
    assert items[:2] == [said("one"), call]
    assert items[2] == {"type": "function_call_output", "call_id": "c1", "output": NOT_COPIED}


async def test_nobody_reaches_what_belongs_to_somebody(open_session: Open) -> None:
    """With ``unowned_only`` a session object without an owner is kept from those that have one, and from no other."""
    await open_session("hers", owner="ada").add_items(talk("secret"))
    await open_session("nobodys").add_items(talk("open"))
    nobody = {"options": StorageOptions(unowned_only=True, cache=None)}
    assert await open_session("nobodys", **nobody).get_items() == talk("open")
    await open_session("new", **nobody).add_items(talk("new"))
    hers = open_session("hers", **nobody)
    for attempt in (hers.get_items, hers.pop_item, hers.clear_session, Conversation(hers).fork, hers.describe):
        with pytest.raises(WrongOwnerError):
            await attempt()
    for attempt in (hers.add_items(talk("mine")), Conversation(hers).rewind(0), Conversation(hers).rename("x")):
        with pytest.raises(WrongOwnerError):
            await attempt
    assert await open_session("hers", owner="ada").get_items() == talk("secret")
