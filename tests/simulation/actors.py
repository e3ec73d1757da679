"""Those who use the library: tasks of processes, which call what a scenario's cast says."""

from __future__ import annotations

import asyncio
import random
from base64 import b85encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from openai_agents_session import DynamoDBSession, SessionError, StorageOptions
from openai_agents_session.cache import SegmentCache
from openai_agents_session.runs import PendingCall, PendingRun, PendingRuns, run_key
from openai_agents_session.turns import turn

from .internals import SLACK_SECONDS, name_of
from .operations import CURRENT
from .reference import ReferenceSession
from .rules import LEASES, REFERENCE, Snapshot
from .scenarios import LAYOUTS
from .wire import Killed, Process

if TYPE_CHECKING:
    from .world import World

SESSION = "s"
TABLE = "table"
_CALLS = (PendingCall("call", "tool", "{}"),)


@dataclass(eq=False)
class Puppet:
    """A session object, and what is beside it.

    Attributes:
        process: Where it lives.
        session: The object.
        runs: Its parked runs.
        ttl: Its ``ttl_seconds``.
        owner: Its owner.
        patience: Its ``patience_seconds``.
        users: How many operations it is used for now.
        leases: How many tasks hold its lease, or ask for it, now.
    """

    process: Process
    session: DynamoDBSession
    runs: PendingRuns
    ttl: int | None
    owner: str | None
    patience: float
    name: str
    users: int = 0
    leases: int = 0

    def __str__(self) -> str:
        return f"{self.process.name} {self.name}"


class Cast:
    """One task of a process.

    Args:
        world: The run.
        seat: What its process has in common for all its tasks.
    """

    def __init__(self, world: World, seat: Seat) -> None:
        self._world = world
        self._noise: random.Random = world.noise
        self._seat = seat

    async def play(self) -> None:
        """Make its operations. When its process is killed, it goes on in another one."""
        scenario = self._world.scenario
        kinds, weights = list(scenario.cast), list(scenario.cast.values())
        for _ in range(scenario.operations):
            await asyncio.sleep(self._noise.choice(scenario.pauses))
            puppet = self._seat.puppet()
            (kind,) = self._noise.choices(kinds, weights)
            with suppress(SessionError, asyncio.CancelledError, _Raw):  # the oracle has seen it
                await self._mortal(puppet, self._cancellable(self._do(kind, puppet)))

    async def _mortal(self, puppet: Puppet, work: Awaitable[None]) -> None:
        """Do it for as long as the process lives."""
        if not self._world.scenario_weather.killed:
            await work
            return
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, puppet.process.death}, return_when=asyncio.FIRST_COMPLETED)
        if puppet.process.is_dead:
            self._world.abandoned.append(task)
        else:
            task.result()

    async def _cancellable(self, work: Awaitable[None]) -> None:
        """Do it, or be cancelled, once or twice."""
        if self._noise.random() >= self._world.scenario_weather.cancelled:
            await work
            return
        task = asyncio.ensure_future(work)
        for _ in range(self._noise.choice((1, 1, 2))):
            await asyncio.wait({task}, timeout=self._noise.choice((0, 0.005, 0.02, 0.3, 2)))
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _do(self, kind: str, puppet: Puppet) -> None:
        puppet.leases += kind in LEASES
        try:
            await getattr(self, f"_{kind}")(puppet)
        finally:
            puppet.leases -= kind in LEASES

    # --- one operation ---------------------------------------------------------------------------------------------

    async def perform(
        self,
        puppet: Puppet,
        kind: str,
        call: Callable[[], Awaitable[Any]],
        *,
        shown: Callable[[Any], Any] = lambda result: result,
        limit: float | None = None,
        key: str = SESSION,
        **about: Any,
    ) -> Any:
        """Call the library, and tell the oracle what came of it.

        Args:
            puppet: Whose session object.
            kind: The kind of operation.
            call: Makes the call.
            shown: What of its result the oracle wants to see.
            limit: How many seconds it may take; None for its patience and a little.
            key: The head's key.
            **about: More of the operation's attributes.
        """
        world = self._world
        operation = world.operation(kind, key, puppet, about)
        if limit is None:
            limit = self._patient(puppet)
        puppet.users += 1
        outer = CURRENT.get(None)
        CURRENT.set(operation)
        try:
            result = await call()
        except (SessionError, asyncio.CancelledError, Killed) as error:
            world.oracle.ended(operation, limit, error=error)
            raise
        except Exception as error:
            world.oracle.ended(operation, limit, error=error)
            raise _Raw from error
        else:
            world.oracle.ended(operation, limit, shown(result))
            return result
        finally:
            CURRENT.set(outer)  # not reset: a run that failed may end this coroutine in another context
            puppet.users -= 1

    # --- what a chat does ------------------------------------------------------------------------------------------

    async def _append(self, puppet: Puppet, kind: str = "") -> None:
        names, items = self._world.batch(self._noise, kind)
        await self.perform(puppet, "append", lambda: puppet.session.add_items(items), batch=names)

    async def _pop(self, puppet: Puppet) -> None:
        await self.perform(
            puppet, "pop", puppet.session.pop_item, shown=lambda item: None if item is None else name_of(item)
        )

    async def _read(self, puppet: Puppet) -> None:
        limit = self._noise.choice((None, None, 1, 3, 10, 0))
        await self.perform(
            puppet,
            "read",
            lambda: puppet.session.get_items(limit),
            shown=lambda items: (tuple(map(name_of, items)), limit),
        )

    async def _describe(self, puppet: Puppet) -> None:
        await self.perform(puppet, "describe", puppet.session.describe, shown=lambda info: info.items)

    async def _clear(self, puppet: Puppet) -> None:
        await self.perform(puppet, "clear", puppet.session.clear_session)

    async def _replace(self, puppet: Puppet) -> None:
        names, items = self._world.batch(self._noise)
        await self.perform(puppet, "replace", lambda: puppet.session._atomic_replace_items(items), batch=names)

    async def _recover(self, puppet: Puppet) -> None:
        await self.perform(puppet, "recover", puppet.session.recover)

    async def _compact(self, puppet: Puppet) -> None:
        limit = self._noise.choice((2, 5, 50))
        stored = self._world.oracle.ledger(SESSION).stored.names
        prunable = frozenset(stored[: self._noise.choice((0, 0, 3, 9))])
        snapshot = await self.perform(
            puppet,
            "snapshot",
            lambda: puppet.session._get_compaction_snapshot(
                limit, prune_prefix=(lambda item: name_of(item) in prunable) if prunable else None
            ),
            shown=lambda found: found and len(found.items),
        )
        if snapshot is None:
            return
        await asyncio.sleep(self._noise.choice((0, 0.05, 0.5)))
        seen = tuple(map(name_of, snapshot.items))
        start = self._noise.randint(0, len(seen))
        names, items = self._world.batch(self._noise)
        about = Snapshot(seen, start, prunable)
        await self.perform(puppet, "compact", lambda: snapshot.replace_suffix(start, items), batch=names, about=about)

    # --- leases and turns ------------------------------------------------------------------------------------------

    async def _lease(self, puppet: Puppet) -> None:
        seconds, wait = self._noise.choice((1, 5, 30)), self._noise.choice((0, 0.3, 3))
        scope = object()
        manager = puppet.session.lease(seconds, wait_seconds=wait)
        rounds = min(2, self._world.scenario.tasks)  # before a try, others of this object may have their turn
        limit = rounds * self._patient(puppet) + wait
        lease = await self.perform(
            puppet, "lease", manager.__aenter__, limit=limit, scope=scope, shown=lambda _: "held"
        )
        try:
            for _ in range(self._noise.randint(0, 4)):
                await asyncio.sleep(self._noise.choice((0, 0.05, 0.5)))
                await self._within(puppet, lease, scope)
        finally:
            if not puppet.process.is_dead:
                await self.perform(puppet, "release", lambda: manager.__aexit__(None, None, None), scope=scope)

    async def _within(self, puppet: Puppet, lease: Any, scope: object) -> None:
        try:
            if self._noise.random() < 0.15:
                await self.perform(puppet, "extend", lambda: lease.extend(self._noise.choice((1, 5))), scope=scope)
            else:
                await self._do(self._noise.choice(("append", "append", "pop", "read")), puppet)
        except (SessionError, _Raw):
            pass

    async def _turn(self, puppet: Puppet) -> None:
        loop = asyncio.get_running_loop()
        seconds = self._noise.choice((3, 6, 12))
        end = loop.time() + seconds
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: int((end - loop.time()) * 1000))

        async def invocation() -> None:
            async with turn(puppet.session, context, wait_seconds=self._noise.choice((0, 1, 5)), reserve_seconds=2):
                for _ in range(self._noise.randint(1, 5)):
                    await asyncio.sleep(self._noise.choice((0, 0.1, 1, 4)))
                    await self._step(puppet)

        await self.perform(puppet, "turn", invocation, limit=seconds, scope=object())

    async def _step(self, puppet: Puppet) -> None:
        try:
            kind = self._noise.choice(("append", "append", "call", "think", "pop", "read"))
            if kind in {"call", "think"}:
                await self._append(puppet, kind)
            else:
                await self._do(kind, puppet)
        except (SessionError, _Raw):
            if self._noise.random() < 0.5:
                raise

    @staticmethod
    def _patient(puppet: Puppet) -> float:
        """How long an operation that begins now may take: of one object, one after the other."""
        return (puppet.patience + SLACK_SECONDS) * (1 + puppet.users)

    # --- parked runs -----------------------------------------------------------------------------------------------

    async def _park(self, puppet: Puppet) -> None:
        state = self._world.state()
        text = state + "~" + b85encode(self._noise.randbytes(self._noise.choice((0, 100, 6_000)))).decode()
        run = await self.perform(
            puppet,
            "park",
            lambda: puppet.runs.park(text, _CALLS),
            key=run_key(SESSION),
            about=state,
            shown=lambda run: run.run_id,
        )
        self._world.runs.append(run.run_id)

    async def _look(self, puppet: Puppet) -> None:
        run = await self.perform(puppet, "look", puppet.runs.get, key=run_key(SESSION), shown=_run_names)
        if run is not None:
            self._world.runs.append(run.run_id)

    async def _claim(self, puppet: Puppet) -> None:
        if run := self._run():
            await self.perform(
                puppet,
                "claim",
                lambda: puppet.runs.claim(run, {"call": True}),
                key=run_key(SESSION),
                about=run,
                shown=lambda claimed: claimed.run_id,
            )

    async def _settle(self, puppet: Puppet) -> None:
        if run := self._run():
            await self.perform(puppet, "settle", lambda: puppet.runs.settle(run), key=run_key(SESSION), about=run)

    async def _discard(self, puppet: Puppet) -> None:
        await self.perform(puppet, "discard", puppet.runs.discard, key=run_key(SESSION))

    def _run(self) -> str:
        return self._noise.choice(self._world.runs[-2:]) if self._world.runs else ""

    # --- the reference library -------------------------------------------------------------------------------------

    async def _reference(self, puppet: Puppet) -> None:
        session = ReferenceSession(
            SESSION, puppet.process.client, TABLE, puppet.process.clock, self._noise.choice((None, puppet.ttl))
        )
        names, items = self._world.batch(self._noise)
        kind = self._noise.choice(("append", "append", "append", "pop", "clear", "read"))
        call = {
            "append": lambda: session.add_items(items),
            "pop": session.pop_item,
            "clear": session.clear_session,
            "read": session.get_items,
        }[kind]
        await self.perform(puppet, REFERENCE, call, limit=1e9, batch=names, shown=lambda _: kind)


class Seat:
    """What the tasks of one process have in common; once it is killed, the next process takes its place.

    Args:
        world: The run.
        number: Which process.
        is_shared: Whether its tasks use one session object.
    """

    def __init__(self, world: World, number: int, *, is_shared: bool) -> None:
        self._world = world
        self._number = number
        self._starts = 0
        self._is_shared = is_shared
        self._puppets: list[Puppet] = []
        self._process = self._started()

    def _started(self) -> Process:
        noise, scenario = self._world.noise, self._world.scenario
        self._starts += 1
        self._puppets = []
        cache = SegmentCache() if noise.random() < scenario.cached else None
        denied = scenario.role if noise.random() < 0.5 else frozenset()
        return Process(f"p{self._number}.{self._starts}", self._world.sky, cache, denied)

    def puppet(self) -> Puppet:
        """A session object: an old one, or a new one."""
        noise = self._world.noise
        if self._process.is_dead:
            self._process = self._started()
        if self._puppets and (self._is_shared or noise.random() >= self._world.scenario.fresh):
            return self._puppets[-1]
        self._puppets.append(self._new())
        return self._puppets[-1]

    def _new(self) -> Puppet:
        noise, scenario, process = self._world.noise, self._world.scenario, self._process
        ttl, owner = noise.choice(scenario.ttls), noise.choice(scenario.owners)
        patience = noise.choice(scenario.patience)
        layout = LAYOUTS[noise.choice(scenario.layouts)]
        options = replace(layout, clock=process.clock, cache=process.cache, patience_seconds=patience)
        return self._puppet(f"o{len(self._puppets)}", options, ttl, owner)

    def final(self) -> Puppet:
        """A session object that knows nothing, and may do everything."""
        self._process.denied, self._process.skew = frozenset(), 0.0
        return self._puppet("end", replace(LAYOUTS["tiny"], clock=self._process.clock), None, None)

    def _puppet(self, name: str, options: StorageOptions, ttl: int | None, owner: str | None) -> Puppet:
        client: Any = self._process.client
        session = DynamoDBSession(SESSION, client, TABLE, ttl_seconds=ttl, owner=owner, options=options)
        runs = PendingRuns(session)
        return Puppet(self._process, session, runs, ttl, owner, options.patience_seconds, name)


def _run_names(run: PendingRun | None) -> tuple[str, ...]:
    return () if run is None else tuple(map(name_of, run.to_items()))


class _Raw(Exception):
    """What is no error of the library: the oracle has seen it."""


__all__ = ["SESSION", "TABLE", "Cast", "Puppet", "Seat"]
