"""Strands with `strands-dynamodb-storage`: an agent with a session manager, new each turn.

`SnapshotSessionManager` with its defaults: it restores the newest snapshot when the agent is made and overwrites it
after the invocation. The default conversation manager would drop all but the last 40 messages; to keep the whole
history as the others do, it is replaced by the one that drops nothing. No S3 bucket is given, so a session ends where
the storage's 380,000 bytes end. The model is scripted and says what the workload says.
"""

# Its packages are in an environment of their own, out of the type checker's sight.
# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator"

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import boto3
from strands import Agent, tool
from strands.agent.conversation_manager import NullConversationManager
from strands.models.model import Model
from strands.session import SnapshotSessionManager
from strands_dynamodb_storage import DynamoDBStorage

from tools.bench.workers import worker


class Script(Model):
    """A model that answers each call with the next batch's items."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def update_config(self, **_: Any) -> None:
        """Nothing to configure."""

    def get_config(self) -> dict[str, Any]:
        """Nothing configured."""
        return {}

    def structured_output(self, *_: Any, **__: Any) -> Any:
        """Not asked for."""
        raise NotImplementedError

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """The events of one answer."""
        batch = self.batches.pop(0)
        stop = "end_turn"
        yield {"messageStart": {"role": "assistant"}}
        for item in batch:
            match item.get("type"):
                case "reasoning":
                    thought = {"reasoningContent": {"signature": item["encrypted_content"]}}
                    yield {"contentBlockDelta": {"delta": thought}}
                    yield {"contentBlockStop": {}}
                case "function_call":
                    stop = "tool_use"
                    use = {"name": item["name"], "toolUseId": item["call_id"]}
                    yield {"contentBlockStart": {"start": {"toolUse": use}}}
                    yield {"contentBlockDelta": {"delta": {"toolUse": {"input": item["arguments"]}}}}
                    yield {"contentBlockStop": {}}
                case "message":
                    yield {"contentBlockDelta": {"delta": {"text": item["content"][0]["text"]}}}
                    yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": stop}}


class Snapshots:
    """Agents of one session, one after the other."""

    def __init__(self, storage: DynamoDBStorage, session_id: str) -> None:
        self._storage = storage
        self._session_id = session_id
        self._model = Script()
        self._output = ""

        @tool
        def search_orders(query: str, category: str, limit: int, include_archived: bool) -> dict[str, Any]:
            """Search orders."""
            return json.loads(self._output)  # type: ignore[no-any-return]

        self._tools = [search_orders]

    async def turn(self, number: int, turn: worker.Turn) -> Any:
        """Make the agent, which restores the history, and let it answer."""
        (question,), *self._model.batches = turn
        self._output = next((item["output"] for batch in turn for item in batch if "output" in item), "")
        agent = self._agent()
        before = list(agent.messages)
        await agent.invoke_async(question["content"])
        return before

    async def read(self) -> Any:
        """Make the agent."""
        return self._agent().messages

    def questions(self, history: Any) -> int:
        """The user's messages; a tool's result is one of the user's, too, but has no text."""
        return sum(message["role"] == "user" and "text" in message["content"][0] for message in history)

    def _agent(self) -> Agent:
        return Agent(
            model=self._model,
            tools=list(self._tools),
            session_manager=SnapshotSessionManager(self._session_id, storage=self._storage),
            conversation_manager=NullConversationManager(),
            callback_handler=None,
        )


@asynccontextmanager
async def open_stores(task: worker.Task) -> AsyncIterator[Mapping[str, worker.Store]]:
    """The storage, on its documented table."""
    client = boto3.client("dynamodb", region_name=worker.REGION, endpoint_url=task.endpoint_url)
    client.create_table(
        TableName=f"strands-{task.session_id}",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    storage = DynamoDBStorage(f"strands-{task.session_id}", client=client, **task.options)
    yield {"session": Snapshots(storage, task.session_id)}


if __name__ == "__main__":
    worker.main(open_stores)
