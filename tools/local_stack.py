"""The whole of what runs in AWS, on this machine: the function in Lambda's runtime client, its layer, and a table.

    with running() as stack:
        with stack.environment() as environment:      # a cold execution environment
            environment.invoke({"session_id": "ada", "message": "Hello"})
        stack.bill()                                   # what the requests to the table cost

The function reaches the table, moto's, through a proxy that counts requests and capacity units. The durable function is
there, too, and costs nothing before somebody starts a durable run. Nothing leaves this machine, except to the model's
provider if a key is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from openai_agents_session.storage.table import INDEX, INDEX_DEFINITIONS
from tools import interrupts
from tools.emulation import engines, rie
from tools.emulation.durable import DurableLambda
from tools.emulation.meter import Bill

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "sessions"
MODEL_VARIABLES = ("MODEL_PROVIDER", "MODEL_NAME", "MODEL_BASE_URL", "OPENAI_API_KEY")

Item = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class LocalStack:
    """A running stack.

    Attributes:
        endpoint_url: The table's, through the proxy that counts.
        table: A client of the table that is not counted.
        model: What the function is told about its model.
        durable: Lambda's durable side, with the durable function.
    """

    endpoint_url: str
    table: Any
    model: Mapping[str, str]
    durable: DurableLambda

    def variables(self) -> dict[str, str]:
        """The function's environment variables."""
        return {
            "SESSION_TABLE": TABLE,
            "SESSION_TTL_SECONDS": str(30 * 86_400),
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint_url,
            "POWERTOOLS_SERVICE_NAME": "agent",
            "POWERTOOLS_METRICS_NAMESPACE": "OpenAIAgents",
            **self.durable.variables,
            **self.model,
        }

    def exports(self) -> str:
        """Lines for a shell in which the operator's command is to find the table."""
        found = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "SESSION_TABLE": TABLE,
        }
        return "\n".join(f"export {name}={value}" for name, value in found.items())

    def environment(self, handler: str = "app.handler") -> rie.Emulator:
        """A new execution environment of a function, not started yet."""
        folders = [rie.FUNCTION, rie.built_layer()]
        return rie.Emulator(handler, folders, self.variables(), timeout_seconds=120)

    def bill(self) -> Bill:
        """What the function's requests to the table cost so far."""
        with urllib.request.urlopen(f"{self.endpoint_url}/proxy/bill") as answer:  # noqa: S310 - our own http URL
            return Bill.from_json(json.load(answer))

    def items(self) -> list[Item]:
        """Everything that the table holds, in DynamoDB's own form."""
        pages = self.table.get_paginator("scan").paginate(TableName=TABLE)
        return [item for page in pages for item in page["Items"]]

    def restore(self, items: Iterable[Item]) -> None:
        """Put items, such as `items` returned them, into the table."""
        for item in items:
            self.table.put_item(TableName=TABLE, Item=item)


@contextmanager
def running(progress: Callable[[str], None] = lambda _: None) -> Iterator[LocalStack]:
    """Run a stack for the time of a with-block.

    Args:
        progress: Told what is being done.

    Raises:
        RuntimeError: A part of it could not be built or started.
    """
    progress("building the layer")
    rie.built_layer()
    progress("starting DynamoDB")
    with ExitStack() as started:
        with interrupts.deferred():  # a Ctrl-C must not end the table before what still needs it
            engine = started.enter_context(engines.start("moto"))
            endpoint_url = started.enter_context(_metered(engine.endpoint_url))
        durable = started.enter_context(DurableLambda(lambda: stack.environment("durable_app.handler")))
        stack = LocalStack(endpoint_url, new_tables(engine.endpoint_url), chosen_model(), durable)
        yield stack


def chosen_model(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the function is told about its model: what this shell says; with nothing but a key, OpenAI's."""
    said = {name: environ[name] for name in MODEL_VARIABLES if environ.get(name)}
    if "MODEL_PROVIDER" in said:
        return said
    if "MODEL_BASE_URL" in said:
        return said | {"MODEL_PROVIDER": "compatible"}
    return said | {"MODEL_PROVIDER": "openai" if "OPENAI_API_KEY" in said else "offline"}


def new_tables(endpoint_url: str) -> Any:
    """Make the template's table, as far as an emulated DynamoDB needs to know them; return the client that did."""
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    client = boto3.client("dynamodb", endpoint_url=endpoint_url, **credentials)
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=INDEX_DEFINITIONS,
        GlobalSecondaryIndexes=[INDEX],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


@contextmanager
def _metered(endpoint_url: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tools.emulation.proxy", endpoint_url]
    with subprocess.Popen(command, cwd=rie.ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout
        try:
            yield proxy.stdout.readline().strip()
        finally:
            proxy.terminate()
