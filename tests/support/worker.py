"""Sessions in processes of their own, many of them for the price of one: a pre-loaded process that forks per job.

    async with Workers.start() as workers:
        worker = await workers.fork(Job(endpoint_url, table, "s", ...))
        worker.process_id             # may be killed
        async for line in worker: ... # what it says: {"done": n, "result": ...} after each step that was acknowledged

Started as a program it reads jobs as JSON lines and answers each line of its children with their number in front.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from openai_agents_session import DynamoDBSession, SessionError
from tests.support.script import FORKS, SCRIPTS, Step, batch

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """What a worker does.

    Attributes:
        endpoint_url: Where DynamoDB is.
        table: The table.
        session_id: The session.
        script: A name of `SCRIPTS` or `FORKS`: its options are used.
        steps: Numbers of the script's steps to make, one after the other.
        crowd: Tasks that run at once, each with a session object of its own: what it does (``append``, ``large`` to
            append much, ``turn`` to append twice under a lease, ``pop``, ``clear``, ``read``), a name, and how often.
        hold: Seconds for which to take a lease, and after which to write; zero for neither.
        warm: Whether to read the session first.
    """

    endpoint_url: str
    table: str
    session_id: str
    script: str = "tiny"
    steps: tuple[int, ...] = ()
    crowd: tuple[tuple[str, str, int], ...] = ()
    hold: tuple[float, float] = (0, 0)
    warm: bool = False


@dataclass
class Worker:
    """A running job."""

    number: int
    lines: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    process_id: int = 0

    async def kill(self) -> None:
        """End it at once, wherever it is."""
        await self.started.wait()
        os.kill(self.process_id, signal.SIGKILL)

    async def outcome(self) -> list[Any]:
        """All that it said, once it is over. Its last line is ``{"over": True}`` unless it was killed."""
        said = []
        while (line := await self.lines.get()) is not None:
            if "process_id" not in line:
                said.append(line)
        return said


class Workers:
    """The pre-loaded process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._workers: dict[int, Worker] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Workers]:
        """Run it for the time of a with-block."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.worker"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        workers = cls(process)
        listening = asyncio.create_task(workers._listen())
        try:
            yield workers
        finally:
            assert process.stdin
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 30)
            await listening

    def fork(self, job: Job) -> Worker:
        """Begin a job in a new process."""
        worker = Worker(len(self._workers))
        self._workers[worker.number] = worker
        assert self._process.stdin
        self._process.stdin.write(json.dumps([worker.number, job.__dict__]).encode() + b"\n")
        return worker

    async def _listen(self) -> None:
        assert self._process.stdout
        async for text in self._process.stdout:
            number, line = json.loads(text)
            worker = self._workers[number]
            if line is not None and "process_id" in line:
                worker.process_id = line["process_id"]
                worker.started.set()
            worker.lines.put_nowait(line)


def main() -> None:
    """Fork a process for each job on standard input; end with it, when the last child has."""
    aws = get_session()
    aws.set_credentials("test", "test")
    aws.set_config_variable("region", "us-east-1")
    asyncio.run(_warm_up(aws))
    children: dict[int, int] = {}
    lines = iter(sys.stdin.readline, "")
    signal.signal(signal.SIGCHLD, lambda *_: _bury(children))
    for text in lines:
        number, job = json.loads(text)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        process_id = os.fork()
        if not process_id:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _work(aws, number, job)
        children[process_id] = number
        _say(number, {"process_id": process_id})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while children:
        process_id, _ = os.wait()
        _say(children.pop(process_id), None)


async def _warm_up(aws: AioSession) -> None:
    """Load what every client needs, once for all children."""
    async with aws.create_client("dynamodb", endpoint_url="http://127.0.0.1:9", verify=False):
        pass


def _bury(children: dict[int, int]) -> None:
    while children:
        process_id, _ = os.waitpid(-1, os.WNOHANG)
        if not process_id:
            return
        _say(children.pop(process_id), None)


def _say(number: int, line: Any) -> None:
    """One write, so that lines of many processes do not mix."""
    os.write(1, json.dumps([number, line]).encode() + b"\n")


def _work(aws: AioSession, number: int, job: dict[str, Any]) -> None:
    code = 1
    try:
        asyncio.run(_play(aws, number, Job(**{**job, "crowd": tuple(tuple(task) for task in job["crowd"])})))
        code = 0
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        _say(number, {"failed": traceback.format_exc()})
    finally:
        os._exit(code)


async def _play(aws: AioSession, number: int, job: Job) -> None:
    retries: Any = {"mode": "standard", "total_max_attempts": 1}
    config = AioConfig(connect_timeout=20, read_timeout=60, retries=retries, max_pool_connections=64)
    async with aws.create_client("dynamodb", endpoint_url=job.endpoint_url, config=config, verify=False) as client:
        options, steps = {**SCRIPTS, **FORKS}[job.script]
        if job.crowd:  # on a busy machine an engine takes longer for a crowd than a caller would wait
            options = replace(options, patience_seconds=60)

        def session() -> DynamoDBSession:
            return DynamoDBSession(job.session_id, client, job.table, options=options)

        if job.crowd:
            results = await asyncio.gather(*(_one_of_many(session(), *task) for task in job.crowd))
            _say(number, {"tries": [each for result in results for each in result]})
        if job.hold[0]:
            await _hold_lease(number, session(), *job.hold)
        mine = session()
        if job.warm:
            await mine.get_items()
        for step in job.steps:
            _say(number, {"done": step, "result": await steps[step].perform(mine)})
    _say(number, {"over": True})


@dataclass(frozen=True)
class Try:
    """What became of one try of a task.

    Attributes:
        kind: The task's.
        outcome: ``ok``, or the name of the error.
        ids: What it tried to add, or what it popped or read.
        began: On the machine's monotonic clock, in seconds.
        ended: The same.
    """

    kind: str
    outcome: str
    ids: tuple[str, ...]
    began: float
    ended: float

    @classmethod
    def of(cls, said: Sequence[Any]) -> Try:
        """From what a worker said."""
        kind, outcome, ids, began, ended = said
        return cls(kind, outcome, tuple(ids), began, ended)


async def _one_of_many(session: DynamoDBSession, kind: str, name: str, times: int) -> list[Sequence[Any]]:
    """What became of each try: the fields of `Try`."""
    tries: list[Sequence[Any]] = []
    for number in range(times):
        began = time.monotonic()
        outcome, ids = "ok", tuple(item["id"] for item in _batch(name, number)) if kind in _ADDING else ()
        try:
            if kind == "turn":
                ids = await _turn(session, f"{name}-{number}")
            elif kind in _ADDING:
                await session.add_items(list(_batch(name, number, 600_000 if kind == "large" else 60)))  # type: ignore[arg-type]
            else:
                result = await Step(kind).perform(session)
                ids = tuple(result) if kind == "read" else () if result is None else (result,)
        except SessionError as error:
            outcome = type(error).__name__
        tries.append((kind, outcome, ids, began, time.monotonic()))
    return tries


_ADDING = {"append", "large"}


def _batch(name: str, number: int, size: int = 60) -> tuple[dict[str, Any], ...]:
    return batch(f"{name}-{number}", 1 + number % 3, size)


async def _turn(session: DynamoDBSession, name: str) -> tuple[str, ...]:
    """Two batches with a pause between them, while the session is ours alone."""
    async with session.lease(5, wait_seconds=20):
        question, answer = batch(f"{name}?", 1, 60), batch(f"{name}!", 1, 60)
        await session.add_items(list(question))  # type: ignore[arg-type]
        await asyncio.sleep(0.005)
        await session.add_items(list(answer))  # type: ignore[arg-type]
        return question[0]["id"], answer[0]["id"]


async def _hold_lease(number: int, session: DynamoDBSession, seconds: float, stay: float) -> None:
    """Take a lease, say so, stay longer than it lasts, and try to write."""
    outcome = "ok"
    try:
        async with session.lease(seconds):
            _say(number, {"leased": True})
            await asyncio.sleep(stay)
            await session.add_items(list(batch("late", 1, 60)))  # type: ignore[arg-type]
    except SessionError as error:
        outcome = type(error).__name__
    _say(number, {"wrote": outcome})


if __name__ == "__main__":
    main()
