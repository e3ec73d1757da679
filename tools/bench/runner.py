"""Plays a conversation with a contender through a metering proxy, and notes what every turn took.

One run serves all measurements: costs are counted in every turn; in a few spans of turns each request is delayed,
which changes no count, to measure latency; between others the raw calls are made, to compare CPU time under the
same load; after some turns the history is read alone, with a delay so long that it tells the round trips.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.contenders import FLOORS, OURS, ROOT, Contender
from tools.bench.workloads import Workload
from tools.emulation import engines
from tools.emulation.meter import Bill
from tools.emulation.proxy import FaultProxy

FOLDER = ROOT / ".work" / "bench"
ENGINE = "dynoxide"
TURN_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Plan:
    """What to measure beside the costs.

    Attributes:
        latency_seconds: Added to every request in the spans for latency.
        delayed: Spans of turns in which requests are delayed: first and last turn.
        compared: Span of turns beside which the raw calls are made.
        read_after: Turns after which the history is read alone.
        read_latency_seconds: Added to every request of such a read.
    """

    latency_seconds: float = 0.005
    delayed: Sequence[tuple[int, int]] = ((3, 12), (181, 200))
    compared: tuple[int, int] = (201, 280)
    read_after: Sequence[int] = (200, 1000)
    read_latency_seconds: float = 0.1


@dataclass(frozen=True)
class Measure:
    """What one turn, or one read, took.

    Attributes:
        bill: At the wire.
        cpu: Processor time of the client (seconds).
        seconds: Elapsed at the client.
        latency: That was added to each request (seconds).
    """

    bill: Bill
    cpu: float
    seconds: float
    latency: float = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**dataclasses.asdict(self), "bill": self.bill.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Measure:
        """What `to_json` wrote."""
        return cls(**{**record, "bill": Bill.from_json(record["bill"])})


@dataclass
class Run:
    """One contender's conversation.

    Attributes:
        contender: Its name.
        workload: The workload's name.
        turns: Every turn that went through, in order.
        raw: The raw calls beside some of them.
        reads: Reads alone, by the number of turns in the history.
        failure: Why the next turn did not go through, or None.
    """

    contender: str
    workload: str
    turns: list[Measure] = field(default_factory=list)
    raw: list[Measure] = field(default_factory=list)
    reads: dict[int, Measure] = field(default_factory=dict)
    failure: str | None = None

    def bill(self, turns: int) -> Bill | None:
        """The cost of a conversation of so many turns, or None if it was not to be had."""
        return sum((turn.bill for turn in self.turns[:turns]), Bill()) if len(self.turns) >= turns else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **vars(self),
            "turns": [turn.to_json() for turn in self.turns],
            "raw": [turn.to_json() for turn in self.raw],
            "reads": {turns: read.to_json() for turns, read in self.reads.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Run:
        """What `to_json` wrote."""
        return cls(
            record["contender"],
            record["workload"],
            [Measure.from_json(turn) for turn in record["turns"]],
            [Measure.from_json(turn) for turn in record["raw"]],
            {int(turns): Measure.from_json(read) for turns, read in record["reads"].items()},
            record["failure"],
        )


class WorkerError(Exception):
    """A worker could not do what it was told."""


class WrongHistoryError(Exception):
    """A contender's history is not what was written: its figures would mean nothing."""


@dataclass(frozen=True)
class Worker:
    """A running worker, and the proxy that it talks through."""

    process: asyncio.subprocess.Process
    proxy: FaultProxy

    async def order(self, latency: float = 0, **order: Any) -> tuple[int, Measure]:
        """Let it do one thing.

        Args:
            latency: Added to every request meanwhile (seconds).
            order: What to do.

        Returns:
            How many questions the history held, and what it took.

        Raises:
            WorkerError: the contender raised an error, named in the text.
        """
        self.proxy.latency_seconds = latency
        before = self.proxy.bill
        answer = await self._ask(order)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["read"], Measure(self.proxy.bill - before, answer["cpu"], answer["seconds"], latency)

    async def ready(self) -> None:
        """Wait until it has opened its stores."""
        await self._answer()

    async def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self.process.stdin.drain()
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = await asyncio.wait_for(self.process.stdout.readline(), TURN_TIMEOUT_SECONDS)
        if not line:
            raise WorkerError(f"the worker ended with exit code {await self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def run_all(contenders: Sequence[Contender], workload: Workload, plan: Plan) -> list[Run]:
    """Let each contender hold the conversation, one after the other, on one engine."""
    with engines.start(ENGINE) as engine:
        return [await run(contender, workload, plan, engine.endpoint_url) for contender in contenders]


async def run(contender: Contender, workload: Workload, plan: Plan, endpoint_url: str) -> Run:
    """Let one contender hold the conversation.

    Raises:
        WrongHistoryError: what it read was not what it had written.
    """
    outcome = Run(contender.name, workload.name)
    async with FaultProxy(endpoint_url, keep_records=False) as proxy, _worker(contender, workload, proxy) as worker:
        for number in range(1, len(workload.turns) + 1):
            try:
                await _turn(worker, number, plan, outcome, compare=contender in OURS)
                if number in plan.read_after and contender not in FLOORS:
                    await worker.order(do="read")  # so that the delayed one finds its connections open
                    _, outcome.reads[number] = await worker.order(plan.read_latency_seconds, do="read")
            except WorkerError as error:
                outcome.failure = str(error)
                return outcome
    return outcome


async def _turn(worker: Worker, number: int, plan: Plan, outcome: Run, *, compare: bool) -> None:
    delayed = any(first <= number <= last for first, last in plan.delayed)
    read, measure = await worker.order(plan.latency_seconds if delayed else 0, do="turn", number=number)
    if read != number - 1:
        raise WrongHistoryError(
            f"{outcome.contender}, turn {number}: {read} questions in the history, not {number - 1}"
        )
    outcome.turns.append(measure)
    if compare and plan.compared[0] <= number <= plan.compared[1]:
        outcome.raw.append((await worker.order(do="turn", number=number, store="raw"))[1])


@asynccontextmanager
async def _worker(contender: Contender, workload: Workload, proxy: FaultProxy) -> AsyncIterator[Worker]:
    arguments = {
        "endpoint_url": proxy.url,
        "session_id": f"{contender.name}-{workload.name}",
        "options": contender.options,
        "turns": str(_written(workload)),
    }
    process = await asyncio.create_subprocess_exec(
        contender.python,
        *("-m", f"tools.bench.workers.{contender.worker}", json.dumps(arguments)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    worker = Worker(process, proxy)
    try:
        await worker.ready()
        proxy.reset()
        yield worker
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


def _written(workload: Workload) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{workload.name}-{len(workload.turns)}.json"
    path.write_text(json.dumps(workload.turns))
    return path
