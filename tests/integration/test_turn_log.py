"""Turns by name in the head: begun with the lease, ended with the answer, recognised when they are delivered again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, RunHooks, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from openai_agents_session import DeadlineError, DynamoDBSession, LeaseUnavailableError
from openai_agents_session.conversations import Conversation
from openai_agents_session.storage.turn_log import (
    KEEP_TURNS,
    AlreadyDone,
    Awaiting,
    Held,
    NothingOpen,
    OtherRequest,
    Outcome,
)
from openai_agents_session.turn_journal import BLOCKED, INTERRUPTED, TurnJournal
from openai_agents_session.turns import delivery_of, history_of, named_turn
from tests.support.short_turns import Invocation, answer, said, take
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

Open = Callable[..., DynamoDBSession]


@pytest.fixture
def open_session(client: DynamoDBClient, table: str) -> Open:
    """Makes session objects as other invocations would."""
    return lambda session_id="ada": DynamoDBSession(session_id, client, table)


def call(call_id: str) -> dict[str, str]:
    return {"type": "function_call", "call_id": call_id, "name": "pay", "arguments": "{}"}


async def die(session: DynamoDBSession, name: str, text: str, items: list[Any]) -> None:
    """A turn that stores some items and ends without an answer."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what the turn dies in
        async with named_turn(session, Invocation(), delivery_of(name, text), [said(text)]) as met:
            assert isinstance(met, TurnJournal)
            if items:
                await session.add_items(items)
            raise ZeroDivisionError


async def test_a_turn_is_two_writes_and_is_recognised_afterwards(open_session: Open) -> None:
    assert await take(open_session(), "k", "hello") is None
    assert await open_session().get_items() == [said("hello"), answer("re hello")]
    met = await take(open_session(), "k", "hello")
    assert isinstance(met, AlreadyDone)
    assert met.turn.outcome is Outcome.ANSWERED
    assert await take(open_session(), "l", "another") is None
    assert await history_of(open_session(), met.turn) == [said("hello"), answer("re hello")]
    assert isinstance(await take(open_session(), "k", "another"), OtherRequest)
    assert isinstance(await take(open_session(), "m", "", continues=True), NothingOpen)


async def test_a_turn_of_a_known_session_makes_two_writes_and_reads_the_head_once(
    engine: Any, connect: Connect, table: str, open_session: Open
) -> None:
    await take(open_session(), "first", "hello")
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = await connect(proxy.url)
        await take(DynamoDBSession("ada", behind, table), "second", "hello again")
        assert [record.request.operation for record in proxy.records] == ["GetItem", "PutItem", "PutItem"]


async def test_while_a_turn_runs_others_are_told_and_their_own_delivery_is_known(open_session: Open) -> None:
    delivery = delivery_of("k", "hello")
    async with named_turn(open_session(), Invocation(20), delivery, [said("hello")]):
        same, other = await take(open_session(), "k", "hello"), await take(open_session(), "l", "x")
        assert isinstance(same, Held)
        assert isinstance(other, Held)
        assert (same.is_same, other.is_same) == (True, False)
        assert 19 < same.seconds <= 20
        with pytest.raises(LeaseUnavailableError):
            await open_session().add_items([said("x")])


@pytest.mark.parametrize("name", ["k", "l"])
async def test_a_turn_that_was_not_done_goes_on_without_its_message_being_said_twice(
    open_session: Open, name: str
) -> None:
    await die(open_session(), "k", "hello", [call("c1")])
    assert await take(open_session(), name, "hello") is None
    closed = {"type": "function_call_output", "call_id": "c1", "output": INTERRUPTED}
    assert await open_session().get_items() == [said("hello"), call("c1"), closed, answer("re hello")]
    for delivered in ("k", name):
        assert isinstance(await take(open_session(), delivered, "hello"), AlreadyDone)


async def test_another_request_closes_the_turn_that_was_not_done_and_begins_its_own(open_session: Open) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    await die(open_session(), "k", "hello", [answer("one moment"), thought])
    assert await take(open_session(), "l", "never mind") is None
    left = [said("hello"), answer("one moment"), said("never mind"), answer("re never mind")]
    assert await open_session().get_items() == left
    met = await take(open_session(), "k", "hello")
    assert isinstance(met, AlreadyDone)
    assert met.turn.outcome is Outcome.ABANDONED


async def test_a_run_that_waits_is_known_to_the_head_and_its_decision_continues_its_turn(open_session: Open) -> None:
    delivery = delivery_of("k", "refund")
    run_id = "0123456789abcdef"
    async with named_turn(open_session(), Invocation(), delivery, [said("refund")]) as met:
        assert isinstance(met, TurnJournal)
        await met.end(Outcome.WAITING, [call("c1")], waiting=run_id)
    waiting = await take(open_session(), "l", "well?")
    assert isinstance(waiting, Awaiting)
    assert waiting.run_id == run_id
    assert isinstance(await take(open_session(), "l", "approve", decides="fedcba9876543210"), NothingOpen)
    async with named_turn(open_session(), Invocation(), delivery_of("d", "approve", decides=run_id), []) as met:
        assert isinstance(met, TurnJournal)
        assert met.turn.first == 0
        await met.recall()
        assert met.tools == ["pay"]
        met.answered()
        await met.add_items([{"type": "function_call_output", "call_id": "c1", "output": "done"}, answer("done")])
    again = await take(open_session(), "k", "refund")
    assert isinstance(again, AlreadyDone)
    assert again.turn.outcome is Outcome.ANSWERED
    assert isinstance(await take(open_session(), "e", "approve again", decides=run_id), NothingOpen)


async def test_the_newest_turns_are_remembered_and_no_more(open_session: Open) -> None:
    for number in range(KEEP_TURNS + 1):
        assert await take(open_session(), f"k{number}", "hello") is None
    assert isinstance(await take(open_session(), "k1", "hello"), AlreadyDone)
    assert await take(open_session(), "k0", "hello") is None


async def test_what_a_cleared_session_owes_is_known_to_the_next_one_of_its_name(open_session: Open) -> None:
    await take(open_session(), "k", "hello")
    await open_session().clear_turns()
    assert await open_session().get_items() == []
    for _ in range(2):
        met = await take(open_session(), "k", "hello")
        assert isinstance(met, AlreadyDone)
        assert met.turn.outcome is Outcome.CLEARED
        await take(open_session(), "l", "anew")
    assert await open_session().get_items() == [said("anew"), answer("re anew")]
    await open_session().clear_turns()
    assert isinstance(await take(open_session(), "k", "hello"), AlreadyDone)
    assert isinstance(await take(open_session(), "l", "anew"), AlreadyDone)


@pytest.mark.parametrize("has_acted", [False, True])
async def test_a_blocked_message_is_not_read_again_and_what_was_done_for_it_is(
    open_session: Open, has_acted: bool
) -> None:
    await take(open_session(), "k", "hello")
    step = [call("c1"), {"type": "function_call_output", "call_id": "c1", "output": "paid"}] if has_acted else []
    session = open_session()
    async with named_turn(session, Invocation(), delivery_of("l", "bad"), [said("bad")]) as met:
        assert isinstance(met, TurnJournal)
        await session.add_items(step)
        await met.block()
    left = [said(BLOCKED), *step] if has_acted else []
    assert await open_session().get_items() == [said("hello"), answer("re hello"), *left]
    again = await take(open_session(), "l", "bad")
    assert isinstance(again, AlreadyDone)
    assert again.turn.outcome is Outcome.INPUT_BLOCKED


@pytest.mark.parametrize("greeting", [[], [answer("How can I help?")]], ids=["first", "after a greeting"])
async def test_a_blocked_message_gives_no_title(client: Any, table: str, greeting: list[Any]) -> None:
    """What a guardrail blocked is kept nowhere: a title that was taken from it goes too, and the next one counts."""
    session = DynamoDBSession("ada", client, table, owner="ada")
    await session.add_items(greeting)
    async with named_turn(session, Invocation(), delivery_of("k", "bad"), [said("bad")]) as met:
        assert isinstance(met, TurnJournal)
        await met.block()
    await session.add_items([said("hello")])
    info = await Conversation(session).info()
    assert info is not None
    assert info.title == "hello"


@pytest.mark.parametrize("number", [1, 2])
async def test_a_write_whose_answer_is_lost_is_the_turns_own(
    engine: Any, connect: Connect, table: str, open_session: Open, number: int
) -> None:
    await take(open_session(), "first", "hello")
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = await connect(proxy.url, attempts=1)
        proxy.on(number + 1, faults.drop_response)
        assert await take(DynamoDBSession("ada", behind, table), "k", "again") is None
    history = [said("hello"), answer("re hello"), said("again"), answer("re again")]
    assert await open_session().get_items() == history


# --- with the SDK ----------------------------------------------------------------------------------------------------


class Hooks(RunHooks[Any]):
    """What a run tells its journal."""

    def __init__(self, journal: TurnJournal) -> None:
        self._journal = journal

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        await self._journal.step(response)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        await self._journal.output(context.tool_call_id, result)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        self._journal.answered()


STEPS = [
    [assistant_message("First."), function_call("look", {"number": 1}, call_id="c1")],
    [function_call("pay", {"number": 2}, call_id="c2"), function_call("look", {"number": 3}, call_id="c3")],
    [assistant_message("Then."), function_call("pay", {"number": 4}, call_id="c4")],
    [assistant_message("Done.")],
]


def without_ids(items: list[Any]) -> list[Any]:
    """Items in an order that outputs of one step may come in, without what is drawn at random."""
    bare = [{name: value for name, value in item.items() if name != "id"} for item in items]
    return sorted(bare, key=lambda item: (str(item.get("call_id", "")), json.dumps(item, sort_keys=True)))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("without_effects", [(), ("look",), ("look", "pay")])
async def test_a_journalled_turn_leaves_the_history_that_the_sdk_would_have_written(
    open_session: Open, without_effects: tuple[str, ...], streamed: bool
) -> None:
    stored_when_paying: list[int] = []

    @function_tool
    async def pay(number: int) -> str:
        """Pay."""
        stored_when_paying.append(len(await open_session().get_items()))
        return f"paid {number}"

    @function_tool
    def look(number: int) -> str:
        """Look."""
        return f"seen {number}"

    def agent() -> Agent[None]:
        return Agent(name="Worker", model=ScriptedModel([list(step) for step in STEPS]), tools=[pay, look])

    await Runner.run(agent(), "go", session=open_session("plain"))
    stored_when_paying.clear()
    delivery = delivery_of("k", "go")
    async with named_turn(
        open_session(), Invocation(), delivery, [said("go")], without_effects=without_effects
    ) as journal:
        assert isinstance(journal, TurnJournal)
        options: dict[str, Any] = {"session": journal, "hooks": Hooks(journal)}
        if streamed:
            result = Runner.run_streamed(agent(), [], **options)
            async for _ in result.stream_events():
                pass
        else:
            await Runner.run(agent(), [], **options)
        assert journal.is_ended
        assert journal.tools == ["look", "pay", "look", "pay"]
    plain: list[Any] = await open_session("plain").get_items()
    journalled: list[Any] = await open_session().get_items()
    assert without_ids(journalled) == without_ids(plain)
    assert len(stored_when_paying) == 2
    if "pay" not in without_effects:
        assert stored_when_paying[0] >= 6  # the message, the first step, and both calls of the second


async def test_a_turn_that_is_cut_keeps_the_outputs_that_are_known(open_session: Open) -> None:

    @function_tool
    def pay(number: int) -> str:
        """Pay."""
        return f"paid {number}"

    @function_tool
    async def endless(number: int) -> str:
        """Never done."""
        await asyncio.sleep(3600)
        return "never"

    step = [function_call("pay", {"number": 1}, call_id="c1"), function_call("endless", {"number": 2}, call_id="c2")]
    agent: Agent[None] = Agent(name="Worker", model=ScriptedModel([step]), tools=[pay, endless])
    with pytest.raises(DeadlineError):  # noqa: PT012 - the block is what is cut
        async with named_turn(
            open_session(), Invocation(2), delivery_of("k", "go"), [said("go")], reserve_seconds=1
        ) as journal:
            assert isinstance(journal, TurnJournal)
            await Runner.run(agent, [], session=journal, hooks=Hooks(journal))
    items: list[Any] = await open_session().get_items()
    assert [item["output"] for item in items[3:]] == ["paid 1", INTERRUPTED]
    assert await take(open_session(), "k", "go") is None


@pytest.mark.parametrize(
    ("steps", "writes"),
    [(STEPS[3:], 2), (STEPS[:1] + STEPS[3:], 3), (STEPS[1:2] + STEPS[3:], 2 + 3), (STEPS[2:], 2 + 2)],
    ids=["no tool", "no effects", "two tools", "one tool"],
)
async def test_a_turn_costs_what_the_documentation_says(
    engine: Any, connect: Connect, table: str, open_session: Open, steps: list[Any], writes: int
) -> None:
    @function_tool
    def pay(number: int) -> str:
        """Pay."""
        return f"paid {number}"

    @function_tool
    def look(number: int) -> str:
        """Look."""
        return f"seen {number}"

    await take(open_session(), "first", "hello")
    agent: Agent[None] = Agent(name="Worker", model=ScriptedModel([list(step) for step in steps]), tools=[pay, look])
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        session = DynamoDBSession("ada", await connect(proxy.url), table)
        async with named_turn(
            session, Invocation(), delivery_of("k", "go"), [said("go")], without_effects=["look"]
        ) as journal:
            assert isinstance(journal, TurnJournal)
            await Runner.run(agent, [], session=journal, hooks=Hooks(journal))
        sent = [record.request.operation for record in proxy.records]
    assert sent[:3] == ["GetItem", "PutItem", "GetItem"]
    assert sent[3:] == ["PutItem"] * (writes - 1)
