"""A fork is all or nothing, whatever becomes of its requests and of its process; so is a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, OutcomeUnknownError, SessionError
from openai_agents_session.conversations import Conversation, Usage
from tests.support.script import FORKS, History, fork_of, read, stored_items
from tests.support.worker import Job, Worker, Workers
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Connect = Callable[..., Awaitable["DynamoDBClient"]]
_MOST_REQUESTS = 12


class Original:
    """A session that is forked, time and again."""

    def __init__(self, name: str, client: DynamoDBClient, table: str) -> None:
        self.options, steps = FORKS[name]
        self.client, self.table = client, table
        self.add, self.fork = steps
        self.history: History = ()
        self.before: list[Any] = []

    async def stored(self) -> Original:
        await self.add.perform(self.session(self.client))
        self.history = self.add.ids
        self.before = await stored_items(self.client, self.table)
        return self

    def session(self, client: DynamoDBClient, session_id: str = "s", *, patience: float = 1.0) -> DynamoDBSession:
        """The session; with more patience where the trouble ends, which a busy machine may need."""
        options = replace(self.options, patience_seconds=patience)
        return DynamoDBSession(session_id, client, self.table, options=options)

    async def is_forked(self) -> bool:
        """Whether there is a fork, which is whole; without one, the table is as it was. The fork is removed."""
        fork = self.session(self.client, fork_of("s"))
        found = await read(fork)
        if not found:
            assert await stored_items(self.client, self.table) == self.before
            return False
        assert found == self.history[: self.fork.number]
        await fork.clear_session()
        assert _by_key(await stored_items(self.client, self.table)) == _by_key(self.before)
        return True


def _by_key(items: list[Any]) -> dict[str, Any]:
    return {item["session_id"]["S"]: item for item in items}


@pytest.fixture(params=list(FORKS))
async def original(request: pytest.FixtureRequest, client: DynamoDBClient, table: str) -> Original:
    return await Original(request.param, client, table).stored()


@pytest.mark.parametrize("name", list(faults.FAULTS))
@pytest.mark.parametrize("times", [1, 3, 1_000])
async def test_a_disturbed_fork_is_whole_or_nothing(
    original: Original, quick_proxy: FaultProxy, connect: Connect, name: str, times: int
) -> None:
    """Each request of a fork lost, its answer lost, throttled or failed: there is all of it, or nothing."""
    behind = await connect(quick_proxy.url, attempts=1)
    for struck in range(1, _MOST_REQUESTS):
        session = original.session(behind)
        count = await _forked(original, session, quick_proxy, faults.FAULTS[name], struck, times)
        if count < struck:
            return
    raise AssertionError("a fork makes more requests than are tried here")


async def _forked(
    original: Original, session: DynamoDBSession, proxy: FaultProxy, fault: faults.Fault, struck: int, times: int
) -> int:
    """Fork with a request disturbed. How many requests there were before and with it."""
    seen = 0

    def strikes(_: faults.Request) -> bool:
        nonlocal seen
        seen += 1
        return struck <= seen < struck + times

    proxy.reset()
    proxy.on(strikes, fault, times=1 << 30)
    try:
        await original.fork.perform(session)
    except OutcomeUnknownError:
        await original.is_forked()
    except SessionError:
        assert not await original.is_forked(), "an error that is certain means that nothing was stored"
    else:
        assert await original.is_forked()
    return seen


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_fork_killed_at_any_request_is_whole_or_nothing(
    original: Original, request: pytest.FixtureRequest, quick_proxy: FaultProxy, when: str
) -> None:
    """A process that dies at any request of a fork leaves a whole fork, or a table in which nothing of it is."""
    name: str = request.node.callspec.params["original"]
    kills: dict[str, Callable[[Worker], faults.Fault]] = {"before": faults.kill_before, "after": faults.kill_after}  # type: ignore[dict-item]
    outcomes = []
    async with Workers.start() as workers:
        for struck in range(1, _MOST_REQUESTS):
            seen = 0

            def strikes(_: faults.Request, struck: int = struck) -> bool:
                nonlocal seen
                seen += 1
                return seen == struck

            worker = workers.fork(Job(quick_proxy.url, original.table, "s", name, (1,)))
            quick_proxy.reset()
            quick_proxy.on(strikes, kills[when](worker.kill))  # type: ignore[arg-type]
            said = await worker.outcome()
            forked = await original.is_forked()
            if said:
                assert forked
                assert seen < struck
                break
            outcomes.append(forked)
    assert outcomes
    assert outcomes[-1] is (when == "after")
    assert not any(outcomes[:-1])


async def test_a_fork_under_a_new_id_survives_a_lost_answer(
    original: Original, quick_proxy: FaultProxy, connect: Connect
) -> None:
    """Nobody else knows a random id: a fork whose answer is lost is there once, and returned."""
    behind = await connect(quick_proxy.url, attempts=1)
    is_write: Sequence[str] = ("PutItem", "TransactWriteItems")
    for fault in faults.FAULTS.values():
        quick_proxy.reset()
        quick_proxy.on(lambda request: request.operation in is_write, fault, times=2)
        copy = await Conversation(original.session(behind, patience=20.0)).fork(keep=original.fork.number)
        forked = original.session(original.client, copy.session_id)
        assert await read(forked) == original.history[: original.fork.number]
        await forked.clear_session()
        assert _by_key(await stored_items(original.client, original.table)) == _by_key(original.before)


@pytest.mark.parametrize("name", list(faults.FAULTS))
async def test_a_name_whose_answer_is_lost_is_given_once(
    original: Original, quick_proxy: FaultProxy, connect: Connect, name: str
) -> None:
    """A disturbed rename is made, and what was used is counted once."""
    behind = await connect(quick_proxy.url, attempts=1)
    conversation = Conversation(original.session(behind, patience=20.0))
    for number in range(1, 4):
        quick_proxy.reset()
        quick_proxy.on(lambda request: request.operation == "PutItem", faults.FAULTS[name], times=number)
        info = await conversation.rename(f"Name {number}")
        assert info.title == f"Name {number}"
        quick_proxy.reset()
        quick_proxy.on(lambda request: request.operation == "PutItem", faults.FAULTS[name], times=number)
        await conversation.count_usage(Usage(1, 10, 0, 5, 0))
        assert (await conversation.info()).usage == Usage(number, 10 * number, 0, 5 * number, 0)
    assert await read(original.session(original.client)) == original.history
