"""A script of operations that takes a session through all that its storage does, and trials that start anywhere in it.

`record` plays the script once and keeps what the table held before each step. A `Stage` puts that state under a fresh
session id and plays one step from there, so that a test can disturb every request of every step for the price of a few
requests each, and many at a time. A fault is then between the state before and the state after: `Step.apply` says what
those are.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from openai_agents_session import DynamoDBSession, InvalidInputError, SessionNotFoundError, StorageOptions
from openai_agents_session.conversations import Conversation
from openai_agents_session.storage.head import from_attributes
from openai_agents_session.storage.keys import SEPARATOR
from tools.emulation.faults import DroppedError, Fault, Forward, Reply, Request
from tools.emulation.proxy import FaultProxy

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

History = tuple[str, ...]
"""The ids of a session's items, oldest first."""


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        kind: ``add``, ``replace``, ``pop``, ``clear``, ``read``, ``rewind``, ``redact`` or ``fork``.
        items: What is added, or put in place of everything.
        number: To how many items to rewind, of how many to make a fork, or which to redact.
    """

    kind: str
    items: tuple[dict[str, Any], ...] = ()
    number: int = 0

    @property
    def ids(self) -> History:
        """The ids of its items."""
        return tuple(item["id"] for item in self.items)

    def apply(self, history: History) -> History:
        """The history after it."""
        if self.kind == "add":
            return history + self.ids
        if self.kind == "replace":
            return self.ids
        if self.kind == "pop":
            return history[:-1]
        if self.kind == "rewind":
            return history[: self.number]
        if self.kind == "redact" and self.number < len(history):
            return (*history[: self.number], REDACTED, *history[self.number + 1 :])
        return () if self.kind == "clear" else history

    def result(self, history: History) -> Any:
        """What it returns on a history, in ids."""
        if self.kind == "pop":
            return history[-1] if history else None
        if self.kind == "read":
            return history
        if self.kind == "rewind":
            return max(0, len(history) - self.number)
        if self.kind == "redact":
            return history[self.number] != REDACTED if self.number < len(history) else "refused"
        return True if self.kind == "replace" else None

    async def perform(self, session: DynamoDBSession) -> Any:
        """Carry it out; what it returns, in ids."""
        if self.kind == "add":
            return await session.add_items(list(self.items))  # type: ignore[arg-type]
        if self.kind == "replace":
            return await session._atomic_replace_items(list(self.items))  # type: ignore[arg-type]
        if self.kind == "clear":
            return await session.clear_session()
        if self.kind == "read":
            return await read(session)
        if self.kind in {"rewind", "redact"}:
            return await self._edit(Conversation(session))
        if self.kind == "fork":
            await Conversation(session).fork(fork_of(session.session_id), keep=self.number)
            return None
        popped: Any = await session.pop_item()
        return popped and popped["id"]

    async def _edit(self, conversation: Conversation) -> Any:
        """Others may have cleared the session or popped the item: then there is nothing to edit, and it is said."""
        try:
            rewind = self.kind == "rewind"
            return await (conversation.rewind(self.number) if rewind else conversation.redact(self.number))
        except SessionNotFoundError:
            return 0 if self.kind == "rewind" else "refused"
        except InvalidInputError:
            return "refused"


REDACTED = "redacted"
"""In a history in ids, an item that was redacted."""


def fork_of(session_id: str) -> str:
    """The id that a step gives to a fork."""
    return f"{session_id}-fork"


def batch(name: str, count: int, size: int) -> tuple[dict[str, Any], ...]:
    """Items of about that many bytes each, the same for the same name, that compression makes little smaller."""
    return tuple(_item(f"{name}.{index}", size // 4) for index in range(count))


@cache
def _item(name: str, quads: int) -> dict[str, Any]:
    return {"id": name, "content": base64.b64encode(random.Random(name).randbytes(3 * quads)).decode()}


def _script(name: str, small: int, seals: int, large: int) -> tuple[Step, ...]:
    add = itertools.count()

    def some(count: int, size: int) -> Step:
        return Step("add", batch(f"{name}{next(add)}", count, size))

    pop = Step("pop")
    return (
        some(2, small),
        *(some(1, small) for _ in range(seals)),
        pop,
        some(1, large),
        *(pop for _ in range(4)),
        some(3, small),
        Step("redact", number=2),
        Step("rewind", number=6),
        some(2, small),
        Step("replace", batch(f"{name}replacement", 2, small)),
        some(2, small),
        some(2, small),
        Step("clear"),
        some(1, 40),
        Step("clear"),
    )


TINY = StorageOptions(item_bytes=400, head_bytes=400, part_bytes=4_096, fan_out=3, cache=None)
"""A layout in which every few bytes are sealed."""

DEFAULT = StorageOptions(cache=None)
"""The layout as shipped. Without the cache, so that reading segments makes requests."""

SCRIPTS: Mapping[str, tuple[StorageOptions, tuple[Step, ...]]] = {
    "tiny": (TINY, _script("t", 160, 6, 12_000)),
    "default": (DEFAULT, _script("d", 1_400, 10, 700_000)),
}
"""Each appends over several seals and a merge, adds many parts, pops back over that, redacts, rewinds and clears."""

FORKS: Mapping[str, tuple[StorageOptions, tuple[Step, ...]]] = {
    "fork": (TINY, (Step("add", batch("f", 30, 400)), Step("fork", number=25))),
    "short fork": (TINY, (Step("add", batch("f", 3, 40)), Step("fork", number=2))),
}
"""Each ends with a fork: of many parts, and of none."""


async def read(session: DynamoDBSession) -> History:
    """The history of a session, in ids; it must hold each item as it was added."""
    items: list[Any] = list(await session.get_items())
    for item in items:
        if "redacted" in item:
            continue
        assert item == _item(item["id"], len(item["content"]) // 4), f"{item['id']} is not what was added"
    return tuple(REDACTED if "redacted" in item else item["id"] for item in items)


@dataclass(frozen=True)
class Stage:
    """A step, and what the table and the history were before it."""

    number: int
    step: Step
    history: History
    stored: tuple[Mapping[str, Any], ...] = field(repr=False)
    options: StorageOptions = field(repr=False)

    async def set_up(self, client: DynamoDBClient, table: str, session_id: str) -> None:
        """Give a session id what was stored before the step."""
        for item in self.stored:
            old: Any = item["session_id"]
            key = session_id + old["S"][old["S"].find(SEPARATOR) :] if SEPARATOR in old["S"] else session_id
            await client.put_item(TableName=table, Item={**item, "session_id": {"S": key}})

    def session(
        self, client: DynamoDBClient, table: str, session_id: str, patience_seconds: float | None = None
    ) -> DynamoDBSession:
        """A session object as the script's, with another patience if so wished."""
        patience = self.options.patience_seconds if patience_seconds is None else patience_seconds
        options = replace(self.options, patience_seconds=patience)
        return DynamoDBSession(session_id, client, table, options=options)


async def record(client: DynamoDBClient, table: str, name: str) -> list[Stage]:
    """Play a script in an empty table, undisturbed, and keep each step's stage. The script must do what it says."""
    options, steps = SCRIPTS[name]
    seen: set[str] = set()
    session = DynamoDBSession("script", client, table, options=replace(options, observer=lambda e: seen.add(e.name)))
    history: History = ()
    stages: list[Stage] = []
    for number, step in enumerate(steps):
        stages.append(Stage(number, step, history, tuple(await stored_items(client, table)), options))
        assert await step.perform(session) == step.result(history)
        history = step.apply(history)
        assert await read(session) == history
    assert {"seal", "merge"} <= seen
    assert await stored_items(client, table) == []
    return stages


@dataclass(frozen=True)
class Point:
    """A request of a step.

    Attributes:
        stage: Where the step begins.
        warm: Whether the session object has read the session before.
        reads: With how many requests.
        request: Which of the step's requests, from 1.
    """

    stage: Stage
    warm: bool
    reads: int
    request: int


@dataclass(frozen=True)
class Rehearsal:
    """A script that was played, and every request that its steps made, begun warm and cold."""

    stages: list[Stage]
    points: list[Point]

    @classmethod
    async def of(
        cls, name: str, client: DynamoDBClient, behind: DynamoDBClient, proxy: FaultProxy, tables: tuple[str, str]
    ) -> Rehearsal:
        """Play a script, and each of its steps by itself behind the proxy."""
        stages = await record(client, tables[0], name)
        disturbances = Disturbances(proxy)
        points: list[Point] = []
        for stage, warm in itertools.product(stages, (False, True)):
            session = stage.session(behind, tables[1], f"rehearsal-{stage.number}-{warm}")
            await stage.set_up(client, tables[1], session.session_id)
            reading = disturbances.set(session.session_id)
            if warm:
                await read(session)
            working = disturbances.set(session.session_id)
            await stage.step.perform(session)
            assert working.requests
            points.extend(Point(stage, warm, reading.requests, number + 1) for number in range(working.requests))
        return cls(stages, points)


async def stored_items(client: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    """Everything in a table."""
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page: Any = await client.scan(TableName=table, ConsistentRead=True, **start)
        found.extend(page["Items"])
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


async def unknown_parts(client: DynamoDBClient, table: str) -> list[str]:
    """The keys of parts in a table that the head of their session does not know of. There must be none."""
    items = {item["session_id"]["S"]: item for item in await stored_items(client, table)}
    unknown = []
    for key in items:
        session_id, separator, slot = key.partition(SEPARATOR)
        if separator:
            head = from_attributes(session_id, items.get(session_id), 0)
            if int(slot) >= head.manifest.slot_count:
                unknown.append(key)
    return unknown


@dataclass
class Disturbance:
    """What happens to the requests of one session.

    Attributes:
        fault: What strikes.
        first: The first request that it strikes, from 1.
        times: How many from there on.
        requests: How many have come by.
    """

    fault: Fault | None = None
    first: int = 0
    times: int = 1
    requests: int = 0


class Disturbances:
    """The faults of many sessions that share one proxy, each counting its own requests."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._of: dict[str, Disturbance] = {}
        self._struck: dict[int, Disturbance] = {}
        proxy.on(self._strikes, self._strike, times=1 << 60)

    def set(self, session_id: str, fault: Fault | None = None, first: int = 1, times: int = 1) -> Disturbance:
        """Disturb a session from its next request on, which is number 1; without a fault, only count."""
        self._of[session_id] = Disturbance(fault, first, times)
        return self._of[session_id]

    def _strikes(self, request: Request) -> bool:
        disturbance = self._of.get(session_of(request))
        if disturbance is None:
            return False
        disturbance.requests += 1
        struck = (
            disturbance.fault is not None
            and disturbance.first <= disturbance.requests < disturbance.first + disturbance.times
        )
        if struck:
            self._struck[request.number] = disturbance
        return struck

    async def _strike(self, request: Request, forward: Forward) -> Reply:
        fault = self._struck.pop(request.number).fault
        assert fault
        return await fault(request, forward)


def session_of(request: Request) -> str:
    """The session that a request is about."""
    payload: Any = request.payload
    if "RequestItems" in payload:
        (asked,) = payload["RequestItems"].values()
        key: str = asked["Keys"][0]["session_id"]["S"]
    elif "TransactItems" in payload:
        key = payload["TransactItems"][0]["Put"]["Item"]["session_id"]["S"]
    else:
        key = (payload.get("Key") or payload["Item"])["session_id"]["S"]
    return key.partition(SEPARATOR)[0]


class Straggler:
    """A request whose sender hears nothing and gives up on it, and which reaches DynamoDB when it is let go."""

    def __init__(self) -> None:
        self._release = asyncio.Event()
        self._held: list[asyncio.Task[Reply]] = []

    async def fault(self, request: Request, forward: Forward) -> Reply:
        """Hold the request back, and close the connection."""

        async def later() -> Reply:
            await self._release.wait()
            return await forward(request)

        self._held.append(asyncio.ensure_future(later()))
        raise DroppedError

    async def let_go(self) -> list[Reply]:
        """What DynamoDB says to the requests held back, now."""
        self._release.set()
        return await asyncio.gather(*self._held)


def consistent(
    history: History, outcome: Sequence[tuple[Step, Any]], others: Sequence[tuple[Step, Any]] = ()
) -> set[History]:
    """The histories that can be, when some steps were made one after the other beside steps of somebody else.

    Args:
        history: Before all of them.
        outcome: Steps in their order, each with its result in ids.
        others: Those of the other, in their order, with their results.
    """
    found: set[History] = set()
    if not outcome and not others:
        return {history}
    for queue, rest in ((outcome, others), (others, outcome)):
        if queue:
            step, result = queue[0]
            if step.result(history) == result:
                left = (queue[1:], rest) if queue is outcome else (rest, queue[1:])
                found |= consistent(step.apply(history), *left)
    return found


async def at_once(trials: Iterable[Callable[[], Awaitable[None]]], limit: int = 12) -> int:
    """Run trials, a few at a time; the first that fails ends it. How many there were."""
    gate = asyncio.Semaphore(limit)
    count = 0

    async def one(trial: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await trial()

    async with asyncio.TaskGroup() as group:
        for trial in trials:
            count += 1
            group.create_task(one(trial))
    return count
