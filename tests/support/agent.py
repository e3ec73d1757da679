"""The reference agent with its tables on an engine, in as many execution environments as a test wants.

with agent_stage() as stage, stage.environment() as one, stage.environment() as other:
    one.invoke({"session_id": "ada", "message": "Hello"})
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from openai_agents_session.storage.table import INDEX, INDEX_DEFINITIONS
from tools.emulation import engines, rie
from tools.emulation.rie import Emulator

_INDEXED: dict[str, Any] = {"AttributeDefinitions": INDEX_DEFINITIONS, "GlobalSecondaryIndexes": [INDEX]}
_PLAIN: dict[str, Any] = {"AttributeDefinitions": [{"AttributeName": "session_id", "AttributeType": "S"}]}

EVENTS = Path(__file__).resolve().parents[2] / "events"


def event(name: str, **changes: Any) -> Any:
    """A sample event, with changes."""
    return json.loads((EVENTS / f"{name}.json").read_text()) | changes


def body(answer: Any) -> dict[str, Any]:
    """What an answer says, whichever shape it has."""
    content: dict[str, Any] = json.loads(answer["body"]) if "body" in answer else answer
    return content


@dataclass(frozen=True)
class Stage:
    """Tables on an engine, and what the function is told.

    Attributes:
        endpoint_url: The engine's.
        variables: Environment variables of the function.
        client: A boto3 client of the engine.
    """

    endpoint_url: str
    variables: dict[str, str]
    client: Any

    def environment(self, *, timeout_seconds: int = 30, **variables: str) -> Emulator:
        """A new execution environment, to be started with a with-block; more variables, or others."""
        folders = [rie.FUNCTION, rie.built_layer()]
        return Emulator("app.handler", folders, self.variables | variables, timeout_seconds=timeout_seconds)

    def items(self) -> list[dict[str, Any]]:
        """All that is stored in the table of sessions."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.variables["SESSION_TABLE"])
        return [item for page in pages for item in page["Items"]]


@contextmanager
def agent_stage(engine: str | None = None, *, with_index: bool = True) -> Iterator[Stage]:
    """Start an engine with the agent's tables.

    Args:
        engine: Which one; the quickest that is there when left out.
        with_index: Whether the table has the index that lists conversations.
    """
    quickest = "moto" if engines.available()["dynoxide"] else "dynoxide"
    with engines.start(engine or quickest) as running:
        yield stage_on(running.endpoint_url, with_index=with_index)


def stage_on(endpoint_url: str, *, with_index: bool = True) -> Stage:
    """Fresh tables on an engine that runs."""
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    client = boto3.client("dynamodb", endpoint_url=endpoint_url, **credentials)
    mark = uuid.uuid4().hex[:8]
    client.create_table(
        TableName=f"sessions-{mark}",
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        **(_INDEXED if with_index else _PLAIN),
        BillingMode="PAY_PER_REQUEST",
    )
    variables = {
        "SESSION_TABLE": f"sessions-{mark}",
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url,
        "MODEL_PROVIDER": "offline",
        "POWERTOOLS_SERVICE_NAME": "agent",
        "POWERTOOLS_METRICS_NAMESPACE": "Tests",
    }
    return Stage(endpoint_url, variables, client)


@contextmanager
def calling(environment: Emulator, request: Any) -> Iterator[Future[Any]]:
    """Call the function in the background for the time of a with-block; the future has the answer."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: environment.invoke(request).answer)


def until(seconds: float, condition: Any) -> Any:
    """Ask again and again until a condition is true; what it last was."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result
