"""An MCP server whose list of tools is a durable operation, and which is connected only when something new is asked.

A server is connected and closed in one task: its client's cancel scopes must not be left in another than they were
entered in.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agents.mcp import MCPServer

from . import forms
from .operations import Done, Failed, Operations

if TYPE_CHECKING:
    from mcp.types import CallToolResult, GetPromptResult, ListPromptsResult, Tool


class DurableMCPServer(MCPServer):
    """A server for one run in one invocation.

    Args:
        server: The server. One that is connected already stays so.
        operations: The run's operations.
    """

    def __init__(self, server: MCPServer, operations: Operations) -> None:
        self.__dict__.update(vars(server))  # what the SDK reads of it: policies, resolvers, error functions
        self._server, self._operations = server, operations
        self._lists: dict[str, list[Tool]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connected: asyncio.Future[None] | None = None
        self._is_over = asyncio.Event()

    @property
    def name(self) -> str:
        """The server's."""
        return self._server.name

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        """The server's tools for an agent: asked for once in a run."""
        name = "" if agent is None else str(agent.name)
        if name not in self._lists:

            async def body() -> Any:
                await self.connect()
                return forms.mcp_tools_form(await self._server.list_tools(run_context, agent))

            outcome = await self._operations.step(f"mcp tools {self.name} {name}", body)
            if not isinstance(outcome, Done):
                text = outcome.text if isinstance(outcome, Failed) else "it was interrupted"
                raise ConnectionError(f"the MCP server {self.name!r} does not tell its tools: {text}")
            self._lists[name] = forms.mcp_tools_of(outcome.value)
        return self._lists[name]

    async def call_tool(
        self, tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        """Call a tool, inside the operation of its call."""
        await self.connect()
        return await self._server.call_tool(tool_name, arguments, meta)

    async def connect(self) -> None:
        """Connect, the first time that something new is asked in this invocation."""
        if self._connected is None:
            self._connected = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._own())
        await asyncio.shield(self._connected)

    async def _own(self) -> None:
        assert self._connected is not None  # noqa: S101 - made just before
        if getattr(self._server, "session", None) is not None:
            self._connected.set_result(None)
            return
        try:
            await self._server.connect()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - for whoever waits for the connection
            self._connected.set_exception(error)
            return
        self._connected.set_result(None)
        await self._is_over.wait()
        await self._server.cleanup()  # type: ignore[no-untyped-call]

    async def disconnect(self) -> None:
        """Close the connection, if this made it."""
        self._is_over.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def cleanup(self) -> None:
        """Nothing: the run disconnects when the invocation ends."""

    async def list_prompts(self) -> ListPromptsResult:
        """The server's."""
        await self.connect()
        return await self._server.list_prompts()

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        """The server's."""
        await self.connect()
        return await self._server.get_prompt(name, arguments)
