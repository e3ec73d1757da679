"""Durable runs in AWS's test runner: what they do, what they wait for, and what they refuse.

The function runs in the test's process, on real DynamoDB engines. Whatever ends an invocation is AWS's own: a pause, a
callback, an error. Deaths are in test_durable_kill.py.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from agents import (
    Agent,
    FunctionTool,
    ModelResponse,
    RunHooks,
    Runner,
    ToolOutputImage,
    ToolOutputText,
    Usage,
    function_tool,
    handoff,
)
from agents.mcp import MCPServer
from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from mcp.types import CallToolResult, TextContent
from mcp.types import Tool as MCPTool
from openai.types.responses import Response
from pydantic import BaseModel

from openai_agents_session import (
    DynamoDBSession,
    InvalidInputError,
    RunNotPendingError,
    StorageOptions,
    durable,
)
from openai_agents_session.conversations import Conversation
from openai_agents_session.environment import EnvironmentSettings, ExecutionEnvironment
from openai_agents_session.runs import PendingRuns
from openai_agents_session.storage.keys import large_key
from openai_agents_session.turns import AlreadyDone, Outcome, TurnJournal, delivery_of, meeting, named_turn
from tests.support.durable_agents import Entry, Ledger, LedgerModel, effect, guardrails, payer
from tests.support.durable_worker import service_for
from tests.support.short_turns import Invocation
from tools.emulation.engines import Engine

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

PAST, FUTURE = "The first thing said.", "The next thing said."


@dataclass
class Stage:
    """One durable function, whose environment a test may look into.

    Attributes:
        environment: The event loop and client of the function.
        ledger: What was done.
        agent: Makes the agent, anew in every invocation, as an import would.
        told: Keyword arguments of ``durable.run``.
        ahead_seconds: How far the clock of the function and of the test is ahead.
        invocations: How often the function was invoked.
        alone: Held by who uses the environment: Lambda gives one no second invocation before the first has returned,
            while AWS's runner begins one as soon as what the first waits for has come.
    """

    environment: ExecutionEnvironment
    ledger: Ledger
    agent: Callable[[], Agent[Any]]
    told: dict[str, Any] = field(default_factory=dict)
    ttl_seconds: int | None = None
    ahead_seconds: float = 0.0
    invocations: int = 0
    alone: threading.RLock = field(default_factory=threading.RLock)

    def session(self) -> DynamoDBSession:
        """The session."""
        options = StorageOptions(clock=lambda: time.time() + self.ahead_seconds)
        settings: dict[str, Any] = {"options": options, "ttl_seconds": self.ttl_seconds}
        return self.environment.run(self.environment.open_session("ada", **settings))

    def do(self, work: Callable[[DynamoDBSession], Awaitable[T]]) -> T:
        """Do something to the session, between invocations."""
        with self.alone:
            session = self.session()

            async def done() -> T:
                return await work(session)

            return self.environment.run(done())

    def history(self) -> list[Any]:
        """The session's items."""
        return self.do(lambda session: session.get_items())  # type: ignore[arg-type, return-value]

    def handler(self) -> Callable[[Any, Any], Any]:
        """The function."""

        @durable_execution
        def handler(event: Any, context: Any) -> Any:
            self.invocations += 1
            told = {"environment": self.environment, "session": self.session()} | self.told
            return durable.run(context, self.agent(), event["message"], **told).to_dict()

        def invoked(event: Any, context: Any) -> Any:
            with self.alone:
                return handler(event, context)

        return invoked

    def played(self, message: str = "Go.", invocation: Brief | None = None) -> Any:
        """A run from its beginning to its end, in invocations of any length: the answer. Raises what ended it."""
        handler = self.handler()
        with service_for(lambda event, given: handler(event, invocation or given)) as service:
            return ended(service, service.run_async(input=json.dumps({"message": message})))


class Brief(Invocation):
    """A Lambda context with so many seconds left, always."""

    aws_request_id = "request"


def ended(service: DurableFunctionTestRunner, execution: str) -> Any:
    """What an execution came to."""
    result = service.wait_for_result(execution, timeout=60)
    if result.error is not None:
        raise ExecutionError(result.error.type or "", result.error.message or "")
    return json.loads(result.result or "null")


class ExecutionError(Exception):
    """An execution failed: the error's type and text."""


@pytest.fixture
def stage(engine: Engine, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage with the agent that pays, ships and mails."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    environment = ExecutionEnvironment(EnvironmentSettings(table, "us-east-1", None, engine.endpoint_url))
    ledger = Ledger(tmp_path / "effects")
    yield Stage(environment, ledger, lambda: payer(ledger))
    environment.close()


def scripted(stage: Stage, *script: Entry, **settings: Any) -> Callable[[], Agent[Any]]:
    """An agent with this script."""
    return lambda: Agent(name="scripted", model=LedgerModel(stage.ledger, list(script)), **settings)


pytestmark = [pytest.mark.one_engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_parallel_tools(stage: Stage) -> None:
    """A plain run is one invocation: each model call and tool once, the whole turn in the history, the session free."""
    answer = stage.played()
    assert (answer["answer"], answer["usage"]["requests"], stage.invocations) == ("All is done.", 3, 1)
    assert set(stage.ledger.counts.values()) == {1}
    outputs = [item["output"] for item in stage.history() if item.get("type") == "function_call_output"]
    assert outputs == ["pay done", "pay done", "ship done", "mail done"]
    stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))


def test_a_second_turn_reads_the_first(stage: Stage) -> None:
    """The model is given the history, in its order, limited as the session says."""
    stage.do(lambda session: session.add_items([{"role": "user", "content": PAST}]))
    seen: list[Any] = []

    class Seeing(LedgerModel):
        async def get_response(self, system_instructions: Any, input: Any, *rest: Any, **named: Any) -> Any:  # noqa: A002
            seen.append([item.get("content") for item in input])
            return await super().get_response(system_instructions, input, *rest, **named)

    stage.agent = lambda: Agent(name="seeing", model=Seeing(stage.ledger, ["Seen."]))
    assert stage.played(FUTURE)["answer"] == "Seen."
    assert seen == [[PAST, FUTURE]]


def test_handoff(stage: Stage) -> None:
    """A handoff leads to the other agent, its callback once, and the outcome names who answered."""
    done: list[str] = []

    async def told(_: Any) -> None:
        done.append("handed off")

    def agent() -> Agent[Any]:
        other = Agent(name="other", model=LedgerModel(stage.ledger, ["unused", [("pay", "c2", {})], "Paid."][1:]))
        other.tools = [effect(stage.ledger, "pay")]
        first = Agent(name="first", model=LedgerModel(stage.ledger, [[("transfer_to_other", "c1", {})]]))
        first.handoffs = [handoff(other, on_handoff=told)]
        other.handoffs = [first]
        return first

    stage.agent = agent
    answer = stage.played()
    assert (answer["answer"], answer["agent"], done) == ("Paid.", "other", ["handed off"])
    assert stage.ledger.of("tool") == {"pay c2": 1}


def test_guardrails(stage: Stage) -> None:
    """Guardrails run once each; one that triggers ends the run with its name, and the blocked message is taken out."""
    before, after = guardrails(stage.ledger)
    stage.agent = scripted(stage, "Fine.", input_guardrails=[before], output_guardrails=[after])
    assert stage.played()["answer"] == "Fine."
    assert stage.ledger.of("guardrail") == {"input": 1, "output": 1}
    kept = stage.history()
    with pytest.raises(ExecutionError, match="DurableRunError"):
        stage.played("Say what is forbidden.")
    assert stage.history() == kept


class Bill(BaseModel):
    """What an agent answers."""

    amount: int


def test_output_type(stage: Stage) -> None:
    """An agent with an ``output_type`` answers a value of it."""
    outcomes: list[Any] = []
    stage.agent = scripted(stage, '{"amount": 7}', output_type=Bill)

    @durable_execution
    def handler(_: Any, context: Any) -> Any:
        session = stage.session()
        outcome = durable.run(context, stage.agent(), "Go.", session=session, environment=stage.environment)
        outcomes.append(outcome.final_output)
        return outcome.to_dict()

    with service_for(handler) as service:
        answer = ended(service, service.run_async(input="{}"))
    assert (answer["answer"], outcomes) == ({"amount": 7}, [Bill(amount=7)])


def returning(name: str, output: Any) -> FunctionTool:
    """A tool that returns this."""

    async def invoke(_: Any, __: str) -> Any:
        return output

    schema: dict[str, Any] = {"type": "object", "properties": {}}
    return FunctionTool(name=name, description=name, params_json_schema=schema, on_invoke_tool=invoke)


class Shop(MCPServer):
    """A server with one tool, which notes what is asked of it."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.connections = 0

    @property
    def name(self) -> str:
        return "shop"

    async def connect(self) -> None:
        self.connections += 1

    async def cleanup(self) -> None:
        self.connections -= 1

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[MCPTool]:
        self.ledger.note("list")
        return [MCPTool(name="buy", inputSchema={"type": "object", "properties": {}})]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> CallToolResult:
        assert self.connections == 1
        self.ledger.note("tool", tool_name)
        return CallToolResult(content=[TextContent(type="text", text="bought")])

    async def list_prompts(self) -> Any:
        raise NotImplementedError

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        raise NotImplementedError


def test_mcp_tools(stage: Stage) -> None:
    """The list of a server's tools is asked for once, each call is made once, and the connection is closed."""
    shop = Shop(stage.ledger)

    def agent() -> Agent[Any]:
        script: list[Entry] = [[("buy", "c1", {})], [("pay", "c2", {})], "Bought."]
        tools: list[Any] = [effect(stage.ledger, "pay", needs_approval=True)]
        return Agent(name="buyer", model=LedgerModel(stage.ledger, script), tools=tools, mcp_servers=[shop])

    stage.agent = agent
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Buy."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        decide(stage, service, waiting_run(stage).run_id, {"c2": True})
        assert ended(service, execution)["answer"] == "Bought."
    assert stage.ledger.of("tool") == {"buy": 1, "pay c2": 1}
    assert stage.ledger.counts["list"] == 1
    assert shop.connections == 0
    assert "bought" in json.dumps(stage.history())


def test_a_tool_that_fails_is_told_to_the_model_or_ends_the_run(stage: Stage) -> None:
    """A failure that the tool does not turn into an output ends the run with its name; the session goes on."""

    async def invoke(_: Any, __: str) -> Any:
        raise ValueError("no such order")

    schema: dict[str, Any] = {"type": "object", "properties": {}}
    broken = FunctionTool(name="pay", description="pay", params_json_schema=schema, on_invoke_tool=invoke)
    stage.agent = scripted(stage, [("pay", "c1", {})], "Unused.", tools=[broken])
    with pytest.raises(ExecutionError, match="no such order"):
        stage.played()
    assert [item.get("type", item.get("role")) for item in stage.history()] == [
        "user",
        "function_call",
        "function_call_output",
    ]
    stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))


class Note(ToolOutputText):
    """A text of the user's own class."""


OUTPUTS: dict[str, Any] = {
    "tuple": (ToolOutputText(text="a"), ToolOutputImage(image_url="https://example.com/y.png")),
    "own class": Note(text="mine"),
    "dictionaries": ({"type": "text", "text": "a"},),
    "mixed": [ToolOutputText(text="a"), "b"],
    "model": Bill(amount=7),
    "bytes": b"\xff\x00",
    "not a number": float("nan"),
    "half a pair": "half \ud83d",
    "set": {1},
    "keys": {1: {"a": 2}},
    "none": None,
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_a_tool_returns_is_what_a_plain_run_tells_the_model(stage: Stage, kind: str) -> None:
    """Whatever a tool returns, the history has of it what it has of a run that is not durable."""

    def agent() -> Agent[Any]:
        return scripted(stage, [("read", "c1", {})], "Read.", tools=[returning("read", OUTPUTS[kind])])()

    stage.agent = agent
    plain = asyncio.run(Runner.run(agent(), "Go.")).to_input_list()
    stage.played()
    assert [item.get("output") for item in stage.history()] == [item.get("output") for item in plain]


@pytest.mark.parametrize("at_least_once", [(), ("read",)], ids=["at most once", "at least once"])
def test_a_tool_that_cancels_itself_is_told_to_the_model(stage: Stage, at_least_once: tuple[str, ...]) -> None:
    """A tool that ends as cancelled has failed as any other: the invocation goes on, and the tool has run once."""

    async def read() -> str:
        stage.ledger.note("tool", "read")
        raise asyncio.CancelledError

    stage.agent = scripted(stage, [("read", "c1", {})], "Not read.", tools=[function_tool(read)])
    plain = asyncio.run(Runner.run(stage.agent(), "Go.")).to_input_list()
    stage.told["options"] = durable.DurableOptions(at_least_once=at_least_once)
    assert stage.played()["answer"] == "Not read."
    assert [item.get("output") for item in stage.history()] == [item.get("output") for item in plain]
    assert stage.invocations == 1
    assert stage.ledger.of("tool") == {"read": 2}  # the plain run, and this one


STRANGE: dict[str, dict[str, Any]] = {
    "status": {
        "type": "message",
        "status": "novel",
        "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
    },
    "nothing": {"type": "message", "content": [{"type": "output_text", "text": "Yes.", "annotations": None}]},
    "annotation": {
        "type": "message",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Yes.", "annotations": [{"type": "novel", "of": 1}]}],
    },
    "action": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "novel", "of": 1}},
    "item": {"type": "novel_call", "id": "x_1", "status": "completed"},
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("kind", STRANGE)
def test_an_answer_that_the_client_does_not_know_is_taken_as_in_a_plain_run(stage: Stage, kind: str) -> None:
    """A provider has items, states and annotations that are newer than the client: they are no error."""
    said = {"type": "message", "id": "msg_1", "role": "assistant"}
    answer = {"type": "message", "status": "completed", "content": STRANGE["status"]["content"]}
    items = [STRANGE[kind]] if STRANGE[kind]["type"] == "message" else [STRANGE[kind], answer]

    class Strange(LedgerModel):
        async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
            output = [said | item if item["type"] == "message" else item for item in items]
            response = Response.construct(output=output)  # as the client does
            return ModelResponse(response.output, Usage(requests=1), None)

    stage.agent = lambda: Agent(name="strange", model=Strange(stage.ledger, []))
    plain = asyncio.run(Runner.run(stage.agent(), "Go.")).to_input_list()
    assert stage.played()["answer"] == "Yes."
    assert stage.history()[1:] == plain[1:]


def test_streaming_is_refused(stage: Stage) -> None:
    """Streaming is refused, with the reason."""
    with pytest.raises(InvalidInputError, match="cannot be streamed: what was streamed"):
        durable.run_streamed(None, stage.agent(), "Go.")


def test_an_approval_waits_seven_days_without_an_invocation(stage: Stage) -> None:
    """While a run waits no function runs, the session can be read, a message is told of the run; then it goes on."""
    stage.agent = lambda: approving(stage)
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        run = waiting_run(stage)
        assert durable.is_durable(run)
        before = stage.invocations
        stage.ahead_seconds = 7 * 86_400
        assert [call.tool for call in run.approvals] == ["pay"]
        assert stage.history()[0] == {"role": "user", "content": "Pay."}
        time.sleep(0.5)
        assert stage.invocations == before
        decide(stage, service, run.run_id, {"c1": True})
        assert ended(service, execution)["answer"] == "Paid."
        with pytest.raises(RunNotPendingError):
            decide(stage, service, run.run_id, {"c1": True})
    assert stage.ledger.of("tool") == {"pay c1": 1}
    assert set(stage.ledger.of("model").values()) == {1}
    assert stage.do(lambda session: PendingRuns(session).get()) is None
    stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))


def test_a_rejected_call_does_not_run(stage: Stage) -> None:
    """A rejected call has not run, and the model answers."""
    stage.agent = lambda: approving(stage)
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        decide(stage, service, waiting_run(stage).run_id, {"c1": False})
        assert ended(service, execution)["answer"] == "Paid."
    assert stage.ledger.of("tool") == {}


@pytest.mark.parametrize("between", ["cleared", "expired", "written to"])
def test_what_happens_to_a_session_that_waits_is_told(stage: Stage, between: str) -> None:
    """A clear, an expiry, or items of somebody else end the run with an error; what is there stays."""
    stage.agent = lambda: approving(stage)
    stage.ttl_seconds = 86_400 * 2 if between == "expired" else None
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        callback = service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        until_parked(stage)
        if between == "cleared":
            stage.do(lambda session: session.clear_session())
        elif between == "expired":
            stage.ahead_seconds = 7 * 86_400
        else:
            stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))
        left = stage.history()
        service.send_callback_success(callback, b'{"c1": true}')
        with pytest.raises(ExecutionError, match="TurnLostError"):
            ended(service, execution)
    assert stage.ledger.of("tool") == {}
    assert stage.history() == left


def test_a_changed_agent_is_noticed(stage: Stage) -> None:
    """A replay that would ask for something else ends with an error that says so: the turn has failed, no run waits."""
    stage.agent = lambda: approving(stage)
    stage.told["delivery"] = delivery = delivery_of("k", "Pay.")
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        until_parked(stage)
        stage.agent = lambda: approving(stage, "refund")
        decide(stage, service, waiting_run(stage).run_id, {"c1": True})
        with pytest.raises(ExecutionError, match=r"ReplayMismatchError.*deployed"):
            ended(service, execution)
    assert stage.ledger.of("tool") == {}
    met = stage.do(lambda session: meeting(session, delivery))
    assert isinstance(met, AlreadyDone)
    assert met.turn.outcome is Outcome.FAILED
    assert stage.do(lambda session: PendingRuns(session).get()) is None
    stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))


def test_a_tool_that_needs_no_approval_any_more_is_noticed(stage: Stage) -> None:
    """A replay that would not ask for what is recorded does nothing new."""
    stage.agent = lambda: approving(stage)
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        callback = service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        until_parked(stage)
        stage.agent = lambda: approving(stage, needs_approval=False)
        service.send_callback_success(callback, b'{"c1": true}')
        with pytest.raises(ExecutionError, match="ReplayMismatchError"):
            ended(service, execution)
    assert stage.ledger.of("tool") == {}


def test_what_an_agent_used_as_a_tool_has_used_is_counted_once(stage: Stage) -> None:
    """A replay, which does not run the inner agent again, counts what it used: in the outcome and in the session."""

    def agent() -> Agent[Any]:
        inner = Agent(name="inner", model=LedgerModel(stage.ledger, [[("mail", "i1", {})], "Mailed."]))
        inner.tools = [effect(stage.ledger, "mail")]
        script: list[Entry] = [[("ask", "c1", {"input": "Mail."})], [("pay", "c2", {})], "Paid."]
        tools: list[Any] = [inner.as_tool("ask", "ask"), effect(stage.ledger, "pay", needs_approval=True)]
        return Agent(name="outer", model=LedgerModel(stage.ledger, script), tools=tools)

    stage.agent = agent
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        decide(stage, service, waiting_run(stage).run_id, {"c2": True})
        answer = ended(service, execution)
    assert (answer["answer"], answer["usage"]["requests"], answer["usage"]["input_tokens"]) == ("Paid.", 5, 50)
    page = stage.do(lambda session: Conversation(session).history())
    assert page.info is not None
    assert (page.info.usage.requests, page.info.usage.input_tokens) == (5, 50)
    assert stage.ledger.of("tool") == {"mail i1": 1, "pay c2": 1}


def test_large_results_lie_beside_the_session_and_are_collected(stage: Stage) -> None:
    """A result over the limit is kept in the table while the run lasts, and read back at a replay."""
    large = "x" * 400_000
    kept: list[int] = []

    def agent() -> Agent[Any]:
        script: list[Entry] = [[("read", "c1", {})], [("pay", "c2", {})], "Paid."]
        tools: list[Any] = [effect(stage.ledger, "read", result=large)]
        tools.append(effect(stage.ledger, "pay", needs_approval=True))
        return Agent(name="reader", model=LedgerModel(stage.ledger, script), tools=tools)

    stage.agent = agent
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Read."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        until_parked(stage)
        kept.append(len(stored(stage, large_key("ada"))))
        decide(stage, service, waiting_run(stage).run_id, {"c2": True})
        assert ended(service, execution)["answer"] == "Paid."
    assert kept == [1]
    assert stored(stage, large_key("ada")) == []
    assert stage.ledger.of("tool") == {"read c1": 1, "pay c2": 1}
    assert large in [item.get("output") for item in stage.history()]


def test_a_large_answer(stage: Stage) -> None:
    """An answer over the limit is returned whole."""
    stage.agent = scripted(stage, "y" * 300_000)
    stage.told["options"] = durable.DurableOptions(inline_bytes=1_000)
    assert stage.played()["answer"] == "y" * 300_000


def test_a_busy_session_is_waited_for(stage: Stage) -> None:
    """A run whose session another turn holds begins when that has ended, without being billed for waiting."""

    async def hold(session: DynamoDBSession) -> None:
        await session._take_lease(2.0, 0.0)

    stage.do(hold)
    assert stage.played()["answer"] == "All is done."
    assert stage.invocations > 1


def test_an_invocation_without_time_goes_on_in_another(stage: Stage) -> None:
    """With little time left nothing new begins: the run goes on in the next invocation, where it stood."""

    class Hasty:
        aws_request_id = "request"

        def __init__(self) -> None:
            self.calls = 0

        def get_remaining_time_in_millis(self) -> int:
            self.calls += 1
            return 900_000 if self.calls < 8 else 5_000

    handler = stage.handler()
    assert stage.told == {}
    with service_for(lambda event, _: handler(event, Hasty())) as service:
        assert ended(service, service.run_async(input='{"message": "Go."}'))["answer"] == "All is done."
    assert stage.invocations > 1
    assert set(stage.ledger.counts.values()) == {1}


def test_a_model_that_hangs_is_given_up_before_the_invocation_is_over(stage: Stage) -> None:
    """The invocation does not fail: the model is asked again in another one."""
    hanging = iter([True])

    class Hanging(LedgerModel):
        async def get_response(self, *arguments: Any, **named: Any) -> Any:
            if next(hanging, False):
                await asyncio.Event().wait()
            return await super().get_response(*arguments, **named)

    stage.agent = lambda: Agent(name="hanging", model=Hanging(stage.ledger, ["At last."]))
    stage.told["options"] = durable.DurableOptions(reserve_seconds=0)
    assert stage.played(invocation=Brief(4))["answer"] == "At last."
    assert stage.invocations == 2


def test_a_function_with_a_short_time_comes_to_its_answer(stage: Stage) -> None:
    """Of an invocation that has less than the reserve, the reserve is half: the run does not pause for ever."""
    assert stage.played(invocation=Brief(15))["answer"] == "All is done."
    assert stage.invocations == 1


def test_a_model_that_fails_is_asked_again_later(stage: Stage) -> None:
    """A model that cannot be reached is asked again after a pause without a function, as often as the options say."""

    class Failing(LedgerModel):
        failures = 2

        async def get_response(self, *arguments: Any, **named: Any) -> Any:
            if Failing.failures:
                Failing.failures -= 1
                raise ConnectionError("not reached")
            return await super().get_response(*arguments, **named)

    stage.agent = lambda: Agent(name="failing", model=Failing(stage.ledger, ["At last."]))
    assert stage.played()["answer"] == "At last."
    assert stage.invocations == 3

    Failing.failures = 100
    stage.told["options"] = durable.DurableOptions(model_attempts=2)
    with pytest.raises(ExecutionError, match="DurableRunError"):
        stage.played("Again.")
    stage.do(lambda session: session.add_items([{"role": "user", "content": FUTURE}]))


def test_a_turn_that_another_finishes_during_a_pause_is_left_alone(stage: Stage) -> None:
    """A run whose turn another delivery went on with and ended asks no model, calls no tool, and appends nothing."""
    failed, reached = threading.Event(), threading.Event()

    class Away(LedgerModel):
        async def get_response(self, *arguments: Any, **named: Any) -> Any:
            if stage.ledger.of("tool") and not reached.is_set():
                failed.set()
                raise ConnectionError("not reached")
            return await super().get_response(*arguments, **named)

    script: list[Entry] = [[("pay", "c1", {})], [("mail", "c2", {})], "Done."]
    tools: list[Any] = [effect(stage.ledger, name) for name in ("pay", "mail")]
    stage.agent = lambda: Agent(name="away", model=Away(stage.ledger, script), tools=tools)
    stage.told["delivery"] = delivery_of("durable", "Go.")

    async def finish(session: DynamoDBSession) -> None:
        reached.set()
        delivery = delivery_of("other", "continue", continues=True)
        async with named_turn(session, Invocation(), delivery, []) as met:
            assert isinstance(met, TurnJournal)
            await met.go_on()
            await Runner.run(stage.agent(), [], session=met)
            await met.end(Outcome.ANSWERED)

    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Go."}')
        assert failed.wait(30)
        with stage.alone:  # the invocation has ended: the run pauses
            stage.ahead_seconds = 3_600  # so that its lease is over
            stage.do(finish)
            left, done = stage.history(), stage.ledger.counts
        with pytest.raises(ExecutionError, match="TurnLostError"):
            ended(service, execution)
    assert stage.ledger.counts == done
    assert stage.ledger.of("tool") == {"pay c1": 1, "mail c2": 1}
    assert set(stage.ledger.of("model").values()) == {1}
    assert stage.history() == left


def test_a_lease_that_is_lost_meanwhile_is_taken_again(stage: Stage) -> None:
    """Somebody whose clock is ahead takes the session and gives it back: the run goes on, and stores each item once."""

    async def disturb(_: Any, __: str) -> str:
        options = StorageOptions(clock=lambda: time.time() + 3_600)
        other = await stage.environment.open_session("ada", options=options)
        async with other.lease(1.0):
            stage.ledger.note("tool", "disturb")
        return "disturbed"

    schema: dict[str, Any] = {"type": "object", "properties": {}}
    tool = FunctionTool(name="disturb", description="", params_json_schema=schema, on_invoke_tool=disturb)
    stage.agent = scripted(stage, [("disturb", "c1", {})], "Done.", tools=[tool])
    assert stage.played()["answer"] == "Done."
    assert stage.invocations > 1
    assert set(stage.ledger.counts.values()) == {1}
    kinds = [item.get("type", item.get("role")) for item in stage.history()]
    assert kinds == ["user", "function_call", "function_call_output", "message"]


def test_a_history_of_several_megabytes(stage: Stage) -> None:
    """A long history is read at each replay and not checkpointed: the run waits and ends as on a short one."""
    long = [{"role": "user", "content": f"{number} " + "z" * 99_000} for number in range(40)]
    stage.do(lambda session: session.add_items(long))  # type: ignore[arg-type]
    stage.agent = lambda: approving(stage)
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        decide(stage, service, waiting_run(stage).run_id, {"c1": True})
        assert ended(service, execution)["answer"] == "Paid."
        operations = service._store.load(execution).operations
        assert sum(len(json.dumps(each.to_json_dict())) for each in operations) < 20_000
    assert stage.history()[:40] == long
    assert stage.ledger.of("tool") == {"pay c1": 1}
    assert set(stage.ledger.of("model").values()) == {1}


def test_hooks_are_not_told_twice(stage: Stage) -> None:
    """Hooks hear of each tool once, although the run is replayed."""
    heard: list[str] = []

    class Hooks(RunHooks[Any]):
        async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: object) -> None:
            heard.append(tool.name)

    def agent() -> Agent[Any]:
        script: list[Entry] = [[("read", "c0", {})], [("pay", "c1", {})], "Paid."]
        tools: list[Any] = [effect(stage.ledger, "read"), effect(stage.ledger, "pay", needs_approval=True)]
        return Agent(name="approving", model=LedgerModel(stage.ledger, script), tools=tools)

    stage.agent, stage.told["hooks"] = agent, Hooks()
    with service_for(stage.handler()) as service:
        execution = service.run_async(input='{"message": "Pay."}')
        service.wait_for_callback(execution, "agent/approval 1", timeout=60)
        until_parked(stage)
        decide(stage, service, waiting_run(stage).run_id, {"c1": True})
        ended(service, execution)
    assert heard == ["read", "pay"]


def approving(stage: Stage, name: str = "pay", *, needs_approval: bool = True) -> Agent[Any]:
    """An agent whose tool needs approval."""
    script: list[Entry] = [[("pay", "c1", {"amount": 1})], "Paid."]
    tools: list[Any] = [effect(stage.ledger, name, needs_approval=needs_approval)]
    return Agent(name="approving", model=LedgerModel(stage.ledger, script), tools=tools)


def waiting_run(stage: Stage) -> Any:
    """The run that waits."""
    until_parked(stage)
    return stage.do(lambda session: PendingRuns(session).get())


def until_parked(stage: Stage) -> None:
    """Wait until the session is free."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        turns, _ = stage.do(lambda session: session._store.turns())
        if turns.waiting is not None:
            time.sleep(0.3)  # the invocation itself ends
            return
        time.sleep(0.05)
    raise AssertionError("no run was parked")


def decide(stage: Stage, service: DurableFunctionTestRunner, run_id: str, decisions: dict[str, bool]) -> None:
    """Decide as a caller does."""
    stage.do(lambda session: durable.decide(session, run_id, decisions, send=service.send_callback_success))


def stored(stage: Stage, key: str) -> list[Any]:
    """The items that are stored under a key beside the session."""
    return stage.do(lambda session: session._companion(key).read(None))
