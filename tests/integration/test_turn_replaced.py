"""A turn in place of what followed an earlier message, and a turn that somebody else stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, LeaseLostError
from openai_agents_session.conversations import Conversation, State
from openai_agents_session.storage.turn_log import AlreadyDone
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
