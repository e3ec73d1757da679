"""This library, or the reference: whichever `openai_agents_session` the environment holds.

A turn is what the Agents SDK's runner does with a session: one read, then one append a batch, by a session object that
is new each turn, as in a function that is invoked once a turn. The client outlives the turn, as it does in Lambda.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from openai_agents_session import DynamoDBSession
from tools.bench.workers import worker
from tools.bench.workers.floor import Floor, client


class Sessions:
    """Sessions of one id, one after the other."""

    def __init__(self, dynamodb: Any, session_id: str, settings: Mapping[str, Any]) -> None:
        self._client = dynamodb
        self._session_id = session_id
        self._settings = settings

    async def turn(self, number: int, turn: worker.Turn) -> Any:
        """Read, then append each batch."""
        session = self._session()
        history = await session.get_items()
        for batch in turn:
            await session.add_items(list(batch))
        return history

    async def read(self) -> Any:
        """Read the whole history."""
        return await self._session().get_items()

    def questions(self, history: Any) -> int:
        """The user's items."""
        return sum(item.get("role") == "user" for item in history)

    def _session(self) -> Any:
        return DynamoDBSession(self._session_id, self._client, worker.TABLE, **self._settings)


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The session's keyword arguments: this library's storage options, none for the reference."""
    if "cache" not in options:
        return {}
    from openai_agents_session.options import StorageOptions

    given = {name: value for name, value in options.items() if name != "cache"}
    return {"options": StorageOptions(**given) if options["cache"] else StorageOptions(cache=None, **given)}


@asynccontextmanager
async def open_stores(task: worker.Task) -> AsyncIterator[Mapping[str, worker.Store]]:
    """The sessions, and the raw calls that they are compared with on the same client."""
    async with client(task) as opened:
        raw = Floor(opened, f"{task.session_id}-raw", deflate=False)
        await raw.prepare()
        yield {"session": Sessions(opened, task.session_id, settings(task.options)), "raw": raw}


if __name__ == "__main__":
    worker.main(open_stores)
