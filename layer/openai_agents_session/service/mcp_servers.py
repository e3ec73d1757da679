"""MCP servers of an agent: connected at the first turn that needs them, for as long as the environment lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..environment import environment
from .errors import RequestError
from .observe import log_failure

if TYPE_CHECKING:
    from agents.mcp import MCPServer, MCPServerManager


class McpServers:
    """The servers of an agent and of those that it hands over to.

    Args:
        servers: The servers, not connected yet.
    """

    def __init__(self, servers: Sequence[MCPServer]) -> None:
        self._servers = servers
        self._manager: MCPServerManager | None = None

    async def ready(self) -> None:
        """Connect the servers, or connect them anew if one does not answer any more.

        Raises:
            RequestError: One cannot be connected.
        """
        if self._manager is not None and not await self._answer():
            await self.close()
        if self._servers and self._manager is None:
            await self._connect()

    async def close(self) -> None:
        """Disconnect the servers."""
        manager, self._manager = self._manager, None
        if manager is not None:
            await manager.cleanup_all()

    async def _connect(self) -> None:
        from agents.mcp import MCPServerManager

        # Each server has a task of its own, in which it is connected and closed, as its transport demands.
        manager = MCPServerManager(self._servers, strict=True, connect_in_parallel=True)
        try:
            with environment.lasting():
                await manager.connect_all()
        except Exception as error:
            await manager.cleanup_all()
            raise RequestError(502, "the tools' server cannot be reached", code="tools_unavailable") from error
        self._manager = manager
        environment.on_close(self.close)

    async def _answer(self) -> bool:
        try:
            for server in self._servers:
                await server.list_tools()
        except Exception as error:  # noqa: BLE001 - transports raise what they like
            log_failure("an MCP server does not answer; it is connected anew", error)
            return False
        return True


def servers_of(agents: Sequence[Any]) -> McpServers:
    """The servers of some agents, each once."""
    found: list[MCPServer] = []
    for agent in agents:
        found += [server for server in agent.mcp_servers if not any(server is known for known in found)]
    return McpServers(found)
