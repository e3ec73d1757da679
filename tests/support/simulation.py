"""Many writers of one session on a table in memory and a clock that does not wait, with every kind of misfortune.

Requests take random times, get lost, lose their answers, are sent twice, arrive long after their sender gave up, or
meet a writer that dies. Every write is looked at when it counts: the whole session is decoded and held against what it
was before. A head may add one batch that was never added before, remove the newest item, empty the session, or change
nothing but where items lie.

The table knows the conditions that the table sends and no others; that real engines understand them
in the same way is for the integration tests to show.
"""

from __future__ import annotations

import asyncio
import random
import re
import selectors
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from openai_agents_session import ContentionError, DynamoDBSession, OutcomeUnknownError, SessionError, StorageOptions
from openai_agents_session.storage import retry as patience_module
from openai_agents_session.storage.head import Head, from_attributes
from openai_agents_session.storage.items import unpack, values_in
from openai_agents_session.storage.keys import slot_key
from openai_agents_session.storage.part import part_from_attributes

SESSION = "s"
EPOCH = 1_000_000
"""Unix seconds at which a simulation begins."""


@dataclass(frozen=True)
class Weather:
    """What happens.

    Attributes:
        writers: How many.
        operations: Of each.
        faults: Share of the requests that fail or are sent twice.
        late: Share of the requests that arrive after their sender gave up.
        deaths: Share of the requests at which their writer dies.
        clears: Whether writers clear the session now and then.
        replaces: Whether they put other items in place of all.
        large: Whether some batches need many parts.
        ttls: What a session object's ``ttl_seconds`` may be.
        options: The layout.
    """

    writers: int = 4
    operations: int = 25
    faults: float = 0.1
    late: float = 0.0
    deaths: float = 0.0
    clears: bool = True
    replaces: bool = False
    large: bool = True
    ttls: tuple[int | None, ...] = (None,)
    options: StorageOptions = field(
        default_factory=lambda: StorageOptions(item_bytes=400, head_bytes=400, part_bytes=5_000, fan_out=3, cache=None)
    )


@dataclass
class Report:
    """What came of it.

    Attributes:
        wrong: What must never happen, and did.
        requests: How many were made.
        unknown: Operations whose outcome could not be told.
        gave_up: Operations that others did not let through.
        left: Items in the table after the last clear.
    """

    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    unknown: int = 0
    gave_up: int = 0
    left: int = 0


class Died(Exception):
    """The writer is no more."""


class _Damage(Exception):
    """The session cannot be read."""


def simulate(weather: Weather, seed: int) -> Report:
    """Let writers work under some weather, and tell what went wrong."""
    loop = _Loop()
    noise = random.Random(seed)
    try:
        with patch.object(patience_module, "_random", noise):
            return loop.run_until_complete(_Simulation(weather, seed).run())
    finally:
        loop.close()


class _Selector(selectors.SelectSelector):
    """Waits for nothing: the loop's clock jumps to the next event."""

    loop: _Loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing is left to happen")
        self.loop.now += max(0.0, timeout)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def _holds(condition: str, names: Mapping[str, str], values: Mapping[str, Any], item: Mapping[str, Any] | None) -> bool:
    """Whether a condition of ANDs and ORs, with at most one level of brackets, holds for an item."""

    def value(name: str) -> Any:
        stored = values[name] if name.startswith(":") else (item or {}).get(names[name])
        if stored is None:
            return None
        ((kind, content),) = stored.items()
        return int(content) if kind == "N" else content

    def term(text: str) -> bool:
        if text.startswith("("):
            return whole(text[1:-1])
        if match := re.fullmatch(r"attribute_(not_)?exists\((#\w+)\)", text):
            return (value(match[2]) is None) == bool(match[1])
        left, operator, right = text.split()
        found, wanted = value(left), value(right)
        if operator == "=" or found is None:
            return bool(found == wanted)
        return bool(found < wanted or (operator == "<=" and found == wanted))

    def whole(text: str) -> bool:
        return any(all(term(part) for part in _split(either, " AND ")) for either in _split(text, " OR "))

    return whole(condition)


def _split(text: str, separator: str) -> list[str]:
    """Split where no bracket is open."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth and text.startswith(separator, position):
            parts.append(text[start:position])
            start = position + len(separator)
    return [*parts, text[start:]]


def _error(operation: str, code: str, status: int = 400, retries: int = 0, **details: Any) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "simulated"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
        **details,
    }
    return ClientError(answer, operation)


class _Client:
    """An aiobotocore client of the table, of one writer."""

    def __init__(self, simulation: _Simulation) -> None:
        self._simulation = simulation
        self.dead = False
        self.meta = SimpleNamespace(endpoint_url=f"simulation-{id(simulation)}")

    async def get_item(self, **request: Any) -> Any:
        item = self._simulation.items.get
        key = request["Key"]["session_id"]["S"]
        return await self._send("GetItem", lambda: {"Item": found} if (found := item(key)) else {})

    async def batch_get_item(self, **request: Any) -> Any:
        ((table, asked),) = request["RequestItems"].items()
        keys = [key["session_id"]["S"] for key in asked["Keys"]]

        def found() -> Any:
            world = self._simulation
            stale = 0.0 if asked["ConsistentRead"] else 0.1
            seen = [world.items[key] for key in keys if key in world.items and world.noise.random() >= stale]
            return {"Responses": {table: seen}}

        return await self._send("BatchGetItem", found)

    async def put_item(self, **request: Any) -> Any:
        return await self._write("PutItem", request["Item"]["session_id"]["S"], request, lambda _: request["Item"])

    async def delete_item(self, **request: Any) -> Any:
        return await self._write("DeleteItem", request["Key"]["session_id"]["S"], request, lambda _: None)

    async def update_item(self, **request: Any) -> Any:
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]

        def updated(item: Any) -> Any:
            changed = dict(item)
            for name, value in re.findall(r"(#\w+) = (:\w+)", request["UpdateExpression"]):
                changed[names[name]] = values[value]
            for name in re.findall(r"REMOVE (#\w+)", request["UpdateExpression"]):
                changed.pop(names[name], None)
            return changed

        return await self._write("UpdateItem", request["Key"]["session_id"]["S"], request, updated)

    async def _write(self, operation: str, key: str, request: Any, change: Callable[[Any], Any]) -> Any:
        items = self._simulation.items
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})

        def apply() -> Any:
            old = items.get(key)
            if not _holds(request["ConditionExpression"], names, values, old):
                told: dict[str, Any] = {"Item": old} if old and "ReturnValuesOnConditionCheckFailure" in request else {}
                raise _error(operation, "ConditionalCheckFailedException", **told)
            new = change(old)
            if new is not None:
                items[key] = new
            elif old is not None:
                del items[key]
            self._simulation.written(key)
            return {}

        return await self._send(operation, apply)

    async def _send(self, operation: str, apply: Callable[[], Any]) -> Any:
        world, weather = self._simulation, self._simulation.weather
        world.report.requests += 1
        await self._wire()
        chance = world.noise.random()
        if chance < weather.deaths:
            self._attempt(apply if world.noise.random() < 0.5 else dict)
            self.dead = True
            await self._wire()
        chance -= weather.deaths
        if chance < weather.late:
            asyncio.get_running_loop().call_later(world.noise.choice((0.05, 0.3, 2)), self._attempt, apply)
            raise ReadTimeoutError(endpoint_url="simulated")
        if chance - weather.late < weather.faults:
            return await self._misfortune(operation, apply)
        answer, error = self._attempt(apply)
        await self._wire()
        if error:
            raise error
        return answer

    async def _misfortune(self, operation: str, apply: Callable[[], Any]) -> Any:
        kind = self._simulation.noise.choice(("request", "answer", "throttle", "failure", "late failure", "retry"))
        if kind == "throttle":
            raise _error(operation, "ThrottlingException")
        if kind == "retry":  # botocore lost an answer, and sends the request again
            self._attempt(apply)
            await self._wire()
            answer, error = self._attempt(apply)
            if error:
                error.response["ResponseMetadata"]["RetryAttempts"] = 1
                raise error
            return answer
        if kind in {"answer", "late failure"}:
            self._attempt(apply)
        if kind in {"request", "answer"}:
            raise ConnectionClosedError(endpoint_url="simulated")
        raise _error(operation, "InternalServerError", 500)

    @staticmethod
    def _attempt(apply: Callable[[], Any]) -> tuple[Any, ClientError | None]:
        try:
            return apply(), None
        except ClientError as error:
            return None, error

    async def _wire(self) -> None:
        if self.dead:
            if self._simulation.over:
                raise Died
            limbo = asyncio.get_running_loop().create_future()
            self._simulation.limbo.append(limbo)
            await limbo
        await asyncio.sleep(self._simulation.noise.uniform(0.001, 0.02))


class _Simulation:
    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.noise = random.Random(seed)
        self.report = Report()
        self.items: dict[str, dict[str, Any]] = {}
        self.limbo: list[asyncio.Future[None]] = []
        self.over = False
        self.batches: dict[str, tuple[str, ...]] = {}
        self.applied: dict[str, int] = {}
        self.outcomes: dict[str, str] = {}
        self.removed: set[str] = set()
        self.popped: set[str] = set()
        self.states: list[tuple[float, tuple[str, ...]]] = [(0.0, ())]

    async def run(self) -> Report:
        writers = [asyncio.ensure_future(self._writer()) for _ in range(self.weather.writers)]
        await asyncio.wait(writers, timeout=300)
        self.over = True
        for limbo in self.limbo:
            limbo.set_exception(Died())
        for result in await asyncio.gather(*writers, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, Died):
                raise result
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        self.weather = replace(self.weather, faults=0, late=0, deaths=0)
        await asyncio.sleep(3)  # for what is late
        for name, outcome in self.outcomes.items():
            if outcome in {"ok", "failed"} and self.applied.get(name, 0) != (outcome == "ok"):
                self.wrong(f"{name} is {outcome} and was applied {self.applied.get(name, 0)} times")
        try:
            await self._end(self._session(_Client(self)))
        except SessionError as error:
            self.wrong(f"at the end: {error}")
        return self.report

    async def _end(self, session: DynamoDBSession) -> None:
        if tuple(item["id"] for item in await self._items(session)) != self.states[-1][1]:
            self.wrong("the history is not what the last write made it")
        await session.clear_session()
        self.report.left = len(self.items)

    def wrong(self, what: str) -> None:
        self.report.wrong.append(f"{asyncio.get_running_loop().time():.3f} {what}")

    # --- what a write makes of the session -------------------------------------------------------------------------

    def written(self, key: str) -> None:
        """Hold the session against what it was before a write."""
        try:
            new = self._history()
        except _Damage as damage:
            self.wrong(f"after a write of {key}: {damage}")
            return
        old = self.states[-1][1]
        if key != SESSION:
            if new != old:
                self.wrong("a part changed the history")
            return
        added = new[len(old) :]
        if new == old:
            return
        if new[: len(old)] == old and self._is_batch(added):
            self._applied(added)
        elif new == old[:-1]:
            self.removed.add(old[-1])
        elif not new:
            self.removed.update(old)
        elif self.weather.replaces and self._is_batch(new):
            self._applied(new)
        else:
            self.wrong(f"{old} became {new}")
        self.states.append((asyncio.get_running_loop().time(), new))

    def _is_batch(self, ids: tuple[str, ...]) -> bool:
        return bool(ids) and self.batches.get(ids[0].partition(".")[0]) == ids

    def _applied(self, ids: tuple[str, ...]) -> None:
        name = ids[0].partition(".")[0]
        self.applied[name] = self.applied.get(name, 0) + 1
        if self.applied[name] > 1:
            self.wrong(f"{name} was applied again")

    def _history(self) -> tuple[str, ...]:
        now = int(self._now())
        head = from_attributes(SESSION, self.items.get(SESSION), now).as_of(now)
        items: list[Any] = []
        for segment in head.manifest.segments:
            chunks = [
                self._chunk(head, (head.epoch, segment.generation, index, len(segment.slots)), slot)
                for index, slot in enumerate(segment.slots)
            ]
            items.extend(values_in(unpack(b"".join(chunks)))[: segment.count])
        return tuple(item["id"] for item in [*items, *head.tail.decode()])

    def _chunk(self, head: Head, wanted: tuple[bytes, int, int, int], slot: int) -> bytes:
        item = self.items.get(slot_key(SESSION, slot))
        if item is None:
            raise _Damage(f"live part {slot} is missing")
        part = part_from_attributes(item)
        if (part.epoch, part.generation, part.index, part.chunks) != wanted:
            raise _Damage(f"live part {slot} holds something else")
        if part.expires is not None and (head.ttl is None or part.expires < head.ttl):
            raise _Damage(f"live part {slot} ends before its session")
        return part.data

    # --- the writers -----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def _session(self, client: _Client) -> DynamoDBSession:
        options = replace(self.weather.options, clock=self._now)
        ttl: int | None = self.noise.choice(self.weather.ttls)
        return DynamoDBSession(SESSION, client, "table", ttl_seconds=ttl, options=options)  # type: ignore[arg-type]

    @staticmethod
    async def _items(session: DynamoDBSession, limit: int | None = None) -> list[Any]:
        return list(await session.get_items(limit))

    async def _writer(self) -> None:
        client = _Client(self)
        session = self._session(client)
        for _ in range(self.weather.operations):
            await asyncio.sleep(self.noise.choice((0, 0.01, 0.1)))
            if self.noise.random() < 0.2:
                session = self._session(client)
            chance = self.noise.random()
            try:
                if chance < 0.5:
                    await self._add(session)
                elif chance < 0.75:
                    await self._pop(session)
                elif chance < 0.78 and self.weather.clears:
                    await session.clear_session()
                else:
                    await self._read(session)
            except SessionError as error:
                if isinstance(error, OutcomeUnknownError):
                    self.report.unknown += 1
                elif isinstance(error, ContentionError):
                    self.report.gave_up += 1
                else:
                    self.wrong(f"{type(error).__name__}: {error}")

    async def _add(self, session: DynamoDBSession) -> None:
        name = f"b{len(self.batches)}"
        ids = tuple(f"{name}.{index}" for index in range(self.noise.choice((1, 1, 2, 3))))
        small = not self.weather.large or self.noise.random() < 0.9
        size = self.noise.choice((10, 40, 150) if small else (2_000, 12_000, 40_000))
        self.batches[name] = ids
        items: Any = [{"id": item, "content": self.noise.randbytes(size // 2).hex()} for item in ids]
        replacing = self.weather.replaces and self.noise.random() < 0.1
        self.outcomes[name] = "pending"
        try:
            await (session._atomic_replace_items(items) if replacing else session.add_items(items))
        except OutcomeUnknownError:
            self.outcomes[name] = "unknown"
            raise
        except SessionError:
            self.outcomes[name] = "failed"
            raise
        self.outcomes[name] = "ok"

    async def _pop(self, session: DynamoDBSession) -> None:
        began = asyncio.get_running_loop().time()
        item: Any = await session.pop_item()
        if item is None:
            if all(history for history in self._since(began)):
                self.wrong("nothing was popped from a session that was never empty")
            return
        if item["id"] in self.popped:
            self.wrong(f"{item['id']} was popped twice")
        if item["id"] not in self.removed:
            self.wrong(f"{item['id']} was popped and is still there")
        self.popped.add(item["id"])

    async def _read(self, session: DynamoDBSession) -> None:
        began = asyncio.get_running_loop().time()
        limit = self.noise.choice((None, None, 1, 3, 10))
        seen = tuple(item["id"] for item in await self._items(session, limit))
        if seen not in [history[-limit:] if limit else history for history in self._since(began)]:
            self.wrong(f"{seen} was read and was never the history")

    def _since(self, began: float) -> list[tuple[str, ...]]:
        """What the history was at that time, and has been since."""
        first = max(index for index, (time, _) in enumerate(self.states) if time <= began)
        return [history for _, history in self.states[first:]]
