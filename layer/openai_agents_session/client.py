"""How the library makes a DynamoDB client, where the caller does not bring one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5


class OwnedClient:
    """An aiobotocore DynamoDB client and what closes it."""

    def __init__(self, client: DynamoDBClient, stack: AsyncExitStack) -> None:
        self.client = client
        self._stack = stack

    @classmethod
    async def open(
        cls, region_name: str | None = None, endpoint_url: str | None = None, session: AioSession | None = None
    ) -> OwnedClient:
        """Make a client.

        It sends each request once: the store repeats what is safe to repeat, and knows what it repeated.

        Args:
            region_name: AWS region; None for the environment's.
            endpoint_url: Another endpoint than AWS's; None for the environment's.
            session: The aiobotocore session to make it from; None for a new one.
        """
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
        )
        stack = AsyncExitStack()
        client = await stack.enter_async_context(
            (session or get_session()).create_client(
                "dynamodb", region_name=region_name, endpoint_url=endpoint_url, config=config
            )
        )
        return cls(client, stack)

    async def close(self) -> None:
        """Close the client and its connections."""
        await self._stack.aclose()
