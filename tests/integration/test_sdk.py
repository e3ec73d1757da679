"""The openai-agents SDK on our sessions: its own runner and wrappers, with a scripted model, against real engines."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, RunConfig, Runner, RunState, SessionSettings, function_tool, set_tracing_disabled
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession, Session, SQLiteSession
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cache import SHARED_CACHE, SegmentCache
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from tests.conftest import Connect

KEY = "a key of the tests, which protects nothing"


@pytest.fixture(autouse=True)
def _no_traces_and_nothing_cached() -> Iterator[None]:
    set_tracing_disabled(True)
    SHARED_CACHE.clear()
    yield
    set_tracing_disabled(False)


@pytest.fixture
def make(client: Any, table: str) -> Callable[..., DynamoDBSession]:
    """Makes session objects of one session, as a new one is made in each invocation."""

    def make(session_id: str = "s", *, client: Any = client, **settings: Any) -> DynamoDBSession:
        return DynamoDBSession(session_id, client, table, **settings)

    return make


# --- agents ----------------------------------------------------------------------------------------------------------


@function_tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


def transfers() -> tuple[Any, list[int]]:
    """A tool that needs approval, and what it did."""
    done: list[int] = []

    @function_tool(needs_approval=True)
    def transfer(amount: int) -> str:
        """Transfer an amount."""
        done.append(amount)
        return f"{amount} transferred"

    return transfer, done


def says(text: str) -> list[Any]:
    return [assistant_message(text)]


def asks(*cities: str, turn: str = "") -> list[Any]:
    return [function_call("weather", {"city": city}, call_id=f"call_{turn}{city}") for city in cities]


def agent(*steps: Sequence[Any], tools: Sequence[Any] = (weather,)) -> tuple[Agent[Any], ScriptedModel]:
    model = ScriptedModel(list(steps))
    return Agent(name="assistant", model=model, tools=list(tools)), model


async def run(session: Any, question: Any, *steps: Sequence[Any], **settings: Any) -> ScriptedModel:
    speaker, model = agent(*steps)
    await Runner.run(speaker, question, session=session, **settings)
    model.assert_complete()
    return model


def seen(model: ScriptedModel) -> list[str]:
    """What the model was given in its last call, in brief."""
    assert model.last_call is not None
    return brief(model.last_call.input)


def brief(items: Any) -> list[str]:
    return [_brief(item) for item in items]


def _brief(item: Any) -> str:
    if item.get("type") == "function_call":
        return f"call {item['call_id'].removeprefix('call_')}"
    if item.get("type") == "function_call_output":
        return f"output {item['call_id'].removeprefix('call_')}"
    if item.get("type") == "compaction":
        return "compaction"
    content = item["content"]
    return f"{item['role']}: {content if isinstance(content, str) else content[0]['text']}"


# --- the protocol ----------------------------------------------------------------------------------------------------


def test_a_session_is_one_to_the_sdk(make: Callable[..., DynamoDBSession]) -> None:
    assert isinstance(make(), Session)


# --- runs ------------------------------------------------------------------------------------------------------------


async def test_a_later_run_sees_the_earlier_ones(make: Callable[..., DynamoDBSession]) -> None:
    await run(make(), "one?", says("one"))
    await run(make(), "two?", says("two"))
    model = await run(make(), "three?", says("three"))
    earlier = ["user: one?", "assistant: one", "user: two?", "assistant: two", "user: three?"]
    assert seen(model) == earlier
    assert brief(await make().get_items()) == [*earlier, "assistant: three"]


async def test_what_is_stored_is_what_the_sdks_own_session_stores(make: Callable[..., DynamoDBSession]) -> None:
    theirs = SQLiteSession("s")
    try:
        for session in (make(), theirs):
            await run(session, "one?", says("one"))
            await run(session, "weather?", asks("Rome", "Oslo"), says("sunny"))
        assert await make().get_items() == await theirs.get_items()
    finally:
        theirs.close()


async def test_a_streamed_run_stores_what_a_plain_one_does(make: Callable[..., DynamoDBSession]) -> None:
    await run(make("plain"), "weather?", asks("Rome"), says("sunny"))
    speaker, _ = agent(asks("Rome"), says("sunny"))
    result = Runner.run_streamed(speaker, "weather?", session=make("streamed"))
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert await make("streamed").get_items() == await make("plain").get_items()


async def test_parallel_tools_are_stored_with_their_outputs(make: Callable[..., DynamoDBSession]) -> None:
    model = await run(make(), "weather?", asks("Rome", "Oslo", "Lima"), says("sunny"))
    history = brief(await make().get_items())
    assert history[0] == "user: weather?"
    assert sorted(history[1:-1]) == sorted(f"{kind} {city}" for kind in ("call", "output") for city in _CITIES)
    assert seen(model) == history[:-1]


_CITIES = ("Rome", "Oslo", "Lima")


async def test_a_run_whose_model_fails_keeps_the_question_once(make: Callable[..., DynamoDBSession]) -> None:
    failing = Agent(name="assistant", model=ScriptedModel([ModelStep.raise_error(RuntimeError("overloaded"))]))
    with pytest.raises(RuntimeError, match="overloaded"):
        await Runner.run(failing, "one?", session=make())
    assert brief(await make().get_items()) == ["user: one?"]


async def test_a_session_input_callback_shapes_what_the_model_sees_and_not_the_history(
    make: Callable[..., DynamoDBSession],
) -> None:
    for number in range(3):
        await run(make(), f"{number}?", says(f"{number}"))

    def last_only(history: list[Any], new: list[Any]) -> list[Any]:
        return history[-1:] + new

    model = await run(make(), "3?", says("3"), run_config=RunConfig(session_input_callback=last_only))
    assert seen(model) == ["assistant: 2", "user: 3?"]
    assert len(await make().get_items()) == 8


@pytest.mark.parametrize("where", ["run config", "session"])
async def test_a_limit_in_session_settings_bounds_what_the_model_sees(
    make: Callable[..., DynamoDBSession], where: str
) -> None:
    for number in range(3):
        await run(make(), f"{number}?", says(f"{number}"))
    settings = SessionSettings(limit=2)
    if where == "session":
        model = await run(make(session_settings=settings), "3?", says("3"))
    else:
        model = await run(make(), "3?", says("3"), run_config=RunConfig(session_settings=settings))
    assert seen(model) == ["user: 2?", "assistant: 2", "user: 3?"]
    assert len(await make().get_items()) == 8


async def test_with_a_limit_whole_tool_calls_leave_no_output_without_its_call(
    make: Callable[..., DynamoDBSession],
) -> None:
    await run(make(), "weather?", asks("Rome", "Oslo"), says("sunny"))
    # user, 2 calls, 2 outputs, assistant: 4 items begin between the calls, 3 with an output
    for limit, expected in ((4, []), (3, []), (6, ["user: weather?", *_ROME_AND_OSLO])):
        config = RunConfig(session_settings=SessionSettings(limit=limit))
        session = make(whole_tool_calls=True)
        given: list[Any] = []

        def look(history: list[Any], new: list[Any], given: list[Any] = given) -> list[Any]:
            given.extend(history)
            return history + new

        config.session_input_callback = look
        model = await run(session, "and?", says("more"), run_config=config)
        assert brief(given) == [*expected, "assistant: sunny"]
        assert seen(model) == [*expected, "assistant: sunny", "user: and?"]
        for _ in range(2):
            await session.pop_item()


_ROME_AND_OSLO = ["call Rome", "call Oslo", "output Rome", "output Oslo"]


# --- approvals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("approved", [True, False], ids=["approved", "rejected"])
async def test_an_approval_is_given_and_the_run_resumed_in_another_process(
    make: Callable[..., DynamoDBSession], connect: Connect, engine: Any, approved: bool, streamed: bool
) -> None:
    asking = [function_call("transfer", {"amount": 5}, call_id="call_t")]
    tool, done = transfers()
    for number in range(6):  # sealed segments stand before the call
        await run(make(options=SMALL), f"{number}? {'x' * 300}", says("y" * 300))
    speaker, _ = agent(asking, tools=[tool])
    result = await Runner.run(speaker, "send 5", session=make(options=SMALL))
    assert [call.name for call in result.interruptions] == ["transfer"]
    kept = json.dumps(result.to_state().to_json())

    SHARED_CACHE.clear()
    speaker, model = agent(says("done"), tools=[tool])
    state = await RunState.from_json(speaker, json.loads(kept))
    for call in state.get_interruptions():
        state.approve(call) if approved else state.reject(call)
    elsewhere = make(client=await connect(engine.endpoint_url), options=SMALL)
    if streamed:
        result = Runner.run_streamed(speaker, state, session=elsewhere)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(speaker, state, session=elsewhere)
    assert result.final_output == "done"
    assert done == ([5] if approved else [])
    history = brief(await make(options=SMALL).get_items())
    assert history[12:] == ["user: send 5", "call t", "output t", "assistant: done"]
    assert seen(model) == history[:-1]


SMALL = StorageOptions(item_bytes=600, head_bytes=512, part_bytes=2048, fan_out=3, patience_seconds=5)


# --- what a turn costs -----------------------------------------------------------------------------------------------


async def test_a_turn_of_a_short_session_is_three_requests(
    make: Callable[..., DynamoDBSession], connect: Connect, proxy: FaultProxy
) -> None:
    client = await connect(proxy.url)
    for number in range(4):
        proxy.reset()
        await run(make(client=client), f"{number}?", says(f"{number}"))
        assert proxy.operations == ["GetItem", "PutItem", "PutItem"]


async def test_a_tool_turn_of_a_short_session_is_one_request_more(
    make: Callable[..., DynamoDBSession], connect: Connect, proxy: FaultProxy
) -> None:
    client = await connect(proxy.url)
    await run(make(client=client), "weather?", asks("Rome"), says("sunny"))
    assert proxy.operations == ["GetItem", "PutItem", "PutItem", "PutItem"]


async def test_a_turn_of_a_long_warm_session_is_three_requests_and_a_seal_now_and_then(
    make: Callable[..., DynamoDBSession], connect: Connect, proxy: FaultProxy
) -> None:
    client = await connect(proxy.url)
    turns, question, answer = 60, "q" * 200, "a" * 800
    plain = 0
    for number in range(turns):
        proxy.reset()
        await run(make(client=client), f"{number} {question}", says(f"{number} {answer}"))
        operations = proxy.operations
        assert operations[0] == "GetItem"
        assert set(operations[1:]) <= {"PutItem"}  # warm: no part is read, not even to merge
        assert len(operations) <= 5  # at most every append seals
        plain += len(operations) == 3
    assert plain > turns / 2
    assert (await make().describe()).segments > 0


async def test_a_long_session_is_read_cold_in_two_round_trips(
    make: Callable[..., DynamoDBSession], connect: Connect, proxy: FaultProxy
) -> None:
    for number in range(40):
        await make().add_items([{"role": "user", "content": f"{number} {'x' * 2000}"}])
    cold = make(client=await connect(proxy.url), options=StorageOptions(cache=SegmentCache()))
    model = await run(cold, "and?", says("more"))
    assert len(seen(model)) == 41
    assert proxy.operations[:2] == ["GetItem", "BatchGetItem"]
    assert set(proxy.operations[2:]) == {"PutItem"}


# --- encryption ------------------------------------------------------------------------------------------------------


async def test_an_encrypted_session_stores_nothing_readable(make: Callable[..., DynamoDBSession]) -> None:
    for number in range(3):
        await run(EncryptedSession("s", make(), KEY), f"secret {number}", says(f"hidden {number}"))
    model = await run(EncryptedSession("s", make(), KEY), "weather?", asks("Rome"), says("sunny"))
    assert seen(model)[:2] == ["user: secret 0", "assistant: hidden 0"]
    stored = await make().get_items()
    assert len(stored) == 10
    assert {item["__enc__"] for item in stored} == {1}
    assert "secret" not in json.dumps(stored)
    assert await EncryptedSession("s", make(), KEY).pop_item() == {**says("sunny")[0].model_dump(exclude_unset=True)}


async def test_an_encrypted_session_honours_a_limit(make: Callable[..., DynamoDBSession]) -> None:
    for number in range(3):
        await run(EncryptedSession("s", make(), KEY), f"{number}?", says(f"{number}"))
    config = RunConfig(session_settings=SessionSettings(limit=2))
    model = await run(EncryptedSession("s", make(), KEY), "3?", says("3"), run_config=config)
    assert seen(model) == ["user: 2?", "assistant: 2", "user: 3?"]


# --- compaction ------------------------------------------------------------------------------------------------------


class Responses:
    """Stands in for OpenAI's client, which needs the network: compacts any history to a summary.

    Args:
        size: Of the summary, in characters.
        meanwhile: Awaited while the API "works".
    """

    def __init__(self, size: int = 20, meanwhile: Callable[[], Any] | None = None) -> None:
        self.responses = self
        self.requests: list[Any] = []
        self._size = size
        self._meanwhile = meanwhile

    async def compact(self, **request: Any) -> Any:
        """Answer as ``responses.compact`` does."""
        self.requests.append(request)
        if self._meanwhile is not None:
            await self._meanwhile()
        return SimpleNamespace(output=summary(self._size), usage=None)


def summary(size: int = 20) -> list[dict[str, Any]]:
    return [{"type": "compaction", "id": "cmp_1", "encrypted_content": "c" * size}]


def compacting(underlying: Any, client: Responses, after: int = 4) -> OpenAIResponsesCompactionSession:
    return OpenAIResponsesCompactionSession(
        "s",
        underlying,
        client=client,  # type: ignore[arg-type]
        should_trigger_compaction=lambda context: len(context["compaction_candidate_items"]) >= after,
    )


class PublicOnly:
    """A session with the public protocol alone."""

    def __init__(self, session: DynamoDBSession) -> None:
        self.session_id = session.session_id
        self.session_settings = session.session_settings
        self.get_items = session.get_items
        self.add_items = session.add_items
        self.pop_item = session.pop_item
        self.clear_session = session.clear_session


@pytest.mark.parametrize("options", [StorageOptions(), SMALL], ids=["one item", "sealed"])
@pytest.mark.parametrize("hooks", ["offered", "no snapshot type", "public protocol only"])
async def test_a_run_compacts_the_history_and_goes_on_from_it(
    make: Callable[..., DynamoDBSession], monkeypatch: pytest.MonkeyPatch, options: StorageOptions, hooks: str
) -> None:
    if hooks == "no snapshot type":
        monkeypatch.delattr("agents.memory.session._CompactionSnapshot")

    def session() -> Any:
        return make(options=options) if hooks != "public protocol only" else PublicOnly(make(options=options))

    client = Responses()
    for number in range(4):
        await run(compacting(session(), client), f"{number}? {'x' * 200}", says(f"{number}"))
    assert len(client.requests) == 1
    assert brief(await make(options=options).get_items()) == ["compaction"]
    model = await run(compacting(session(), client), "4?", says("4"))
    assert seen(model) == ["compaction", "user: 4?"]
    assert brief(await make(options=options).get_items()) == ["compaction", "user: 4?", "assistant: 4"]


@pytest.mark.parametrize("automatic", [True, False], ids=["by a run", "by hand"])
async def test_the_hooks_replace_the_history_with_one_write(
    make: Callable[..., DynamoDBSession], connect: Connect, proxy: FaultProxy, automatic: bool
) -> None:
    session = make(client=await connect(proxy.url))
    await run(session, "0?", says("0"))
    client = Responses(meanwhile=lambda: asyncio.sleep(0, proxy.reset()))
    if automatic:
        await run(compacting(session, client, after=2), "1?", says("1"))
    else:
        await compacting(session, client).run_compaction({"force": True})
    assert proxy.operations.count("PutItem") == 1
    assert set(proxy.operations) <= {"GetItem", "PutItem"}  # a clear would delete


async def test_a_bounded_window_compacts_its_suffix_and_leaves_the_rest(make: Callable[..., DynamoDBSession]) -> None:
    client = Responses()
    for number in range(6):
        await run(make(options=SMALL), f"{number}? {'x' * 200}", says(f"{number}"))
    config = RunConfig(session_settings=SessionSettings(limit=4))
    await run(compacting(make(options=SMALL), client, after=3), "6?", says("6"), run_config=config)
    assert len(client.requests) == 1
    history = brief(await make(options=SMALL).get_items())
    assert history[:2] == [f"user: 0? {'x' * 200}", "assistant: 0"]
    assert history[-1] == "compaction"
    assert len(history) == 9


async def test_a_history_that_changed_while_the_api_worked_is_not_replaced(
    make: Callable[..., DynamoDBSession],
) -> None:
    async def another_writer() -> None:
        await make().add_items([{"role": "user", "content": "meanwhile"}])

    await run(make(), "0?", says("0"))
    await run(compacting(make(), Responses(meanwhile=another_writer), after=2), "1?", says("1"))
    assert brief(await make().get_items()) == [
        *("user: 0?", "assistant: 0", "user: 1?", "assistant: 1"),
        "user: meanwhile",
    ]


async def test_an_encrypted_session_around_compaction_stores_the_summary_encrypted(
    make: Callable[..., DynamoDBSession],
) -> None:
    client = Responses()

    def session() -> EncryptedSession:
        return EncryptedSession("s", compacting(make(), client), KEY)

    for number in range(4):
        await run(session(), f"{number}?", says(f"{number}"))
    assert len(client.requests) == 1
    assert "secret" not in json.dumps(await make().get_items())
    assert {item["__enc__"] for item in await make().get_items()} == {1}
    assert brief(await session().get_items()) == ["compaction"]


@pytest.mark.parametrize("expired", [2, 3, 6, 7], ids=lambda count: f"{count} of 8")
async def test_compaction_reclaims_encrypted_items_that_expired_at_the_beginning(
    make: Callable[..., DynamoDBSession], expired: int
) -> None:
    """The SDK hands the store a predicate for it."""
    items = [{"role": "user", "content": f"{number} {'x' * 200}"} for number in range(10)]
    session = make(options=SMALL)
    await session.add_items(items)
    gone = items[:expired]
    snapshot = await session._get_compaction_snapshot(4, prune_prefix=lambda item: item in gone)
    assert (snapshot.items, snapshot.complete) == (items[6:], False)
    assert await snapshot.replace_suffix(2, summary())
    reclaimed = min(expired, 8) if expired >= 4 else 0  # fewer are not worth rewriting the others
    assert await make(options=SMALL).get_items() == items[reclaimed:8] + summary()


# --- compaction, killed ----------------------------------------------------------------------------------------------

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["tests.integration.test_sdk"])


def compact_once(url: str, table: str, size: int, automatic: bool, hooks: bool) -> None:
    """A process that has the history compacted."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    set_tracing_disabled(True)

    async def compact() -> None:
        async with DynamoDBSession.connect("s", table, endpoint_url=url, options=SMALL) as session:
            wrapped = compacting(session if hooks else PublicOnly(session), Responses(size), after=1)
            if automatic:
                await run(wrapped, "last?", says("last"))
            else:
                await wrapped.run_compaction({"force": True})

    asyncio.run(compact())


async def _compacted(
    url: str, table: str, size: int, automatic: bool, hooks: bool, started: Callable[[int], None]
) -> int:
    """Run ``compact_once`` in a process; its exit code."""
    process = _fork.Process(target=compact_once, args=(url, table, size, automatic, hooks))
    process.start()
    assert process.pid is not None
    started(process.pid)
    await asyncio.to_thread(process.join, 60)
    code = process.exitcode
    process.close()
    assert code is not None
    return code


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("automatic", "size"), [(True, 20_000), (False, 20)], ids=["by a run, a large summary", "by hand, a small one"]
)
async def test_killed_anywhere_the_history_is_the_old_or_the_new_one(
    make: Callable[..., DynamoDBSession], proxy: FaultProxy, table: str, automatic: bool, size: int
) -> None:
    question, answer = "user: last?", "assistant: last"
    old = [{"role": "user", "content": f"{number} {'x' * 150}"} for number in range(8)]
    allowed = [brief(old)]
    if automatic:  # the run first adds the question, then the answer
        allowed += [[*brief(old), question], [*brief(old), question, answer]]
    outcomes: set[str] = set()
    number = 0
    while True:
        number += 1
        for fault in (faults.kill_before, faults.kill_after):
            await make(options=SMALL).clear_session()
            await make(options=SMALL).add_items(old)
            pids: list[int] = []
            proxy.reset()
            proxy.on(number, fault(lambda pids=pids: os.kill(pids[0], signal.SIGKILL)))
            code = await _compacted(proxy.url, table, size, automatic, True, pids.append)
            session = make(options=SMALL)
            history = await session.get_items()
            if code == 0:
                assert history == summary(size)
                assert len(proxy.operations) < number
                assert outcomes == {"old", "new"}
                return
            assert code == -signal.SIGKILL
            assert history == summary(size) or brief(history) in allowed
            outcomes.add("new" if history == summary(size) else "old")
            await session.add_items([{"role": "user", "content": "on it goes"}])  # and the session goes on
            assert await make(options=SMALL).get_items() == [*history, {"role": "user", "content": "on it goes"}]


async def test_without_the_hooks_a_kill_can_lose_the_history(
    make: Callable[..., DynamoDBSession], proxy: FaultProxy, table: str
) -> None:
    """That is what the hooks are for, and it shows that the test above could fail."""
    old = [{"role": "user", "content": f"{number} {'x' * 150}"} for number in range(8)]
    await make().add_items(old)
    pids: list[int] = []
    proxy.on("DeleteItem", faults.kill_after(lambda: os.kill(pids[0], signal.SIGKILL)))
    assert await _compacted(proxy.url, table, 20, False, False, pids.append) == -signal.SIGKILL
    assert await make().get_items() == []
