"""Print the modules of a layer that functions import: those that get bytecode.

    python3.13 -I tools/layers/record.py LAYER/python functions/agent SITE_PACKAGES > layer/bytecode.txt

The layer has 3,950 modules, of which functions import 2,000. This does what functions do: the agent's imports,
model clients (OpenAI's and Bedrock's), a DynamoDB request, clients of other services, MCP clients and servers, the
SDK's extensions that need no sandbox, Powertools' common utilities. SITE_PACKAGES stands for what the managed runtime
itself has: boto3.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import pkgutil
import sys
from pathlib import Path

SERVICE = (
    "openai_agents_session.service",
    "openai_agents_session.service.running",
    "openai_agents_session.service.streaming",
)
AGENT = (
    *SERVICE,
    "app",
    "agent",
    "agents.testing",
    "agents.extensions.memory.encrypt_session",
    "openai_agents_session.durable",
)
MODELS = ("agents.models.openai_responses", "agents.models.openai_chatcompletions", "openai.lib.bedrock")
MCP = ("agents.mcp.server", "agents.mcp.manager", "mcp", "mcp.client", "mcp.server", "mcp.shared", "mcp.types")
EXTENSIONS = ("handoff_filters", "handoff_prompt", "tool_output_trimmer", "memory", "models")
RESOURCES = (
    *("audio", "batches", "conversations", "embeddings", "files", "images", "models", "moderations", "realtime"),
    *("responses", "uploads", "vector_stores", "webhooks"),
)
POWERTOOLS = ("batch", "data_classes", "idempotency", "parameters", "typing")
SERVER = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("answers")


@server.tool()
def answer() -> str:
    return "42"


server.run()
"""
NOWHERE = "http://127.0.0.1:9"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_SERVICE_NAME": "agent",
    "POWERTOOLS_TRACE_DISABLED": "1",
}


def main(layer: Path, function: Path, runtime: Path) -> None:
    """Do what functions do, then print what that imported."""
    sys.path[:0] = [str(function), str(layer)]
    sys.path.append(str(runtime))
    sys.dont_write_bytecode = True
    os.environ.update(ENVIRONMENT)
    for name in (*AGENT, *MODELS, *(f"aws_lambda_powertools.utilities.{name}" for name in POWERTOOLS)):
        importlib.import_module(name)
    for name in (*MCP, *(f"agents.extensions.{name}" for name in EXTENSIONS), "aws_lambda_powertools.event_handler"):
        import_all(name)
    for name in ("types", "types.chat", "types.responses", "types.shared", "types.shared_params"):
        use_all(f"openai.{name}")
    asyncio.run(ask_a_model())
    asyncio.run(ask_bedrock())
    asyncio.run(ask_an_mcp_server())
    asyncio.run(ask_dynamodb())
    use_boto3()
    for path in sorted(imported(layer.resolve())):
        if not path.startswith("openai_agents_session/"):  # all of it is compiled
            print(path)


def import_all(name: str) -> None:
    """Import a module, and all below it but commands and what asks for packages that the layer has not."""
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if found.name.rpartition(".")[2] not in ("__main__", "cli"):
            with contextlib.suppress(ImportError):
                import_all(found.name)


def use_all(name: str) -> None:
    """Import a module, and whatever it defers."""
    module = importlib.import_module(name)
    for each in dir(module):
        getattr(module, each)


async def ask_a_model() -> None:
    """Import what an HTTP client and OpenAI's API need, which they put off until they are used."""
    from openai import AsyncOpenAI, OpenAIError

    client = AsyncOpenAI(api_key="x", base_url=NOWHERE, max_retries=0)
    async with client:
        for request in (
            lambda: client.responses.create(model="x", input="x"),
            lambda: client.chat.completions.create(model="x", messages=[{"role": "user", "content": "x"}]),
        ):
            with contextlib.suppress(OpenAIError):
                await request()
        for resource in RESOURCES:
            getattr(client, resource)


async def ask_bedrock() -> None:
    """Import what a request to Bedrock needs, through OpenAI's client."""
    from openai import AsyncOpenAI, OpenAIError
    from openai.providers import bedrock

    async with AsyncOpenAI(provider=bedrock(region="us-east-1"), max_retries=0, timeout=1) as client:
        with contextlib.suppress(OpenAIError):
            await client.responses.create(model="x", input="x")


async def ask_an_mcp_server() -> None:
    """Import what a connection needs, over pipes (to a server of the same layer) and over HTTP (to none)."""
    from agents.mcp import MCPServerStdio, MCPServerStreamableHttp

    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    async with MCPServerStdio({"command": sys.executable, "args": ["-c", SERVER], "env": path}) as server:
        assert [tool.name for tool in await server.list_tools()] == ["answer"]
        await server.call_tool("answer", {})
    with contextlib.suppress(Exception):
        await MCPServerStreamableHttp({"url": NOWHERE, "timeout": 1}).connect()  # type: ignore[no-untyped-call]


async def ask_dynamodb() -> None:
    """Import what a request needs, and the exceptions of its failure."""
    from aiobotocore.session import get_session
    from botocore.exceptions import BotoCoreError

    async with get_session().create_client("dynamodb", endpoint_url=NOWHERE) as client:
        client.exceptions.ConditionalCheckFailedException  # noqa: B018
        with contextlib.suppress(BotoCoreError):
            await client.get_item(TableName="x", Key={"session_id": {"S": "x"}})


def use_boto3() -> None:
    """Import what the runtime's own boto3 takes from the layer."""
    import boto3
    from botocore.exceptions import BotoCoreError

    for service, operation in (("s3", "list_buckets"), ("sqs", "list_queues"), ("secretsmanager", "list_secrets")):
        with contextlib.suppress(BotoCoreError):
            getattr(boto3.client(service, endpoint_url=NOWHERE), operation)()
    boto3.resource("dynamodb")


def imported(layer: Path) -> set[str]:
    """The layer's modules that are loaded, as paths within it."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = {Path(file).resolve() for file in files if file and file.endswith(".py")}
    return {path.relative_to(layer).as_posix() for path in paths if path.is_relative_to(layer)}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
