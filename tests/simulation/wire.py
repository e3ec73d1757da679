"""The way between a process and the table: aiobotocore clients, as far as the library knows them, in the weather.

A request travels by itself: that its sender has given up, was cancelled or is dead does not call it back. A client
sends again what failed, like botocore in its standard mode, and says so in ``RetryAttempts``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from .clock import EPOCH
from .operations import CURRENT, Operation
from .table import Table, answer_error
from .trace import Trace
from .weather import Weather

if TYPE_CHECKING:
    from openai_agents_session.cache import SegmentCache

ENDPOINT = "https://simulation"
_REFUSALS = {
    "throttled": ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"),
    "denied": ("AccessDeniedException",),
    "expired": ("ExpiredTokenException",),
    "missing": ("ResourceNotFoundException",),
}
_SENT_AGAIN = frozenset({*_REFUSALS["throttled"], "InternalServerError"})


class Killed(BaseException):
    """The process is no more: what unwinds its coroutines once the run is over."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request.

    Attributes:
        process: From where.
        operation: For what.
        call: The client's call that it was sent for: the same for what the client sends again by itself.
        sent: When, in virtual seconds.
        is_late: Whether it had given up by the time it was carried out.
    """

    process: Process
    operation: Operation
    call: int
    sent: float
    is_late: bool


class Sky:
    """The weather as it is now, the same for all processes.

    Attributes:
        weather: What may go wrong; calm once the run is over.
        watch: Called with every request, when it leaves.
        spell: What holds for all requests at present, or nothing.
        counts: Requests and faults, by name.
        calls: Numbers the calls of all clients.
        over: Whether the run is over: then the dead unwind.
        is_gone: Whether the table is gone, too: then all unwind.
    """

    def __init__(
        self,
        weather: Weather,
        noise: random.Random,
        table: Table,
        trace: Trace,
        watch: Callable[[Operation, str], None],
    ) -> None:
        self.watch = watch
        self.weather = weather
        self.noise = noise
        self.table = table
        self.trace = trace
        self.spell = ""
        self.calls = itertools.count(1)
        self.over = False
        self.is_gone = False
        self.limbo: list[asyncio.Future[Any]] = []
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def fate(self) -> str:
        """What happens to the next request."""
        chance = self.noise.random()
        for kind, share in self.weather.fates.items():
            if chance < share:
                return kind
            chance -= share
        return ""

    async def change(self) -> None:
        """Let spells come and go."""
        while self.weather.spells:
            await asyncio.sleep(self.noise.expovariate(1 / 5))
            self.spell = self.noise.choice(self.weather.spells)
            self.faults[f"spell: {self.spell}"] += 1
            self.trace.note(asyncio.get_running_loop().time(), "sky", f"from now on: {self.spell}")
            await asyncio.sleep(self.noise.choice((0.2, 1, 3, 12)))
            self.spell = ""
            self.trace.note(asyncio.get_running_loop().time(), "sky", "clear again")


class Process:
    """A process: one client, one clock, one cache, one end.

    Args:
        name: Its name in traces.
        sky: The weather.
        cache: Decoded segments that its sessions share, or None.
        denied: Requests that its role does not allow.
    """

    def __init__(
        self, name: str, sky: Sky, cache: SegmentCache | None = None, denied: frozenset[str] = frozenset()
    ) -> None:
        noise, weather = sky.noise, sky.weather
        self.name = name
        self.sky = sky
        self.cache = cache
        self.denied = denied
        self.skew = noise.uniform(-weather.skew_seconds, weather.skew_seconds)
        self.death: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client = Client(self, noise.choice(weather.attempts))

    def clock(self) -> float:
        """Its wall clock, in Unix seconds."""
        return EPOCH + asyncio.get_running_loop().time() + self.skew

    @property
    def is_dead(self) -> bool:
        """Whether it was killed."""
        return self.death.done()

    def kill(self) -> None:
        """End it: what has not left it never will."""
        if self.is_dead:
            return
        self.death.set_result(None)
        self.sky.faults["killed"] += 1
        self.sky.trace.note(asyncio.get_running_loop().time(), self.name, "is killed")

    async def never(self) -> Any:
        """What a dead process waits for."""
        if self.sky.over:
            raise Killed
        limbo: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sky.limbo.append(limbo)
        return await limbo


class Client:
    """An aiobotocore DynamoDB client."""

    def __init__(self, process: Process, attempts: int) -> None:
        self.meta = SimpleNamespace(endpoint_url=ENDPOINT)
        self._process = process
        self._attempts = attempts

    async def get_item(self, **request: Any) -> Any:
        """GetItem."""
        return await self._send("GetItem", request)

    async def put_item(self, **request: Any) -> Any:
        """PutItem."""
        return await self._send("PutItem", request)

    async def delete_item(self, **request: Any) -> Any:
        """DeleteItem."""
        return await self._send("DeleteItem", request)

    async def update_item(self, **request: Any) -> Any:
        """UpdateItem."""
        return await self._send("UpdateItem", request)

    async def batch_get_item(self, **request: Any) -> Any:
        """BatchGetItem."""
        return await self._send("BatchGetItem", request)

    async def _send(self, name: str, request: Any) -> Any:
        attempt, call = 0, next(self._process.sky.calls)
        while True:
            try:
                answer = await self._attempt(name, request, call)
            except ClientError as error:
                error.response["ResponseMetadata"]["RetryAttempts"] = attempt
                if error.response["Error"]["Code"] not in _SENT_AGAIN or attempt + 1 >= self._attempts:
                    raise
            except (ConnectionClosedError, ReadTimeoutError, ConnectTimeoutError, EndpointConnectionError):
                if attempt + 1 >= self._attempts:
                    raise
            else:
                return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": attempt}}
            attempt += 1
            await asyncio.sleep(self._process.sky.noise.uniform(0, 0.05 * 2**attempt))

    async def _attempt(self, name: str, request: Any, call: int) -> Any:
        if self._process.is_dead or self._process.sky.is_gone:
            return await self._process.never()
        return await _Passage(self._process, name, request, call).answer()


class _Passage:
    """One request on its way, and its answer on the way back."""

    def __init__(self, process: Process, name: str, request: Any, call: int) -> None:
        self._process = process
        self._sky = process.sky
        self._name = name
        self._request = request
        self._call = call
        operation = CURRENT.get()
        assert operation is not None, "a request that nobody asked for"
        self._operation = operation
        self._loop = asyncio.get_running_loop()
        self._sent = self._loop.time()
        self._future: asyncio.Future[Any] = self._loop.create_future()
        self._sky.requests[name] += 1
        self._sky.watch(self._operation, name)

    async def answer(self) -> Any:
        noise, sky = self._sky.noise, self._sky
        if noise.random() < sky.weather.killed:
            return await self._last_breath()
        fate = "unreachable" if sky.spell == "unreachable" else sky.fate()
        if fate:
            sky.faults[fate] += 1
            self._operation.faults += 1
        self._send_off(fate)
        answer, error = await self._future
        if self._process.is_dead:
            return await self._process.never()
        if error is not None:
            raise error
        return answer

    async def _last_breath(self) -> Any:
        """The process is killed before the request leaves it, or while it waits for the answer."""
        if self._sky.noise.random() < 0.6:
            self._loop.call_later(self._sky.noise.choice((0.005, 0.005, 0.3, 3)), self._carried_out, "")
        self._process.kill()
        return await self._process.never()

    def _send_off(self, fate: str) -> None:
        """Let the request go, and plan what its sender hears of it."""
        noise, there, back = self._sky.noise, self._delay(), self._delay()
        timeout = self._sky.weather.timeout_seconds
        gives_up = noise.choice((there + back, timeout))
        if fate == "unreachable":
            self._fails(*noise.choice(((0.002, _no_connection), (timeout, _connect_timeout))))
        elif fate == "request lost":
            self._fails(gives_up, _closed if gives_up < timeout else _read_timeout)
        elif fate == "late":
            self._fails(gives_up, _closed if gives_up < timeout else _read_timeout)
            delay = noise.choice((0.05, 0.3, 2, 8, 30))
            self._loop.call_later(gives_up + noise.uniform(0, delay), self._carried_out, fate)
        elif fate == "answer lost":
            self._loop.call_later(there, self._carried_out, fate)
            self._fails(max(gives_up, there), _closed if gives_up < timeout else _read_timeout)
        else:
            self._loop.call_later(there, self._answered, fate, back)
            if fate == "duplicated":
                delay = there + noise.choice((0.001, 0.02, 0.3, 3))
                self._loop.call_later(delay, self._carried_out, fate)

    def _delay(self) -> float:
        return self._sky.noise.uniform(0.001, 0.01)

    def _answered(self, fate: str, back: float) -> None:
        outcome = self._outcome(fate)
        self._loop.call_later(back, self._settle, outcome)

    def _outcome(self, fate: str) -> tuple[Any, Exception | None]:
        if fate == "throttled":
            return None, self._refusal("throttled")
        if fate == "failed before":
            return None, answer_error(self._name, "InternalServerError", 500)
        outcome = self._carried_out(fate)
        if fate == "failed after":
            return None, answer_error(self._name, "InternalServerError", 500)
        return outcome

    def _carried_out(self, fate: str) -> tuple[Any, Exception | None]:
        """What the servers make of the request, at this instant."""
        sky = self._sky
        if refusal := self._refused():
            return None, refusal
        is_late = self._future.done() or self._process.is_dead
        try:
            cause = Sender(self._process, self._operation, self._call, self._sent, is_late)
            outcome: tuple[Any, ClientError | None] = (
                sky.table.apply(self._name, self._request, cause, stale=sky.weather.stale),
                None,
            )
        except ClientError as error:
            outcome = None, error
        self._note(fate, outcome[1])
        return outcome

    def _refused(self) -> ClientError | None:
        if self._name in self._process.denied:
            self._operation.faults += 1
            return self._refusal("denied")
        if self._sky.spell in _REFUSALS:
            self._operation.faults += 1
            return self._refusal(self._sky.spell)
        return None

    def _refusal(self, kind: str) -> ClientError:
        return answer_error(self._name, self._sky.noise.choice(_REFUSALS[kind]))

    def _fails(self, delay: float, error: Callable[[], Exception]) -> None:
        self._loop.call_later(delay, self._settle, (None, error()))

    def _settle(self, outcome: tuple[Any, Exception | None]) -> None:
        if not self._future.done():
            self._future.set_result(outcome)

    def _note(self, fate: str, error: ClientError | None) -> None:
        request = self._request
        if "RequestItems" in request:
            ((_, asked),) = request["RequestItems"].items()
            key = ",".join(entry["session_id"]["S"] for entry in asked["Keys"])[:60]
        else:
            key = request.get("Key", request.get("Item"))["session_id"]["S"]
        answer = "" if error is None else f" -> {error.response['Error']['Code']}"
        how = f" [{fate}]" if fate else ""
        self._sky.trace.note(
            self._loop.time(), f"{self._process.name} {self._operation}", f"{self._name} {key}{how}{answer}"
        )


def _closed() -> Exception:
    return ConnectionClosedError(endpoint_url=ENDPOINT)


def _read_timeout() -> Exception:
    return ReadTimeoutError(endpoint_url=ENDPOINT)


def _connect_timeout() -> Exception:
    return ConnectTimeoutError(endpoint_url=ENDPOINT)


def _no_connection() -> Exception:
    return EndpointConnectionError(endpoint_url=ENDPOINT)
