"""One run: a scenario and a seed, from an empty table to the last look at it."""

from __future__ import annotations

import asyncio
import random
from base64 import b85encode
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from openai_agents_session import SessionError
from openai_agents_session.runs import run_key

from .actors import SESSION, TABLE, Cast, Seat
from .clock import EPOCH, Deadlock, VirtualLoop
from .internals import name_of, virtual
from .operations import CURRENT, Operation
from .oracle import Oracle
from .scenarios import SCENARIOS, Scenario
from .table import Table, Write, expiry
from .trace import Trace
from .weather import Weather
from .wire import Killed, Sky

_LONGEST_SECONDS = 3_600.0
"""A run that is not over by then hangs."""

_LATEST_SECONDS = 60.0
"""By then whatever was late has arrived."""


@dataclass
class Report:
    """What came of a run, or of several.

    Attributes:
        scenario: The scenario's name.
        seed: The seed.
        wrong: What must not happen, and did.
        trace: The events that led to the first of it, one a line.
        digest: Changes with every event of the run.
        operations: How many were made.
        requests: How many requests they made.
        outcomes: Operations by kind and outcome.
        faults: What went wrong, by kind.
        allowed: What can still happen, and did, by kind.
    """

    scenario: str
    seed: int
    wrong: list[str] = field(default_factory=list)
    trace: str = ""
    digest: int = 0
    operations: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)

    @property
    def unknown(self) -> int:
        """Operations whose outcome could not be told."""
        return sum(count for name, count in self.outcomes.items() if name.endswith("OutcomeUnknownError"))

    def add(self, other: Report) -> None:
        """Count another run's in."""
        self.operations += other.operations
        self.requests += other.requests
        self.outcomes += other.outcomes
        self.faults += other.faults
        self.allowed += other.allowed


def simulate(name: str, seed: int) -> Report:
    """Make one run.

    Args:
        name: The scenario's.
        seed: What is drawn from it.
    """
    loop = VirtualLoop()
    with virtual(loop, seed):
        world = World(SCENARIOS[name], seed, loop)
        loop.set_exception_handler(lambda _, context: world.unhandled(context))
        try:
            loop.run_until_complete(world.run())
        except Deadlock as deadlock:
            world.oracle.docket.accuse(str(deadlock))
        finally:
            world.close()
        return world.report()


class World:
    """A run.

    Args:
        scenario: What may be.
        seed: What is drawn from it.
        loop: Its time.
    """

    def __init__(self, scenario: Scenario, seed: int, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.noise = random.Random(f"{scenario.name} {seed}")
        self.trace = Trace()
        self.scenario_weather: Weather = scenario.weather(self.noise)
        self.runs: list[str] = []
        self.abandoned: list[asyncio.Future[None]] = []
        self._seed = seed
        self._loop = loop
        self._operations = 0
        self._batches = 0
        self.table = Table(TABLE, lambda: EPOCH + loop.time(), self.noise, self._written)
        self.oracle = Oracle(self.scenario_weather, self.table.items, self.trace, loop.time)
        self.sky = Sky(self.scenario_weather, self.noise, self.table, self.trace, self.oracle.sent)

    # --- what actors ask for ---------------------------------------------------------------------------------------

    def operation(self, kind: str, key: str, actor: Any, about: dict[str, Any]) -> Operation:
        """A new operation."""
        self._operations += 1
        operation = Operation(self._operations, kind, key, actor, self._loop.time(), **about)
        batch = f" {','.join(operation.batch)}" if operation.batch else ""
        self.trace.note(self._loop.time(), str(actor), f"{operation} begins{batch}")
        return operation

    def batch(self, noise: random.Random, kind: str = "") -> tuple[tuple[str, ...], list[Any]]:
        """A new batch: the names of its items, and the items."""
        self._batches += 1
        names = tuple(f"{kind or 'b'}{self._batches}.{index}" for index in range(noise.choice((1, 1, 2, 3))))
        is_large = noise.random() < self.scenario.large
        size = noise.choice((500, 2_000, 6_000) if is_large else (4, 20, 100))
        return names, [_item(kind, name, b85encode(noise.randbytes(size)).decode()) for name in names]

    def state(self) -> str:
        """A new state of a run to park."""
        self._batches += 1
        return f"state{self._batches}"

    # --- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let everybody play, wait for what is late, and look at what is left."""
        noise, scenario = self.noise, self.scenario
        seats = [
            Seat(self, number, is_shared=noise.random() < scenario.shared)
            for number in range(noise.randint(1, scenario.processes))
        ]
        tasks = [
            asyncio.ensure_future(Cast(self, seat).play())
            for seat in seats
            for number in range(noise.randint(1, scenario.tasks))
        ]
        helpers = [asyncio.ensure_future(self.sky.change()), asyncio.ensure_future(self._vandalise())]
        await self._played(tasks)
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        self.sky.weather, self.sky.spell = Weather(), ""
        await asyncio.sleep(_LATEST_SECONDS)
        await self._unwind()
        await self._end()
        for problem in self.table.invalid:
            self.oracle.docket.accuse(f"DynamoDB would refuse that as invalid: {problem}")

    async def _played(self, tasks: list[asyncio.Task[None]]) -> None:
        _, hanging = await asyncio.wait(tasks, timeout=_LONGEST_SECONDS)
        if hanging:
            self.oracle.docket.accuse(f"{len(hanging)} tasks hang")
        for task in tasks:
            if task.done():
                task.result()

    async def _unwind(self) -> None:
        """Let the coroutines of killed processes end, without another request."""
        self.sky.over = True
        for limbo in self.sky.limbo:
            if not limbo.done():  # else the operation was cancelled before its process was killed
                limbo.set_exception(Killed())
        await asyncio.gather(*self.abandoned, return_exceptions=True)

    async def _end(self) -> None:
        """The history is what the writes made of it; a clear leaves nothing that a head knew."""
        puppet = Seat(self, 99, is_shared=False).final()
        operation = self.operation("end", SESSION, puppet, {})
        CURRENT.set(operation)
        self.oracle.check_garbage(cleared=False)
        stored = self.oracle.ledger(SESSION).stored
        try:
            if not self.scenario.vandal and not self.oracle.docket.wrong and not stored.problems:
                items = await puppet.session.get_items()
                is_expired = stored.ttl is not None and stored.ttl <= puppet.process.clock()
                if tuple(map(name_of, items)) != (() if is_expired else stored.names):
                    self.oracle.docket.accuse("a new reader does not see the history that the last write made")
            CURRENT.set(self.operation("clear", SESSION, puppet, {}))
            await puppet.session.clear_session()
            CURRENT.set(self.operation("discard", run_key(SESSION), puppet, {}))
            await puppet.runs.discard()
        except SessionError as error:
            self.oracle.docket.accuse(f"at the end: {error!r}")
        self.oracle.check_garbage(cleared=True)

    # --- what happens to the table ---------------------------------------------------------------------------------

    def _written(self, write: Write) -> None:
        try:
            self.oracle.written(write)
        except Exception as error:  # noqa: BLE001 - the store would take it for a failed request
            self.oracle.docket.accuse(f"the oracle failed: {error!r}")
        end = expiry(write.new)
        if end is not None and self.sky.weather.deletion != "never" and write.request != "damage":
            delay = 0.0 if self.sky.weather.deletion == "prompt" else self.noise.expovariate(1 / 20)
            left = max(0.0, end - EPOCH - self._loop.time())
            self._loop.call_later(left + delay + 1e-6, self._expire, write.key)

    def _expire(self, key: str) -> None:
        self.table.delete_expired(key)

    async def _vandalise(self) -> None:
        """Damage parts, and heads, by other means than the library's."""
        while self.scenario.vandal:
            await asyncio.sleep(self.noise.expovariate(1 / self.scenario.vandal))
            if self.scenario.heads and self.noise.random() < 0.5:
                await self._damage_head()
            elif live := sorted(self.oracle.ledger(SESSION).stored.live & set(self.table.items)):
                self._damage_part(self.noise.choice(live))

    def _damage_part(self, key: str) -> None:
        item = dict(self.table.items[key])
        kind = self.noise.choice(("gone", "data", "attribute"))
        self.sky.faults[f"part damaged: {kind}"] += 1
        self.trace.note(self._loop.time(), "vandal", f"{key}: {kind}")
        if kind == "data":
            item["data"] = {"B": item["data"]["B"][:-1] + bytes([item["data"]["B"][-1] ^ 1])}
        elif kind == "attribute":
            del item[self.noise.choice(("data", "epoch", "generation", "chunk", "count"))]
        self.table.put(key, None if kind == "gone" else item, "damage", None)

    async def _damage_head(self) -> None:
        """Damage the head for a while; then an operator puts it back, unless somebody has cleared it."""
        item = self.table.items.get(SESSION)
        if item is None or "state" not in item:
            return
        damaged = {name: value for name, value in item.items() if name != self.noise.choice(("state", "commit"))}
        self.sky.faults["head damaged"] += 1
        self.table.put(SESSION, damaged, "damage", None)
        try:
            await asyncio.sleep(self.noise.uniform(0.1, 1))
        finally:
            if self.table.items.get(SESSION) is damaged:
                self.table.put(SESSION, item, "damage", None)

    def unhandled(self, context: dict[str, Any]) -> None:
        """Somebody raised where nobody was to see it."""
        error = context.get("exception")
        if not self.sky.over and not isinstance(error, Killed):
            self.oracle.docket.accuse(f"nobody handles {error or context['message']!r}")

    def close(self) -> None:
        """End what a run that failed has left behind: it must not disturb the next."""
        self.sky.over = self.sky.is_gone = True
        self._loop.now += 10 * _LONGEST_SECONDS  # whatever waits for a time has waited
        with suppress(Deadlock):
            while tasks := asyncio.all_tasks(self._loop):
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=10))
        self._loop.close()

    def report(self) -> Report:
        """What came of it."""
        docket = self.oracle.docket
        return Report(
            scenario=self.scenario.name,
            seed=self._seed,
            wrong=docket.wrong,
            trace=docket.evidence,
            digest=self.trace.digest,
            operations=self._operations,
            requests=self.sky.requests.total(),
            outcomes=docket.outcomes,
            faults=self.sky.faults,
            allowed=docket.allowed,
        )


def _item(kind: str, name: str, text: str) -> dict[str, Any]:
    if kind == "call":
        return {"type": "function_call", "id": name, "call_id": name, "name": "tool", "arguments": text}
    if kind == "think":
        return {"type": "reasoning", "id": name, "summary": [], "encrypted_content": text}
    return {"id": name, "role": "user", "content": text}
