"""LangGraph with `langgraph-checkpoint-aws`: a graph of a model and a tool, with a `DynamoDBSaver`.

One `ainvoke` a turn, on the conversation's thread: LangGraph loads the newest checkpoint, adds the question and
writes a checkpoint and the nodes' writes as it goes. No S3 bucket is given. The model is scripted and says what the
workload says.
"""

# Its packages are in an environment of their own, out of the type checker's sight.
# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import boto3
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph_checkpoint_aws import DynamoDBSaver

from tools.bench.workers import worker


class Threads:
    """One thread of a graph."""

    def __init__(self, saver: DynamoDBSaver, thread_id: str, durability: str | None) -> None:
        self._config: Any = {"configurable": {"thread_id": thread_id}}
        self._how: Any = {"durability": durability} if durability else {}
        self._batches: list[Any] = []
        self._output = ""
        self._before: list[Any] | None = None
        graph = StateGraph(MessagesState)
        graph.add_node("model", self._answer)
        graph.add_node("tool", self._call)
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", _next)
        graph.add_edge("tool", "model")
        self._graph = graph.compile(checkpointer=saver)

    async def turn(self, number: int, turn: worker.Turn) -> Any:
        """Invoke the graph with the question."""
        (question,), *self._batches = turn
        self._output = next((item["output"] for batch in turn for item in batch if "output" in item), "")
        self._before = None
        await self._graph.ainvoke({"messages": [HumanMessage(question["content"])]}, self._config, **self._how)
        return self._before

    async def read(self) -> Any:
        """Load the newest state."""
        state = await self._graph.aget_state(self._config)
        return state.values["messages"]

    def questions(self, history: Any) -> int:
        """The human's messages."""
        return sum(isinstance(message, HumanMessage) for message in history)

    async def _answer(self, state: MessagesState) -> dict[str, Any]:
        if self._before is None:
            self._before = state["messages"][:-1]
        return {"messages": [_message(self._batches.pop(0))]}

    async def _call(self, state: MessagesState) -> dict[str, Any]:
        (call,) = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage(self._output, tool_call_id=call["id"])]}


def _message(batch: list[Any]) -> AIMessage:
    """The items of one answer of the model."""
    content: list[Any] = []
    calls: list[Any] = []
    for item in batch:
        match item.get("type"):
            case "reasoning":
                content.append({name: item[name] for name in ("type", "id", "summary", "encrypted_content")})
            case "function_call":
                calls.append({"name": item["name"], "args": json.loads(item["arguments"]), "id": item["call_id"]})
            case "message":
                content.append({"type": "text", "text": item["content"][0]["text"]})
    identity = next((item["id"] for item in batch if "id" in item), None)
    return AIMessage(content if len(content) > 1 or calls else content[0]["text"], tool_calls=calls, id=identity)


def _next(state: MessagesState) -> str:
    return "tool" if getattr(state["messages"][-1], "tool_calls", None) else END


@asynccontextmanager
async def open_stores(task: worker.Task) -> AsyncIterator[Mapping[str, worker.Store]]:
    """The saver, on its documented table."""
    table = f"langgraph-{task.session_id}"
    client = boto3.client("dynamodb", region_name=worker.REGION, endpoint_url=task.endpoint_url)
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
        BillingMode="PAY_PER_REQUEST",
    )
    options = dict(task.options)
    durability = options.pop("durability", None)
    saver = DynamoDBSaver(table, region_name=worker.REGION, endpoint_url=task.endpoint_url, **options)
    yield {"session": Threads(saver, task.session_id, durability)}


if __name__ == "__main__":
    worker.main(open_stores)
