"""What model calls have used: counted by the write that ends a turn, once, and summed by session and day."""

from __future__ import annotations

from dataclasses import astuple
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.conversations import Conversation, Usage
from openai_agents_session.storage.turn_log import KEEP_TURNS, Outcome
from openai_agents_session.storage.usage import EARLIER, KEEP_DAYS, NO_USAGE, Ledger
from openai_agents_session.turn_journal import TurnJournal
from openai_agents_session.turns import delivery_of, named_turn
from tools.emulation import faults
from tools.emulation.engines import Engine
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

    from tests.conftest import Connect

RUN = "0123456789abcdef"
DAY = 86_400
START = 1_800_000_000


class Invocation:
    """A Lambda context as far as a turn looks at it."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


class Talk:
    """A session whose turns use something, at a time that the test moves."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self.now = START
        options = StorageOptions(clock=lambda: self.now, patience_seconds=5)
        self.session = DynamoDBSession("s", client, table, owner="ada", options=options)
        self.turns = 0

    async def turn(
        self, usage: Usage, outcome: Outcome = Outcome.ANSWERED, *, decides: str | None = None, resumed: bool = True
    ) -> None:
        self.turns += 1
        delivery = delivery_of(f"k{self.turns}", f"{self.turns}", decides=decides)
        message: list[Any] = [] if decides else [{"role": "user", "content": "?"}]
        async with named_turn(self.session, Invocation(), delivery, message) as met:
            assert isinstance(met, TurnJournal), met
            met.is_resumed = resumed
            if outcome is Outcome.WAITING:
                await met.end(outcome, [{"role": "assistant", "content": "may I?"}], waiting=RUN, usage=usage)
            else:
                met.answered(outcome, usage=usage)
                await met.add_items([{"role": "assistant", "content": "!"}])

    async def used(self) -> Usage:
        return (await Conversation(self.session).info()).usage

    async def by_turn(self) -> list[Usage]:
        return [turn.usage for turn in await Conversation(self.session).turns()]


@pytest.fixture
def talk(client: DynamoDBClient, table: str) -> Talk:
    return Talk(client, table)


def of(number: int) -> Usage:
    """What tells which run it is of."""
    return Usage(1, 1_000 * number, 10 * number, 100 * number, number)


async def test_each_turn_and_the_session_know_what_was_used(
    engine: Engine, talk: Talk, connect: Connect, table: str
) -> None:
    """The write that ends a turn counts what it used, for the turn and the session: no request more."""
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = Talk(await connect(proxy.url), table)
        await behind.turn(of(1))
        proxy.reset()
        await behind.turn(of(2))
        assert [record.request.operation for record in proxy.records] == ["PutItem", "PutItem"]
    assert await talk.by_turn() == [of(1), of(2)]
    assert await talk.used() == of(1) + of(2)


async def test_a_resumed_run_is_not_counted_twice(talk: Talk) -> None:
    """A run that waits, is resumed, waits again and ends brings all it has used each time: it is counted once."""
    await talk.turn(of(7))
    await talk.turn(of(1), Outcome.WAITING)
    assert await talk.used() == of(7) + of(1)
    await talk.turn(of(1) + of(2), Outcome.WAITING, decides=RUN)
    await talk.turn(of(1) + of(2) + of(3), decides=RUN)
    whole = of(1) + of(2) + of(3)
    assert await talk.used() == of(7) + whole
    assert await talk.by_turn() == [of(7), whole]
    await talk.turn(of(4))
    assert await talk.used() == of(7) + whole + of(4)


async def test_a_run_of_its_own_is_counted_whole(talk: Talk) -> None:
    """A decision whose run failed is gone on with by another run, which brings nothing of the one that waited."""
    await talk.turn(of(1), Outcome.WAITING)
    await talk.turn(of(2), decides=RUN, resumed=False)
    assert await talk.used() == of(1) + of(2)


async def test_a_run_that_was_rewound_takes_nothing_from_the_next(talk: Talk) -> None:
    """After a rewind over a run that waited, the next turn at its place is counted whole; what was used stays used."""
    await talk.turn(of(5), Outcome.WAITING)
    await Conversation(talk.session).rewind(0)
    await talk.turn(of(2))
    assert await talk.used() == of(5) + of(2)


@pytest.mark.parametrize("name", list(faults.FAULTS))
async def test_a_lost_answer_counts_once(engine: Engine, connect: Connect, table: str, talk: Talk, name: str) -> None:
    """Whatever becomes of the request that ends a turn, its usage is counted once."""
    await talk.turn(of(1))
    async with FaultProxy(engine.endpoint_url, metered=False) as proxy:
        behind = Talk(await connect(proxy.url, attempts=1), table)
        behind.turns = 1
        seen: list[int] = []
        proxy.on(
            lambda request: request.operation == "PutItem" and not seen.append(1) and len(seen) == 2,
            faults.FAULTS[name],
        )  # type: ignore[func-returns-value]
        await behind.turn(of(2))
    assert await talk.used() == of(1) + of(2)


async def test_a_turn_that_is_delivered_again_counts_once(talk: Talk) -> None:
    """A delivery that comes again finds its turn done, with what it used."""
    await talk.turn(of(1))
    talk.turns = 0
    with pytest.raises(AssertionError, match="AlreadyDone"):
        await talk.turn(of(1))
    assert await talk.used() == of(1)


async def test_days(talk: Talk) -> None:
    """Usage is summed by day of UTC; the newest days stand one by one, and nothing is lost of those before."""
    total = NO_USAGE
    for day in range(KEEP_DAYS + 4):
        for number in (1, 2):
            await talk.turn(of(number))
            total += of(number)
        talk.now += DAY
        info = await Conversation(talk.session).info()
        assert info.usage == total
        dates = [date for date in info.usage_by_day if date != EARLIER]
        assert len(dates) == min(day + 1, KEEP_DAYS)
        assert dates == sorted(dates, reverse=True)
        assert all(info.usage_by_day[date] == of(1) + of(2) for date in dates)
    assert len(await Conversation(talk.session).turns()) == KEEP_TURNS


async def test_a_clear_forgets_it(talk: Talk) -> None:
    """A conversation that begins again under an id has used nothing."""
    for _ in range(20):
        await talk.turn(of(1))
    await talk.session.clear_session()
    await talk.turn(of(2))
    assert await talk.used() == of(2)


async def test_a_fork_is_not_counted_twice(talk: Talk) -> None:
    """A fork has used nothing: sums over sessions count what was used once."""
    await talk.turn(of(1))
    copy = await Conversation(talk.session).fork()
    assert copy.usage == NO_USAGE
    assert await talk.used() == of(1)


def test_usage_of_the_sdk() -> None:
    """What the SDK counted for a run is taken as it is; what is missing or no number counts as nothing."""
    from agents import Usage as Counted

    counted = Counted(requests=2, input_tokens=30, output_tokens=12, total_tokens=42)
    counted.input_tokens_details.cached_tokens = 7
    counted.output_tokens_details.reasoning_tokens = 5
    assert Usage.of(counted) == Usage(2, 30, 7, 12, 5)
    assert Usage.of(counted).total_tokens == 42
    assert Usage.of(SimpleNamespace(requests=-1, input_tokens="x", output_tokens=True)) == NO_USAGE
    assert Usage.of(None) == NO_USAGE
    assert max(astuple(Usage.of(SimpleNamespace(requests=1 << 90)))) < 1 << 53


def test_a_ledger_bounds_its_days() -> None:
    """However many days there are, in whatever order they come, the newest stand alone and the sum is exact."""
    ledger = Ledger()
    for day in [*range(30, 0, -1), *range(30)]:
        ledger = ledger.plus(day * DAY, of(1))
    assert [day for day, _ in ledger.days] == list(range(30, 30 - KEEP_DAYS, -1))
    assert ledger.total == Usage(60, 60_000, 600, 6_000, 60)
