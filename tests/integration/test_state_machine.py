"""Several session objects against a plain list: whatever they do in whatever order, the history is the list.

The objects have different layouts and different `ttl_seconds`, and each knows only what it last saw. A clock that the
test moves expires sessions, and DynamoDB's deletion of what has expired may come at any time after that, or never.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from openai_agents_session import DynamoDBSession, StorageOptions
from openai_agents_session.cache import SegmentCache
from openai_agents_session.conversations import Conversation
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.keys import SEPARATOR, slot_key
from openai_agents_session.storage.redaction import redacted
from tests.support.contract import AWKWARD, TINY
from tests.support.script import stored_items
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient

T = TypeVar("T")

LAYOUTS: list[StorageOptions] = [
    TINY,
    replace(TINY, fan_out=2, part_bytes=1_024),
    replace(TINY, compress=False, cache=None),
    replace(TINY, item_bytes=1_500, part_bytes=4_096),
    StorageOptions(),
    StorageOptions(single_item=True),
]
TTLS = [None, None, 60, 1_000, 100_000]
OBJECTS = 4
START = 1_800_000_000

items_of_any_size = st.builds(
    lambda seed, size: {"role": "user", "content": random.Random(seed).randbytes(size // 2).hex()},
    st.integers(0, 99),
    st.sampled_from([2, 20, 80, 250, 250, 600, 1_500]),
)
batches = st.lists(st.one_of(items_of_any_size, st.sampled_from(AWKWARD)), min_size=1, max_size=5)
who = st.integers(0, OBJECTS - 1)


class Sessions(RuleBasedStateMachine):
    """One session id, some objects, and the list. Subclassed with a table of some engine."""

    client: DynamoDBClient
    table: str
    wait: Callable[[Awaitable[Any]], Any]

    @initialize(choices=st.lists(st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(TTLS)), min_size=4, max_size=4))
    def begin(self, choices: list[tuple[StorageOptions, int | None]]) -> None:
        self.now = START
        self.history: list[Any] = []
        self.expires: int | None = None
        self.snapshot: tuple[Any, list[Any], int, int | None] | None = None
        self.writes = 0
        self.head_was_deleted = False
        self.session_id = uuid.uuid4().hex
        self.ttls = [ttl for _, ttl in choices]
        cache = SegmentCache()
        self.objects = [
            DynamoDBSession(
                self.session_id,
                self.client,
                self.table,
                ttl_seconds=ttl,
                options=replace(layout, clock=lambda: self.now, cache=layout.cache and cache),
            )
            for layout, ttl in choices
        ]

    def wrote(self, number: int, history: list[Any]) -> None:
        ttl = self.ttls[number]
        self.history, self.expires = history, None if ttl is None else self.now + ttl
        self.writes += 1

    @rule(number=who, batch=batches)
    def add(self, number: int, batch: list[Any]) -> None:
        self.wait(self.objects[number].add_items(batch))
        self.wrote(number, self.history + batch)

    @rule(number=who, size=st.sampled_from([1, 5, 9]), repeat=st.integers(1, 6))
    def add_more(self, number: int, size: int, repeat: int) -> None:
        for _ in range(repeat):
            self.add(number, [{"content": f"{len(self.history)}".ljust(40 * size, "x")}])

    @rule(number=who, count=st.sampled_from([1, 1, 1, 3, 8]))
    def pop(self, number: int, count: int) -> None:
        for _ in range(count):
            expected = self.history[-1] if self.history else None
            assert self.wait(self.objects[number].pop_item()) == expected
            if self.history:
                self.wrote(number, self.history[:-1])

    @rule(number=who)
    def read(self, number: int) -> None:
        assert self.wait(self.objects[number].get_items()) == self.history

    @rule(number=who, limit=st.integers(-1, 30))
    def read_latest(self, number: int, limit: int) -> None:
        expected = self.history[-limit:] if limit > 0 else []
        assert self.wait(self.objects[number].get_items(limit=limit)) == expected

    @rule(number=who)
    def describe(self, number: int) -> None:
        info = self.wait(self.objects[number].describe())
        assert info.items == len(self.history)
        assert info.ttl == self.expires

    @precondition(lambda self: random.Random(self.writes).random() < 0.5)
    @rule(number=who)
    def clear(self, number: int) -> None:
        self.wait(self.objects[number].clear_session())
        left = self.stored()
        # What lay beside a head that DynamoDB has deleted is known to nobody: it goes when its own time has come.
        assert all("ttl" in part for part in left.values())
        assert left == {} or self.head_was_deleted
        self.history, self.expires = [], None
        self.writes += 1

    @rule(number=who, batch=st.one_of(st.just([]), batches))
    def replace_all(self, number: int, batch: list[Any]) -> None:
        assert self.wait(self.objects[number]._atomic_replace_items(batch))
        self.wrote(number, batch)

    @precondition(lambda self: self.history)
    @rule(number=who, share=st.floats(0, 1))
    def rewind(self, number: int, share: float) -> None:
        keep = round(share * (len(self.history) + 1))
        removed = max(0, len(self.history) - keep)
        assert self.wait(Conversation(self.objects[number]).rewind(keep)) == removed
        if removed:
            self.wrote(number, self.history[:keep])

    @precondition(lambda self: self.history)
    @rule(number=who, share=st.floats(0, 0.999))
    def redact(self, number: int, share: float) -> None:
        position = int(share * len(self.history))
        before, after = self.history[position], redacted(self.history[position], "gone")
        assert self.wait(Conversation(self.objects[number]).redact(position, notice="gone")) == (before != after)
        if before != after:
            self.history = [*self.history[:position], after, *self.history[position + 1 :]]
            self.writes += 1

    @precondition(lambda self: self.history)
    @rule(number=who, name=st.sampled_from([None, "a", "b"]), value=st.integers(0, 3))
    def describe_it(self, number: int, name: str | None, value: int) -> None:
        info = self.wait(Conversation(self.objects[number]).update(title=name, metadata={"n": value}))
        assert (info.title, info.metadata, info.items, info.ttl) == (
            name,
            {"n": value},
            len(self.history),
            self.expires,
        )
        self.writes += 1  # at most: where nothing changes, nothing is written
        self.snapshot = None

    @precondition(lambda self: self.history)
    @rule(number=who, share=st.floats(0.01, 1))
    def fork(self, number: int, share: float) -> None:
        keep = max(1, round(share * len(self.history)))
        mine = self.objects[number]
        copy = self.wait(Conversation(mine).fork(f"fork-{uuid.uuid4().hex}", keep=keep))
        other = DynamoDBSession(copy.session_id, self.client, self.table, options=mine._options)
        assert self.wait(other.get_items()) == self.history[:keep]
        self.wait(other.add_items([{"content": "more"}]))  # type: ignore[list-item]
        assert self.wait(other.get_items()) == [*self.history[:keep], {"content": "more"}]
        self.wait(other.clear_session())
        assert not [item for item in self.wait(stored_items(self.client, self.table)) if "fork" in str(item)]

    @rule(number=who, limit=st.integers(1, 20))
    def take_snapshot(self, number: int, limit: int) -> None:
        snapshot = self.wait(self.objects[number]._get_compaction_snapshot(limit))
        if snapshot is None:
            assert self.history == []  # there is no session
            return
        assert snapshot.items == self.history[-limit:]
        assert snapshot.complete == (len(self.history) <= limit)
        self.snapshot = (snapshot, self.history, self.writes, self.expires)
        self.snapshot_of = number

    @precondition(lambda self: self.snapshot is not None)
    @rule(skip=st.integers(0, 20), batch=batches)
    def replace_end(self, skip: int, batch: list[Any]) -> None:
        assert self.snapshot
        (snapshot, history, writes, expires), self.snapshot = self.snapshot, None
        skip = min(skip, len(snapshot.items))
        unchanged = writes == self.writes and (expires is None or self.now < expires)
        assert self.wait(snapshot.replace_suffix(skip, batch)) == unchanged
        if unchanged:
            kept = history[: len(history) - len(snapshot.items) + skip]
            self.wrote(self.snapshot_of, kept + batch)

    @rule(seconds=st.sampled_from([0, 1, 1, 7, 59, 60, 900, 5_000, 90_000, 400_000]))
    def pass_time(self, seconds: int) -> None:
        self.move_to(self.now + seconds)

    @precondition(lambda self: self.expires is not None)
    @rule(early=st.sampled_from([0, 1]))
    def pass_until_expiry(self, early: int) -> None:
        assert self.expires is not None
        self.move_to(max(self.now, self.expires - early))

    def move_to(self, now: int) -> None:
        self.now = now
        if self.expires is not None and now >= self.expires:
            self.history, self.expires = [], None

    @rule(seed=st.integers(0, 99), share=st.sampled_from([0.3, 1.0]))
    def delete_expired(self, seed: int, share: float) -> None:
        """DynamoDB deletes what has expired, in no order, sooner or later."""
        chance = random.Random(seed)
        for key, item in sorted(self.stored().items()):
            if "ttl" in item and int(item["ttl"]["N"]) <= self.now and chance.random() < share:
                self.head_was_deleted |= key == self.session_id
                self.wait(self.client.delete_item(TableName=self.table, Key={"session_id": {"S": key}}))

    def stored(self) -> dict[str, Any]:
        items = self.wait(stored_items(self.client, self.table))
        return {key: item for item in items if (key := item["session_id"]["S"]).startswith(self.session_id)}

    @invariant()
    def every_part_is_known_and_outlives_its_session(self) -> None:
        stored = self.stored()
        head = from_attributes(self.session_id, stored.get(self.session_id), self.now)
        slots = {int(key.partition(SEPARATOR)[2]): part for key, part in stored.items() if SEPARATOR in key}
        for slot, part in slots.items():
            if not head.exists or part["epoch"]["B"] != head.epoch:
                assert "ttl" in part  # DynamoDB has deleted its head before it: it will follow
            else:
                assert slot < head.manifest.slot_count
                assert head.ttl is None or "ttl" in part
        if head.as_of(self.now) is not head:
            return
        for segment in head.manifest.segments:
            for slot in segment.slots:
                part = stored[slot_key(self.session_id, slot)]
                assert int(part["generation"]["N"]) == segment.generation
                if "ttl" in part:
                    assert head.ttl is not None
                    assert int(part["ttl"]["N"]) >= head.ttl
                    assert 0 < head.manifest.expires <= int(part["ttl"]["N"])

    def teardown(self) -> None:
        if not hasattr(self, "objects"):
            return
        for session in self.objects:
            assert self.wait(session.get_items()) == self.history
        self.wait(self.objects[0].clear_session())
        # What DynamoDB deleted a head of before its parts is not known to a session that began since; it expires.
        for key in self.stored():
            self.wait(self.client.delete_item(TableName=self.table, Key={"session_id": {"S": key}}))


@pytest.mark.timeout(900)
def test_sessions_are_lists(engine: Engine, aws_session: AioSession, examples: int) -> None:
    """Any interleaving of operations by several objects gives what it gives on a list."""
    with asyncio.Runner() as runner:
        connecting = aws_session.create_client("dynamodb", endpoint_url=engine.endpoint_url)
        client: Any = runner.run(connecting.__aenter__())
        table = f"sessions-{uuid.uuid4().hex}"
        created = client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        runner.run(created)
        machine = type("Machine", (Sessions,), {"client": client, "table": table, "wait": staticmethod(runner.run)})
        profile = settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        try:
            run_state_machine_as_test(machine, settings=profile)
        finally:
            runner.run(connecting.__aexit__(None, None, None))


@pytest.fixture
def examples(request: pytest.FixtureRequest, engine: Engine) -> int:
    """How many sequences of operations: most on the quickest engine."""
    if request.config.getoption("--exhaustive"):
        return 1_000
    return 40 if engine.name == "dynoxide" else 8
