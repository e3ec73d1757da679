"""Exactly once: whatever becomes of a request, a batch is stored once, or the caller hears an error.

Each test disturbs the requests of single steps of `tests.support.script`, every step from the state that the script had
reached by then. By default some of the (many) trials are made on each engine, spread evenly; `--exhaustive` makes all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from openai_agents_session import (
    ContentionError,
    DynamoDBSession,
    OutcomeUnknownError,
    SessionError,
    UnavailableError,
)
from openai_agents_session.storage.receipts import KEEP
from tests.support.script import (
    DEFAULT,
    SCRIPTS,
    TINY,
    Disturbances,
    Point,
    Rehearsal,
    Stage,
    Step,
    Straggler,
    at_once,
    batch,
    consistent,
    read,
    stored_items,
    unknown_parts,
)
from tools.emulation import faults
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

T = TypeVar("T")
Connect = Callable[..., Awaitable["DynamoDBClient"]]
Rehearse = Callable[[str], Awaitable[Rehearsal]]
Sample = Callable[[Sequence[T], int], Sequence[T]]

NEXT = Step("add", batch("next", 1, 100))
NOTHING_DONE = (UnavailableError, ContentionError)


class Bench:
    """A script's stages on one engine, behind a proxy."""

    def __init__(
        self, rehearsal: Rehearsal, client: DynamoDBClient, behind: DynamoDBClient, proxy: FaultProxy, table: str
    ) -> None:
        self.stages, self.points = rehearsal.stages, rehearsal.points
        self.client, self.behind, self.table = client, behind, table
        self.retrying = behind
        self.disturbances = Disturbances(proxy)
        self.trials = 0

    def new_id(self) -> str:
        self.trials += 1
        return f"trial-{self.trials}"

    async def ready(
        self, point: Point, *, patience_seconds: float | None = None, attempts: int = 1
    ) -> tuple[str, DynamoDBSession]:
        """A session at that stage, behind the proxy; a warm one knows its head already."""
        session_id, stage = self.new_id(), point.stage
        await stage.set_up(self.client, self.table, session_id)
        behind = self.behind if attempts == 1 else self.retrying
        session = stage.session(behind, self.table, session_id, patience_seconds)
        if point.warm:
            assert await read(session) == stage.history
        return session_id, session

    async def other(self, stage: Stage, session_id: str) -> DynamoDBSession:
        """Another writer of the session, not behind the proxy."""
        return stage.session(self.client, self.table, session_id)

    async def goes_on(self, stage: Stage, session: DynamoDBSession, allowed: set[tuple[str, ...]]) -> None:
        """The history is one of those allowed, whole; and the session object goes on from it."""
        self.disturbances.set(session.session_id)
        other = await self.other(stage, session.session_id)
        seen = await read(other)
        assert seen in allowed, (stage.number, stage.step.kind, seen, allowed)
        await NEXT.perform(session)
        assert await read(other) == NEXT.apply(seen)


@pytest.fixture(params=list(SCRIPTS))
async def bench(
    request: pytest.FixtureRequest,
    client: DynamoDBClient,
    connect: Connect,
    quick_proxy: FaultProxy,
    table: str,
    rehearse: Rehearse,
) -> Bench:
    """The script on tiny and on default options, behind a client that never retries by itself."""
    behind = await connect(quick_proxy.url, attempts=1)
    return Bench(await rehearse(request.param), client, behind, quick_proxy, table)


@pytest.fixture
async def retrying(bench: Bench, quick_proxy: FaultProxy, connect: Connect) -> Bench:
    """The same, with a client that retries as botocore's does by default."""
    bench.retrying = await connect(quick_proxy.url, attempts=3)
    return bench


async def test_a_disturbed_request_changes_nothing_for_the_caller(bench: Bench, sample: Sample[Any]) -> None:
    """Each request lost, its answer lost, throttled or failed, once or three times on end: the step is done once.

    The first write of a session is told to be unknown where its answer is lost: no later look at an absent session can
    tell "not yet" from "landed, and cleared since".
    """
    cases = [(point, name, times) for times in (1, 3) for name in faults.FAULTS for point in bench.points]

    async def trial(point: Point, name: str, times: int) -> None:
        stage = point.stage
        session_id, session = await bench.ready(point)
        disturbed = bench.disturbances.set(session_id, faults.FAULTS[name], point.request, times)
        allowed = {stage.step.apply(stage.history)}
        try:
            assert await stage.step.perform(session) == stage.step.result(stage.history), (point, name)
            assert disturbed.requests > point.request
        except OutcomeUnknownError:
            assert not stage.stored, (point, name)
            assert name != "throttled"
            allowed.add(stage.history)
        await bench.goes_on(stage, session, allowed)

    await at_once(lambda case=case: trial(*case) for case in sample(cases, 100))
    assert await unknown_parts(bench.client, bench.table) == []


async def test_trouble_without_end_is_told_and_stores_once_or_not_at_all(bench: Bench, sample: Sample[Any]) -> None:
    """From each request on nothing gets through until patience runs out: the error says what may have happened."""
    cases = [(point, name) for name in faults.FAULTS for point in bench.points]

    async def trial(point: Point, name: str) -> None:
        stage = point.stage
        session_id, session = await bench.ready(point, patience_seconds=1.5)
        bench.disturbances.set(session_id, faults.FAULTS[name], point.request, 1 << 30)
        before, after = stage.history, stage.step.apply(stage.history)
        began = asyncio.get_running_loop().time()
        try:
            result = await stage.step.perform(session)
        except NOTHING_DONE:
            allowed = {before} if stage.step.kind != "clear" else {before, after}
        except OutcomeUnknownError:
            allowed = {before, after}
        else:
            assert result == stage.step.result(before)
            allowed = {after}
        assert asyncio.get_running_loop().time() - began < 5
        await bench.goes_on(stage, session, allowed)

    await at_once(lambda case=case: trial(*case) for case in sample(cases, 60))


async def test_botocores_own_retries_do_not_double(retrying: Bench, sample: Sample[Any]) -> None:
    """With a client that retries by itself, each request disturbed once or four times on end: the step is done once.

    Or, where it is the first write of a session, told to be unknown.
    """
    cases = [(point, name, times) for times in (1, 4) for name in faults.FAULTS for point in retrying.points]

    async def trial(point: Point, name: str, times: int) -> None:
        stage = point.stage
        session_id, session = await retrying.ready(point, attempts=3)
        retrying.disturbances.set(session_id, faults.FAULTS[name], point.request, times)
        allowed = {stage.step.apply(stage.history)}
        try:
            assert await stage.step.perform(session) == stage.step.result(stage.history), (point, name)
        except OutcomeUnknownError:
            assert not stage.stored, (point, name)
            allowed.add(stage.history)
        await retrying.goes_on(stage, session, allowed)

    await at_once((lambda case=case: trial(*case) for case in sample(cases, 30)), limit=40)


OTHERS = {
    "batch": (Step("add", batch("other", 2, 150)),),
    "large batch": (Step("add", batch("other", 1, 20_000)),),
    "pop": (Step("pop"),),
    "clear": (Step("clear"),),
    "clear and batch": (Step("clear"), Step("add", batch("other", 2, 150))),
    "batch, pop and pop": (Step("add", batch("other", 1, 150)), Step("pop"), Step("pop")),
}


async def test_another_writer_between_the_lost_answer_and_the_retry(retrying: Bench, sample: Sample[Any]) -> None:
    """Each request is lost, or its answer is, and before it is sent again another writer has its way: both happened,
    whole, in one order or the other; or the caller hears that nobody can tell."""
    cases = [
        (point, applied, other, attempts)
        for attempts in (1, 3)
        for applied in (True, False)
        for other in OTHERS
        for point in retrying.points
    ]
    unknown = 0

    async def trial(point: Point, applied: bool, other: str, attempts: int) -> None:
        nonlocal unknown
        stage = point.stage
        session_id, session = await retrying.ready(point, attempts=attempts)
        rival = await retrying.other(stage, session_id)
        theirs: list[tuple[Step, Any]] = []

        async def interfere() -> None:
            theirs.extend([(step, await step.perform(rival)) for step in OTHERS[other]])

        landed = faults.within(faults.drop_response, faults.after(interfere))
        not_landed = faults.within(faults.before(interfere), faults.drop_request)
        retrying.disturbances.set(session_id, landed if applied else not_landed, point.request)
        outcomes: list[list[tuple[Step, Any]]]
        try:
            outcomes = [[(stage.step, await stage.step.perform(session))]]
        except OutcomeUnknownError:
            unknown += 1
            outcomes = [[], [(stage.step, stage.step.result(stage.history))]]
            assert not stage.stored or "clear" in other, "only a clear takes away what would tell"
        allowed = {seen for outcome in outcomes for seen in consistent(stage.history, outcome, theirs)}
        assert allowed, (point, other, outcomes, theirs)
        await retrying.goes_on(stage, session, allowed)

    made = await at_once((lambda case=case: trial(*case) for case in sample(cases, 80)), limit=24)
    assert unknown < made / 2


async def test_a_request_that_arrives_late_changes_nothing(bench: Bench, sample: Sample[Any]) -> None:
    """The sender gave up on a request and sent another, others wrote, and then the first one arrives."""
    cases = [(point, other) for other in ("batch", "pop", "clear and batch") for point in bench.points]

    async def trial(point: Point, other: str) -> None:
        stage = point.stage
        session_id, session = await bench.ready(point)
        straggler = Straggler()
        bench.disturbances.set(session_id, straggler.fault, point.request)
        history, is_unknown = stage.step.apply(stage.history), False
        try:
            assert await stage.step.perform(session) == stage.step.result(stage.history)
        except OutcomeUnknownError:
            assert not stage.stored, "only the first write of a session is not repeated"
            history, is_unknown = stage.history, True
        rival = await bench.other(stage, session_id)
        for step in OTHERS[other]:
            await step.perform(rival)
            history = step.apply(history)
        await straggler.let_go()
        late = {stage.step.apply(())} if is_unknown and not history else set()
        await bench.goes_on(stage, session, {history} | late)

    await at_once(lambda case=case: trial(*case) for case in sample(cases, 60))


async def test_a_late_part_of_an_earlier_life_does_no_harm(bench: Bench, sample: Sample[Any]) -> None:
    """A part that arrives after its session was cleared lies in a slot of the next life, which takes it over."""
    points = [p for p in bench.points if p.stage.step.kind == "add" and len(p.stage.step.items) == 1]

    async def trial(point: Point) -> None:
        stage = point.stage
        session_id, session = await bench.ready(point)
        straggler = Straggler()
        bench.disturbances.set(session_id, straggler.fault, point.request)
        with contextlib.suppress(OutcomeUnknownError):  # the first write of the session itself
            await stage.step.perform(session)
        await session.clear_session()
        await straggler.let_go()
        if not await read(session):  # not the first write of the session itself, which begins it anew
            history: tuple[str, ...] = ()
            for number in range(6):
                step = Step("add", batch(f"again{number}", 1, 100_000 if number == 4 else 1_400))
                await step.perform(session)
                history = step.apply(history)
                assert await read(await bench.other(stage, session_id)) == history

    await at_once(lambda point=point: trial(point) for point in sample(points, 12))


async def test_a_pop_in_doubt_returns_what_it_removed(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A first try did not land, the history changed, the answer of the second was lost: the item is the second's."""
    behind = await connect(proxy.url, attempts=2)
    other = DynamoDBSession("s", client, table, options=TINY)
    await other.add_items([*batch("a", 2, 50)])  # type: ignore[list-item]
    session = DynamoDBSession("s", behind, table, options=TINY)
    await read(session)

    async def add() -> None:
        await other.add_items([*batch("b", 1, 50)])  # type: ignore[list-item]

    proxy.on("PutItem", faults.within(faults.before(add), faults.drop_request))
    proxy.on("PutItem", faults.drop_request)  # botocore's own second try
    proxy.on("PutItem", faults.drop_response)
    assert await Step("pop").perform(session) == "b.0"
    assert await read(other) == ("a.0", "a.1")


async def test_a_batch_that_was_seen_and_cleared_does_not_come_back(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """The answer is lost, another pops the batch and clears the session: the caller hears that nobody can tell."""
    other = DynamoDBSession("s", client, table, options=TINY)
    await Step("add", batch("a", 1, 50)).perform(other)

    async def pop_and_clear() -> None:
        assert await Step("pop").perform(other) == "mine.0"
        await other.clear_session()

    proxy.on("PutItem", faults.within(faults.drop_response, faults.after(pop_and_clear)))
    session = DynamoDBSession("s", await connect(proxy.url, attempts=1), table, options=TINY)
    with pytest.raises(OutcomeUnknownError, match="cleared"):
        await Step("add", batch("mine", 1, 50)).perform(session)
    assert await read(other) == ()


async def test_a_clear_that_arrives_late_takes_nothing(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A delete that its sender gave up on arrives when the session has been cleared and begun anew."""
    other = DynamoDBSession("s", client, table)
    session = DynamoDBSession("s", await connect(proxy.url, attempts=1), table)
    await Step("add", batch("a", 1, 50)).perform(other)
    straggler = Straggler()
    proxy.on("DeleteItem", straggler.fault)
    await session.clear_session()
    await Step("add", batch("b", 1, 50)).perform(other)
    (reply,) = await straggler.let_go()
    assert reply.error == "ConditionalCheckFailedException"
    assert await read(session) == ("b.0",)


async def test_a_clear_in_doubt_leaves_what_began_after_it(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """The clear emptied the head, its answer was lost, and others have filled the session again, parts and all."""
    other = DynamoDBSession("s", client, table, options=TINY)
    for number in range(4):
        await Step("add", batch(f"a{number}", 1, 160)).perform(other)

    async def begin_again() -> None:
        for number in range(4):
            await Step("add", batch(f"b{number}", 1, 160)).perform(other)

    proxy.on("PutItem", faults.within(faults.drop_response, faults.after(begin_again)))
    await DynamoDBSession("s", await connect(proxy.url, attempts=1), table, options=TINY).clear_session()
    assert await read(other) == ("b0.0", "b1.0", "b2.0", "b3.0")
    assert await unknown_parts(client, table) == []


async def test_a_part_that_arrives_late_is_not_taken_for_another(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """Two writers sealed into one slot, one of them late: its part comes when the other's was cleared away, under the
    same generation, and a reader who still has the head from before does not take it for what the head means."""
    other = DynamoDBSession("s", client, table, options=TINY)
    await Step("add", batch("a", 1, 240)).perform(other)
    behind = await connect(proxy.url, attempts=1)
    late, reader = (DynamoDBSession("s", behind, table, options=TINY) for _ in range(2))
    await read(late)
    await Step("add", batch("b", 1, 240)).perform(other)  # seals
    straggler = Straggler()
    proxy.on(_is_put_of_a_part, straggler.fault)
    await Step("add", batch("c", 1, 240)).perform(late)  # and would have
    before = await read(other)
    assert before == ("a.0", "b.0", "c.0")

    async def clear_and_let_go() -> None:
        await other.clear_session()
        (reply,) = await straggler.let_go()
        assert reply.status == 200

    proxy.on("BatchGetItem", faults.before(clear_and_let_go))
    assert await read(reader) in {before, ()}


def _is_put_of_a_part(request: faults.Request) -> bool:
    return "#~" in str(request.payload.get("Item", {}).get("session_id"))


async def test_a_forgotten_receipt_is_told(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """More writers than the head remembers wrote between a lost answer and the next look: the caller hears that."""

    async def others(count: int) -> None:
        for number in range(count):
            await DynamoDBSession("s", client, table).add_items([*batch(f"o{number}", 1, 40)])  # type: ignore[list-item]

    behind = await connect(proxy.url, attempts=1)
    await others(1)
    for count, forgotten in ((KEEP - 1, False), (KEEP, True)):
        session = DynamoDBSession("s", behind, table)
        proxy.on("PutItem", faults.within(faults.drop_response, faults.after(lambda n=count: others(n))))
        mine = Step("add", batch(f"mine{count}", 1, 40))
        if forgotten:
            with pytest.raises(OutcomeUnknownError, match="no longer be told"):
                await mine.perform(session)
        else:
            await mine.perform(session)
        assert (await read(session)).count(mine.ids[0]) == 1


async def test_a_writer_of_a_cleared_life_leaves_nothing(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A session object that still knows the head of a life that was cleared seals, and gives up: its part goes."""
    behind = await connect(proxy.url, attempts=1)
    options = replace(TINY, patience_seconds=0.2)
    for large, later in ((False, False), (True, False), (False, True), (True, True)):
        stale = DynamoDBSession("s", behind, table, options=options)
        for number in range(4):
            await stale.add_items([*batch(f"a{number}", 1, 160)])  # type: ignore[list-item]
        other = DynamoDBSession("s", client, table, options=TINY)
        await other.clear_session()
        if later:
            await other.add_items([*batch("b", 1, 40)])  # type: ignore[list-item]
        before = await read(other)
        step = Step("add", batch("c", 1, 9_000 if large else 300))
        await step.perform(stale)
        assert await read(other) == step.apply(before)
        assert await unknown_parts(client, table) == []
        await other.clear_session()
        assert await stored_items(client, table) == []


async def test_large_batches_whose_parts_cannot_be_written_give_up(
    connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """Heads can be written and parts cannot: a batch too large for a head is refused in time, and not stored."""
    behind = await connect(proxy.url, attempts=1)
    session = DynamoDBSession("s", behind, table, options=replace(DEFAULT, patience_seconds=0.5))
    await session.add_items([*batch("a", 1, 100)])  # type: ignore[list-item]

    proxy.on(_is_put_of_a_part, faults.throttled, times=1 << 30)
    began = asyncio.get_running_loop().time()
    with pytest.raises(UnavailableError):
        await session.add_items([*batch("b", 1, 600_000)])  # type: ignore[list-item]
    assert 0.4 < asyncio.get_running_loop().time() - began < 5
    assert await read(session) == ("a.0",)


async def test_a_part_never_ends_before_a_session_that_never_ends(
    client: DynamoDBClient, connect: Connect, proxy: FaultProxy, table: str
) -> None:
    """A writer with a ttl is about to give the parts an end when one without a ttl makes the session last for good."""
    behind = await connect(proxy.url, attempts=1)
    forever = DynamoDBSession("s", client, table, options=TINY)
    for number in range(4):
        await forever.add_items([*batch(f"a{number}", 1, 160)])  # type: ignore[list-item]

    async def make_it_last() -> None:
        await forever.add_items([*batch("b", 1, 20)])  # type: ignore[list-item]

    proxy.on("UpdateItem", faults.before(make_it_last))
    await DynamoDBSession("s", behind, table, ttl_seconds=60, options=TINY).add_items([*batch("c", 1, 20)])  # type: ignore[list-item]
    assert {record.request.operation for record in proxy.records} >= {"UpdateItem"}
    assert [item["session_id"]["S"] for item in await stored_items(client, table) if "ttl" in item] == []


async def test_an_error_is_one_of_the_librarys(bench: Bench) -> None:
    """Whatever fails, the caller sees a `SessionError` that carries botocore's as its cause."""
    stage = next(stage for stage in bench.stages if len(stage.history) > 6)
    session_id, session = await bench.ready(Point(stage, False, 0, 1), patience_seconds=0)
    bench.disturbances.set(session_id, faults.throttled, 1, 1 << 30)
    with pytest.raises(SessionError) as raised:
        await session.get_items()
    assert isinstance(raised.value.__cause__, Exception)
