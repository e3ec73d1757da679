"""A proxy between a client and a DynamoDB engine that injects faults, meters costs and records what passed.

In a test::

    async with FaultProxy(engine.endpoint_url) as proxy:
        client = ...(endpoint_url=proxy.url)
        proxy.on(2, faults.drop_response)                  # the second request from now
        proxy.on("PutItem", faults.throttled, times=3)     # the next three PutItems
        proxy.on(lambda request: "#" in request.payload["Key"]["id"]["S"], faults.internal_error)
        ...
        assert proxy.operations == ["GetItem", "PutItem", "PutItem"]
        assert proxy.bill.write_units == 1

In a process of its own, so that its work is not measured with the client's::

    python -m tools.emulation.proxy http://127.0.0.1:8000 --latency 0.005

which prints its URL, answers ``GET /proxy/bill`` with the bill so far, and starts a new one at ``POST /proxy/reset``.
Signatures are not checked, and connections stay open as with DynamoDB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tools.emulation.faults import DroppedError, Fault, Forward, Reply, Request, failure
from tools.emulation.ledger import Ledger, UnknownCostError
from tools.emulation.meter import Bill, Units

When = int | str | Callable[[Request], bool]
"""Which requests: the Nth since the last reset, every one of an operation, or those that a function picks."""

_HOP_BY_HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"}
_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024
_OPERATION = "X-Amz-Target"


@dataclass
class Rule:
    """A fault, where it strikes, and how many times more."""

    when: When
    fault: Fault
    times: int

    def strikes(self, request: Request) -> bool:
        """Whether this rule is for that request."""
        if not self.times:
            return False
        if isinstance(self.when, int):
            return request.number == self.when
        if isinstance(self.when, str):
            return request.operation == self.when
        return self.when(request)


@dataclass(frozen=True)
class Record:
    """What became of one request.

    Attributes:
        request: As the client sent it.
        reply: What the client got, or None where the connection was closed.
        bill: What it cost.
        faulty: Whether a fault struck it.
    """

    request: Request
    reply: Reply | None
    bill: Bill
    faulty: bool


@dataclass
class FaultProxy:
    """One proxy on a free port of 127.0.0.1, to be used as an asynchronous context manager.

    Args:
        endpoint_url: The engine's.
        latency_seconds: Added to every request.
        metered: Whether to compute costs; look-ups of stored sizes then go to the engine, unmetered.
        keep_records: Whether `records` is kept; off, a long run needs no memory.
    """

    endpoint_url: str
    latency_seconds: float = 0
    metered: bool = True
    keep_records: bool = True
    bill: Bill = field(default_factory=Bill, init=False)
    url: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Start with no rules and nothing seen."""
        self._rules: list[Rule] = []
        self._records: list[Record] = []
        self._peers: set[object] = set()
        self._failures: list[Exception] = []
        self._count = 0
        self._ledger = Ledger()

    def on(self, when: When, fault: Fault, *, times: int = 1) -> None:
        """Let a fault strike.

        Args:
            when: Which requests: the Nth since the last reset (from 1), all of an operation's name, or those for which
                a function returns True.
            fault: What happens, from `tools.emulation.faults`.
            times: How many requests it strikes, each in its turn.
        """
        self._rules.append(Rule(when, fault, times))

    def reset(self) -> None:
        """Forget the rules, the records and the bill; the next request is number 1."""
        self._rules.clear()
        self._records.clear()
        self._peers.clear()
        self._count = 0
        self.bill = Bill()

    @property
    def records(self) -> list[Record]:
        """What passed since the last reset, in the order of arrival."""
        return sorted(self._records, key=lambda record: record.request.number)

    @property
    def operations(self) -> list[str]:
        """The names of the operations since the last reset, in the order of arrival."""
        return [record.request.operation for record in self.records]

    @property
    def connections(self) -> int:
        """How many connections the requests since the last reset came over."""
        return len(self._peers)

    async def __aenter__(self) -> Self:
        """Start to listen; `url` is then set."""
        self._engine = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), skip_auto_headers={"Accept-Encoding", "User-Agent"}
        )
        application = web.Application(client_max_size=_LARGEST_REQUEST_BYTES)
        application.router.add_get("/proxy/bill", self._answer_bill)
        application.router.add_post("/proxy/reset", self._answer_reset)
        application.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and close every connection.

        Raises:
            ExceptionGroup: a callback or the proxy itself failed; a client that retries would have hidden it.
        """
        await self._runner.cleanup()
        await self._engine.close()
        if self._failures:
            raise ExceptionGroup("in the fault proxy", self._failures)

    async def _answer(self, incoming: web.Request) -> web.StreamResponse:
        request = await self._receive(incoming)
        rule = next((rule for rule in self._rules if rule.strikes(request)), None)
        units: list[Units] = []

        async def forward(passed: Request) -> Reply:
            reply, cost = await self._forward(passed)
            units.append(cost)
            return reply

        try:
            reply = await self._reply(request, rule, forward)
        except DroppedError:
            reply = None
        except UnknownCostError as unknown:
            reply = failure("UnknownCostException", message=str(unknown))
        except Exception as error:
            self._failures.append(error)
            raise
        self._note(request, reply, units, faulty=rule is not None)
        if reply is None:
            if incoming.transport:
                incoming.transport.close()
            return web.Response(status=500)  # goes nowhere
        return web.Response(status=reply.status, body=reply.body, headers=_passed_on(reply.headers))

    async def _receive(self, incoming: web.Request) -> Request:
        body = await incoming.read()
        operation = incoming.headers.get(_OPERATION, "").rpartition(".")[2]
        self._count += 1
        self._peers.add(incoming.transport and incoming.transport.get_extra_info("peername"))
        return Request(self._count, operation, json.loads(body), incoming.headers, body)

    async def _reply(self, request: Request, rule: Rule | None, forward: Forward) -> Reply:
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        if rule is None:
            return await forward(request)
        rule.times -= 1
        return await rule.fault(request, forward)

    async def _forward(self, request: Request) -> tuple[Reply, Units]:
        if not self.metered:
            return await self._send(request), Units()
        replies: list[Reply] = []

        async def send() -> tuple[int, str | None, Mapping[str, Any]]:
            replies.append(await self._send(request))
            return replies[0].status, replies[0].error, replies[0].payload

        async def ask(operation: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
            return await self._ask(request, operation, payload)

        units = await self._ledger.units(request.operation, request.payload, send, ask)
        return replies[0], units

    async def _send(self, request: Request) -> Reply:
        headers = _passed_on(request.headers)
        async with self._engine.post(self.endpoint_url, data=request.body, headers=headers) as response:
            return Reply(response.status, await response.read(), dict(response.headers))

    async def _ask(self, request: Request, operation: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """A look-up with the client's credentials, since an engine may keep tables by account and region."""
        headers = CIMultiDict(request.headers)
        headers[_OPERATION] = f"{headers[_OPERATION].rpartition('.')[0]}.{operation}"
        reply = await self._send(Request(0, operation, payload, headers, json.dumps(payload).encode()))
        if reply.status != 200:
            raise LookupError(f"{operation} {payload}: {reply.body[:500]!r}")
        return reply.payload

    def _note(self, request: Request, reply: Reply | None, units: list[Units], faulty: bool) -> None:
        bill = Bill(
            requests=1,
            write_units=sum(unit.write for unit in units),
            read_units=sum(unit.read for unit in units),
            bytes_sent=len(request.body),
            bytes_received=len(reply.body) if reply else 0,
            by_operation={request.operation: 1},
        )
        self.bill += bill
        if self.keep_records:
            self._records.append(Record(request, reply, bill, faulty))

    async def _answer_bill(self, _: web.Request) -> web.Response:
        return web.json_response(self.bill.to_json())

    async def _answer_reset(self, _: web.Request) -> web.Response:
        self.reset()
        return web.json_response({})


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


async def _serve(endpoint_url: str, latency_seconds: float) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FaultProxy(endpoint_url, latency_seconds, keep_records=False) as proxy:
        print(proxy.url, flush=True)
        await stopped.wait()


def main() -> None:
    """Run a metering proxy until it is told to stop."""
    parser = argparse.ArgumentParser(description="A metering proxy in front of a DynamoDB endpoint; prints its URL.")
    parser.add_argument("endpoint_url")
    parser.add_argument("--latency", type=float, default=0, help="seconds added to every request")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.endpoint_url, arguments.latency))


if __name__ == "__main__":
    main()
