"""What every worker does: hold a contender's stores, do one thing at a time as told, say what it took.

The command line is one JSON object: the endpoint, the session id, the file with the turns and the contender's options.
Each line of input is an order, ``{"do": "turn", "number": 7}`` or ``{"do": "read"}``; each line of output its outcome.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TABLE = "sessions"
REGION = "us-east-1"

Turn = Sequence[Sequence[Mapping[str, Any]]]
"""Batches of items in the form of the OpenAI Agents SDK."""


class Store(Protocol):
    """One contender."""

    async def turn(self, number: int, turn: Turn) -> Any:
        """Do one turn as the contender's users do; return the history as it was read before."""
        ...

    async def read(self) -> Any:
        """Only read the history, and return it."""
        ...

    def questions(self, history: Any) -> int:
        """How many questions a history holds: asked when nothing is measured any more."""
        ...


@dataclass(frozen=True)
class Task:
    """What the command line asks for.

    Attributes:
        endpoint_url: Of DynamoDB, or of the proxy before it.
        session_id: The conversation.
        options: The contender's own.
    """

    endpoint_url: str
    session_id: str
    options: Mapping[str, Any]


class Open(Protocol):
    """Opens a contender's stores by name; tables are made here, clients live as long as the context."""

    def __call__(self, task: Task) -> AbstractAsyncContextManager[Mapping[str, Store]]:
        """Open them."""
        ...


def main(open_stores: Open) -> None:
    """Run a worker until its input ends."""
    logging.disable()  # an error is reported as an outcome
    arguments = json.loads(sys.argv[1])
    turns = json.loads(Path(arguments["turns"]).read_text())
    task = Task(arguments["endpoint_url"], arguments["session_id"], arguments["options"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "local"
    os.environ["AWS_DEFAULT_REGION"] = REGION
    asyncio.run(_serve(open_stores, task, turns))


async def _serve(open_stores: Open, task: Task, turns: Sequence[Turn]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    async with open_stores(task) as stores:
        answers.write('{"ready": true}\n')
        answers.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            answers.write(json.dumps(await _outcome(stores, json.loads(line), turns)) + "\n")
            answers.flush()


async def _outcome(stores: Mapping[str, Store], order: Mapping[str, Any], turns: Sequence[Turn]) -> dict[str, Any]:
    store = stores[order.get("store", "session")]
    turn = turns[order["number"] - 1] if order["do"] == "turn" else ()
    gc.collect()  # what earlier turns left is not this turn's work
    clock, processor = time.perf_counter(), time.process_time()
    try:
        history = await (store.turn(order["number"], turn) if turn else store.read())
    except Exception as error:  # noqa: BLE001 - whatever ends a contender is a result
        return {"error": f"{type(error).__name__}: {_reason(error)}"}
    cpu, seconds = time.process_time() - processor, time.perf_counter() - clock
    return {"read": store.questions(history), "cpu": cpu, "seconds": seconds}


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300]
