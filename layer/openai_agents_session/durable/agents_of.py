"""An agent whose model calls, tools, guardrails and handoffs are durable operations. The agent itself is not changed.

Every agent that can be reached from the first one is cloned once, with its parts wrapped:

    model        step, at least once; asked again by AWS when it may come back
    tool         step, at most once; interrupted, the model is told so
    guardrail    step, at least once
    handoff      step, at least once: what it calls back
    MCP server   its list of tools a step; its calls are tools; connected when something new is asked of it
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from agents import (
    Agent,
    AgentHooks,
    FunctionTool,
    Handoff,
    InputGuardrail,
    ItemHelpers,
    ModelProvider,
    ModelResponse,
    OutputGuardrail,
    RunHooks,
    Tool,
    ToolInputGuardrail,
    ToolOutputGuardrail,
)
from agents.models.interface import Model
from agents.tool import ApplyPatchTool, ComputerTool, CustomTool, LocalShellTool, ShellTool, invoke_function_tool
from agents.usage import Usage, deserialize_usage, serialize_usage

from ..errors import InvalidInputError
from ..turn_journal import INTERRUPTED
from . import forms
from .mcp_servers import DurableMCPServer
from .operations import CHECKPOINT_SECONDS, Done, Failed, Operations, Outcome, TryAgainError, digest
from .options import DurableOptions

T = TypeVar("T")

_LOCAL = (ComputerTool, LocalShellTool, ShellTool, ApplyPatchTool)
_MAY_PASS = {408, 409, 425, 429}

NO_STREAMING = (
    "a durable run cannot be streamed: what was streamed before its environment died cannot be taken back, and a "
    "replay would stream it again. Run it without streaming; its progress is in the session's history"
)


class OperationFailedError(Exception):
    """What an operation raised, from its checkpoint.

    Attributes:
        kind: The class of what it raised.
        code: The word for it.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.kind, self.code = failed.kind, failed.code


def value_of(outcome: Outcome) -> Any:
    """The result of an operation. Raises ``OperationFailedError`` when it has none."""
    if isinstance(outcome, Done):
        return outcome.value
    raise OperationFailedError(
        outcome if isinstance(outcome, Failed) else Failed("Interrupted", "the operation was interrupted")
    )


class LastStep:
    """The model's last answer and what its calls came to: the SDK stores it when all of them have ended.

    A run that fails before that would leave no trace of the tools that have run.

    Attributes:
        number: How many model calls there were.
        response: The answer, or None while the model is asked.
        outputs: What calls returned, by call id.
    """

    def __init__(self) -> None:
        self.number = 0
        self.response: ModelResponse | None = None
        self.outputs: dict[str, Any] = {}

    def begin(self) -> int:
        """The model is asked again: the number of its call, from 1."""
        self.number += 1
        self.response, self.outputs = None, {}
        return self.number

    def items(self) -> list[Any]:
        """The step, if it has calls, with the outputs that are known."""
        calls = [item for item in self.response.output if item.type == "function_call"] if self.response else []
        if not calls or self.response is None:
            return []
        known = [call for call in calls if call.call_id in self.outputs]
        items: list[Any] = list(self.response.to_input_items())
        return items + [dict(ItemHelpers.tool_call_output_item(call, self.outputs[call.call_id])) for call in known]


class DurableModel(Model):
    """A model whose answers are checkpointed.

    Args:
        model: The model.
        operations: The run's operations.
        step: Is told what it answers.
    """

    def __init__(self, model: Model, operations: Operations, step: LastStep) -> None:
        self._model, self._operations, self._step = model, operations, step

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],  # noqa: A002 - the SDK's name
        model_settings: Any,
        tools: list[Tool],
        output_schema: Any,
        handoffs: list[Any],
        tracing: Any,
        **rest: Any,
    ) -> ModelResponse:
        """The model's response, from its checkpoint or from the model."""

        async def ask() -> Any:
            try:
                async with asyncio.timeout(self._operations.seconds_left() - CHECKPOINT_SECONDS):
                    response = await self._model.get_response(
                        system_instructions, input, model_settings, tools, output_schema, handoffs, tracing, **rest
                    )
            except Exception as error:
                if may_pass(error):
                    raise TryAgainError(error) from None
                raise
            return forms.response_form(response)

        # What a dynamic instruction says may differ (the time); what the model can do, and what was said, may not.
        names = sorted(str(getattr(each, "name", type(each).__name__)) for each in tools)
        schema = None if output_schema is None else output_schema.name()
        asked = digest(input, names, sorted(each.tool_name for each in handoffs), schema)
        outcome = await self._operations.step(f"model {self._step.begin()}", ask, asked=asked, is_phase=True)
        self._step.response = response = forms.response_of(value_of(outcome))
        return response

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Not in a durable run."""
        raise InvalidInputError(NO_STREAMING)

    def get_retry_advice(self, request: Any) -> Any:
        """The model's."""
        return self._model.get_retry_advice(request)

    async def close(self) -> None:
        """The model is the caller's: nothing to close."""


class DurableProvider(ModelProvider):
    """The models of a provider, durable."""

    def __init__(self, provider: ModelProvider, operations: Operations, step: LastStep) -> None:
        self._provider, self._operations, self._step = provider, operations, step

    def get_model(self, model_name: str | None) -> Model:
        """A model by its name."""
        return DurableModel(self._provider.get_model(model_name), self._operations, self._step)


class DurableAgents:
    """The durable clones of agents, for one run in one invocation.

    Args:
        operations: The run's operations.
        options: Which tools may run again.

    Attributes:
        step: What the model answered last.
    """

    def __init__(self, operations: Operations, options: DurableOptions) -> None:
        self._operations, self._options = operations, options
        self.step = LastStep()
        self._counts: Counter[str] = Counter()
        self._clones: dict[int, tuple[Agent[Any], Agent[Any]]] = {}
        self._servers: dict[int, DurableMCPServer] = {}

    def _numbered(self, name: str) -> str:
        self._counts[name] += 1
        return f"{name} {self._counts[name]}"

    def model(self, model: Model) -> Model:
        """The model, durable."""
        return DurableModel(model, self._operations, self.step)

    def provider(self, provider: ModelProvider) -> ModelProvider:
        """The provider, durable."""
        return DurableProvider(provider, self._operations, self.step)

    def agent(self, agent: Agent[Any]) -> Agent[Any]:
        """The agent's clone."""
        if id(agent) in self._clones:
            return self._clones[id(agent)][1]
        clone = agent.clone()
        self._clones[id(agent)] = agent, clone  # before its handoffs, which may lead back
        if isinstance(agent.model, Model):
            clone.model = self.model(agent.model)
        clone.tools = [self._tool(tool) for tool in agent.tools]
        clone.handoffs = [self._handoff(each) for each in agent.handoffs]
        clone.input_guardrails = [self.input_guardrail(each) for each in agent.input_guardrails]
        clone.output_guardrails = [self.output_guardrail(each) for each in agent.output_guardrails]
        clone.mcp_servers = [self._server(server) for server in agent.mcp_servers]
        if agent.mcp_servers:
            self._wrap_mcp_tools(clone)
        if agent.hooks is not None:
            clone.hooks = QuietAgentHooks(agent.hooks, self._operations)
        return clone

    async def close(self) -> None:
        """Close what was connected."""
        for server in self._servers.values():
            await server.disconnect()

    # --- tools -------------------------------------------------------------------------------------------------------

    def _tool(self, tool: Tool) -> Tool:
        if isinstance(tool, FunctionTool):
            return self._function_tool(tool)
        if isinstance(tool, CustomTool):
            return self._custom_tool(tool)
        if isinstance(tool, _LOCAL):
            raise InvalidInputError(
                f"a durable run cannot have the tool {tool.name!r} ({type(tool).__name__}): what it does here would be "
                "done again at every replay. Make it a function tool"
            )
        return tool  # hosted: part of the model's call

    def _function_tool(self, tool: FunctionTool) -> FunctionTool:
        async def invoke(context: Any, arguments: str) -> Any:
            # The tool's own time limit is inside the step: a replay, which takes no time, must not decide otherwise.
            return await self._called(tool.name, context, arguments, lambda: _of_function(tool, context, arguments))

        async def invoke_agent(context: Any, arguments: str) -> Any:
            inner = copy.copy(context)
            inner.usage = Usage()

            def done(value: Any) -> Any:
                context.usage.add(deserialize_usage(value["usage"]))
                return value["output"]

            async def call() -> Any:
                output = forms.output_form(await _of_function(tool, inner, arguments))
                return {"output": output, "usage": serialize_usage(inner.usage)}

            return await self._called(tool.name, context, arguments, call, done)

        if tool._is_agent_tool:  # what its models use is the run's, also at a replay, which does not ask them
            invoke = invoke_agent
        durable = dataclasses.replace(tool, on_invoke_tool=invoke, timeout_seconds=None)
        durable.tool_input_guardrails = [self._tool_input_guardrail(each) for each in tool.tool_input_guardrails or []]
        durable.tool_output_guardrails = [
            self._tool_output_guardrail(each) for each in tool.tool_output_guardrails or []
        ]
        return durable

    def _custom_tool(self, tool: CustomTool) -> CustomTool:
        async def invoke(context: Any, text: str) -> str:
            return str(
                await self._called(tool.name, context, text, lambda: _awaited(tool.on_invoke_tool(context, text)))
            )

        return dataclasses.replace(tool, on_invoke_tool=invoke)

    async def _called(
        self,
        name: str,
        context: Any,
        arguments: str,
        call: Callable[[], Awaitable[Any]],
        done: Callable[[Any], Any] = lambda value: value,
    ) -> Any:
        async def body() -> Any:
            return forms.output_form(await call())

        outcome = await self._operations.step(
            f"tool {name} {context.tool_call_id}",
            body,
            asked=digest(name, arguments),
            at_most_once=name not in self._options.at_least_once,
        )
        if isinstance(outcome, Failed):
            self.step.outputs[context.tool_call_id] = f"This call failed: {outcome.kind}."
            if outcome.kind == asyncio.CancelledError.__name__:  # which the SDK takes for the tool's own failure
                raise asyncio.CancelledError(outcome.text)
            raise OperationFailedError(outcome)
        output = done(outcome.value) if isinstance(outcome, Done) else INTERRUPTED
        self.step.outputs[context.tool_call_id] = output
        return output

    # --- guardrails --------------------------------------------------------------------------------------------------

    def input_guardrail(self, guardrail: InputGuardrail[Any]) -> InputGuardrail[Any]:
        """The guardrail, durable."""
        run = self._checked(f"input {guardrail.get_name()}", guardrail.guardrail_function, forms.guardrail_form)

        async def check(context: Any, agent: Any, items: Any) -> Any:
            return forms.guardrail_of(await run(context, agent, items))

        return dataclasses.replace(guardrail, guardrail_function=check, name=guardrail.get_name())

    def output_guardrail(self, guardrail: OutputGuardrail[Any]) -> OutputGuardrail[Any]:
        """The guardrail, durable."""
        run = self._checked(f"output {guardrail.get_name()}", guardrail.guardrail_function, forms.guardrail_form)

        async def check(context: Any, agent: Any, output: Any) -> Any:
            return forms.guardrail_of(await run(context, agent, output))

        return dataclasses.replace(guardrail, guardrail_function=check, name=guardrail.get_name())

    def _tool_input_guardrail(self, guardrail: ToolInputGuardrail[Any]) -> ToolInputGuardrail[Any]:
        function = self._tool_check("before", guardrail.get_name(), guardrail.guardrail_function)
        return dataclasses.replace(guardrail, guardrail_function=function, name=guardrail.get_name())

    def _tool_output_guardrail(self, guardrail: ToolOutputGuardrail[Any]) -> ToolOutputGuardrail[Any]:
        function = self._tool_check("after", guardrail.get_name(), guardrail.guardrail_function)
        return dataclasses.replace(guardrail, guardrail_function=function, name=guardrail.get_name())

    def _tool_check(self, when: str, name: str, function: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
        async def check(data: Any) -> Any:
            async def body() -> Any:
                return forms.tool_guardrail_form(await _awaited(function(data)))

            step = self._numbered(f"guardrail {when} {name} {data.context.tool_call_id}")
            return forms.tool_guardrail_of(value_of(await self._operations.step(step, body)))

        return check

    def _checked(
        self, name: str, function: Callable[..., Any], form: Callable[[Any], Any]
    ) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any) -> Any:
            async def body() -> Any:
                return form(await _awaited(function(*arguments)))

            return value_of(await self._operations.step(self._numbered(f"guardrail {name}"), body))

        return run

    # --- handoffs ----------------------------------------------------------------------------------------------------

    def _handoff(self, handoff: Any) -> Any:
        if isinstance(handoff, Agent):
            return self.agent(handoff)
        if not isinstance(handoff, Handoff):
            return handoff

        async def invoke(context: Any, arguments: str) -> Any:
            agent: Any = None

            async def body() -> str:
                nonlocal agent
                agent = await handoff.on_invoke_handoff(context, arguments)
                return str(agent.name)

            name = self._numbered(f"handoff {handoff.tool_name}")
            value_of(await self._operations.step(name, body, asked=digest(arguments)))
            if agent is None:  # a replay
                agent = _agent_of(handoff) or await handoff.on_invoke_handoff(context, arguments)
            return self.agent(agent)

        durable = dataclasses.replace(handoff, on_invoke_handoff=invoke)
        if (agent := _agent_of(handoff)) is not None:
            durable._agent_ref = weakref.ref(self.agent(agent))
        return durable

    # --- MCP ---------------------------------------------------------------------------------------------------------

    def _server(self, server: Any) -> DurableMCPServer:
        if id(server) not in self._servers:
            self._servers[id(server)] = DurableMCPServer(server, self._operations)
        return self._servers[id(server)]

    def _wrap_mcp_tools(self, clone: Agent[Any]) -> None:
        listed = clone.get_mcp_tools

        async def get_mcp_tools(run_context: Any) -> list[Tool]:
            return [self._tool(tool) for tool in await listed(run_context)]

        object.__setattr__(clone, "get_mcp_tools", get_mcp_tools)


class QuietHooks(RunHooks[Any]):
    """Hooks that a replay does not call for what an earlier invocation has told them already.

    Args:
        hooks: The hooks, or None.
        operations: The run's operations.
    """

    def __init__(self, hooks: Any, operations: Operations) -> None:
        self._hooks, self._operations = hooks, operations


class QuietAgentHooks(AgentHooks[Any]):
    """The same for the hooks of one agent."""

    def __init__(self, hooks: Any, operations: Operations) -> None:
        self._hooks, self._operations = hooks, operations


async def quiet(hooks: Any, name: str, *arguments: Any, **named: Any) -> None:
    """Tell hooks something, unless an earlier invocation has."""
    if hooks._hooks is not None and not hooks._operations.is_replaying:
        await getattr(hooks._hooks, name)(*arguments, **named)


def _forward(kind: type, name: str) -> None:
    async def method(self: Any, *arguments: Any, **named: Any) -> None:
        await quiet(self, name, *arguments, **named)

    setattr(kind, name, method)


for _kind in (QuietHooks, QuietAgentHooks):
    for _name in dir(_kind.__mro__[1]):
        if _name.startswith("on_") and _name not in vars(_kind):
            _forward(_kind, _name)


def may_pass(error: BaseException) -> bool:
    """Whether a model that failed so may answer when it is asked again later."""
    if getattr(error, "code", None) == "insufficient_quota":
        return False
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _MAY_PASS or status >= 500
    return isinstance(error, (ConnectionError, TimeoutError)) or "Connection" in type(error).__name__


async def _of_function(tool: FunctionTool, context: Any, arguments: str) -> Any:
    output = await invoke_function_tool(function_tool=tool, context=context, arguments=arguments)
    if tool._is_agent_tool:
        _without_approvals(tool, context)
    return output


def _without_approvals(tool: FunctionTool, context: Any) -> None:
    from agents.agent_tool_state import get_agent_tool_state_scope, peek_agent_tool_run_result

    call = getattr(context, "tool_call", None)
    result = call and peek_agent_tool_run_result(call, scope_id=get_agent_tool_state_scope(context))
    if getattr(result, "interruptions", None):
        raise InvalidInputError(
            f"the agent behind the tool {tool.name!r} waits for an approval, which cannot be given inside a durable "
            "operation: let the tool itself need the approval, or hand off to the agent"
        )


def _agent_of(handoff: Handoff[Any, Any]) -> Agent[Any] | None:
    agent = handoff._agent_ref() if handoff._agent_ref is not None else None
    return agent if isinstance(agent, Agent) else None


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def refuse_streaming() -> NoReturn:
    """Tell why."""
    raise InvalidInputError(NO_STREAMING)
