"""Measure the contenders side by side: each round starts every one of them anew, so that all see the same machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tools.bench_layer.contenders import Contender
from tools.emulation import engines
from tools.emulation.rie import Emulator

Profile = dict[str, tuple[float, float]]
"""By package: processor seconds, and bytes."""

TABLE = "sessions"
CREDENTIALS = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
TURNS = 10
WARM_UP_TURNS, WARM_TURNS = 5, 30

PROFILES = 5

_IMPORT = "import agents, aiobotocore.session, aws_lambda_powertools"
_IMPORT_WITH_MCP = """
from agents import Agent
from agents.mcp import MCPServerStreamableHttp
Agent(name="assistant", mcp_servers=[MCPServerStreamableHttp({"url": "http://127.0.0.1:9"})])
"""
_TIMED = """
import sys, time
began = time.perf_counter()
exec(sys.argv[1])
print(time.perf_counter() - began, time.process_time())
"""
_OF_LAMBDA = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SAM_LOCAL": "true",
    "LAMBDA_TASK_ROOT": "/var/task",
}


@dataclass
class Cold:
    """What starts of one contender took: one figure a fresh process.

    Attributes:
        first_answer: Seconds from nothing to the first answer.
        processor: Seconds of processor time that the runtime's process took until then.
        imports: Seconds of importing agents, aiobotocore and Powertools in a bare interpreter.
        with_mcp: Seconds of importing and making an agent with an MCP server there.
        with_mcp_processor: The same, in processor time.
        peak_memory: Bytes of the runtime's process at most, over ten turns.
    """

    first_answer: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    imports: list[float] = field(default_factory=list)
    with_mcp: list[float] = field(default_factory=list)
    with_mcp_processor: list[float] = field(default_factory=list)
    peak_memory: list[float] = field(default_factory=list)


@dataclass
class Warm:
    """What warm turns took.

    Attributes:
        milliseconds: Of each turn, inside the handler.
        connections: Opened in all those turns.
        models: Service models loaded in all those turns.
    """

    milliseconds: list[float] = field(default_factory=list)
    connections: int = 0
    models: int = 0


def median(figures: list[float]) -> float:
    """The median."""
    return statistics.median(figures)


@contextmanager
def table() -> Iterator[dict[str, str]]:
    """A DynamoDB with an empty table, as the function's environment variables."""
    missing = engines.available()
    name = next(name for name in ("dynoxide", "moto") if not missing[name])
    with engines.start(name) as engine:
        client = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            endpoint_url=engine.endpoint_url,
            **CREDENTIALS,
        )
        for table, key in ((TABLE, "session_id"), ("answers", "id")):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield {
            "SESSION_TABLE": TABLE,
            "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint_url,
            "MODEL_PROVIDER": "offline",
            "POWERTOOLS_SERVICE_NAME": "agent",
            "POWERTOOLS_METRICS_NAMESPACE": "Bench",
            "PYTHONDONTWRITEBYTECODE": "1",  # /opt and /var/task are read-only
        }


def cold(
    contenders: list[Contender], rounds: int, python: Path, variables: dict[str, str], say: Callable[[str], None]
) -> dict[str, Cold]:
    """Start every contender, once a round.

    Args:
        contenders: What is compared.
        rounds: How many fresh processes each.
        python: The interpreter of the bare imports.
        variables: The function's environment variables.
        say: Is told how far it is.
    """
    figures = {contender.name: Cold() for contender in contenders}
    for number in range(-1, rounds):  # the first round fills the file cache, and is not counted
        say(f"cold starts: round {number + 1} of {rounds}")
        for contender in contenders:
            first, processor, peak = _start(contender, variables, f"{contender.layer.parent.name}-{number}")
            imports, _ = _timed(python, contender.layer, _IMPORT)
            with_mcp, with_mcp_processor = _timed(python, contender.layer, _IMPORT_WITH_MCP)
            if number >= 0:
                of_contender = figures[contender.name]
                of_contender.first_answer.append(first)
                of_contender.processor.append(processor)
                of_contender.peak_memory.append(peak)
                of_contender.imports.append(imports)
                of_contender.with_mcp.append(with_mcp)
                of_contender.with_mcp_processor.append(with_mcp_processor)
    return figures


def profiles(
    contenders: list[Contender], python: Path, variables: dict[str, str], say: Callable[[str], None]
) -> dict[str, Profile]:
    """What each package adds to a start and its first turn, in processor seconds and bytes: medians, by contender."""
    runs: dict[str, list[Profile]] = {contender.name: [] for contender in contenders}
    for number in range(PROFILES):
        say(f"where the time goes: round {number + 1} of {PROFILES}")
        for contender in contenders:
            pythonpath = {"PYTHONPATH": os.pathsep.join(map(str, (contender.function, contender.layer)))}
            command: list[str | Path] = [python, "-s", "-S", Path(__file__).with_name("profiled.py")]
            environ = variables | _OF_LAMBDA | pythonpath
            done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            runs[contender.name].append(json.loads(done.stdout))
    return {name: _median_profile(of_contender) for name, of_contender in runs.items()}


def _median_profile(runs: list[Profile]) -> Profile:
    packages = {package for run in runs for package in run}
    nothing = (0.0, 0.0)
    return {
        package: (
            median([run.get(package, nothing)[0] for run in runs]),
            median([run.get(package, nothing)[1] for run in runs]),
        )
        for package in packages
    }


def warm(
    layer: Path, handlers: Path, rounds: int, variables: dict[str, str], say: Callable[[str], None]
) -> dict[str, Warm]:
    """Take turns on a kept client, and on one made for each invocation.

    Args:
        layer: The layer that both run on.
        handlers: The folder of both handlers.
        rounds: How many environments each.
        variables: The function's environment variables.
        say: Is told how far it is.
    """
    figures = {"kept": Warm(), "per_invocation": Warm()}
    for number in range(rounds):
        say(f"warm turns: round {number + 1} of {rounds}")
        for name, warm in figures.items():
            with Emulator(f"turns.{name}", [handlers, layer], variables) as environment:
                turns = [
                    environment.invoke({"session_id": f"{name}-{number}", "message": "Hello"}).answer
                    for _ in range(WARM_UP_TURNS + WARM_TURNS)
                ]
            before, measured = turns[WARM_UP_TURNS - 1], turns[WARM_UP_TURNS:]
            warm.milliseconds.extend(turn["ms"] for turn in measured)
            warm.connections += measured[-1]["connections"] - before["connections"]
            warm.models += measured[-1].get("models", 0) - before.get("models", 0)
    return figures


def _start(contender: Contender, variables: dict[str, str], session_id: str) -> tuple[float, float, float]:
    """Seconds from nothing to the first answer, processor seconds of it, and the peak memory in bytes after ten."""
    event: dict[str, Any] = {"session_id": session_id, "message": "What is 12 * 12?"}
    emulator = Emulator(contender.handler, [contender.function, contender.layer], variables)
    began = time.perf_counter()
    with emulator as environment:
        answers = [environment.invoke(event).answer]
        took = time.perf_counter() - began
        processor = _processor_seconds(environment.process_id)
        answers += [environment.invoke(event).answer for _ in range(TURNS - 1)]
        peak = _peak_memory(environment.process_id)
    if any(answer["status"] != 200 for answer in answers):
        raise RuntimeError(f"{contender.name}: {json.dumps(answers)}\n{emulator.log}")
    return took, processor, peak


def _peak_memory(parent: int) -> float:
    """Of the Python process below a process, in bytes."""
    status = (_child(parent) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _processor_seconds(parent: int) -> float:
    """What the Python process below a process has taken so far, its own and the kernel's for it."""
    user, system = (_child(parent) / "stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _child(parent: int) -> Path:
    (child,) = [child for task in Path(f"/proc/{parent}/task").iterdir() for child in _children(task)]
    return Path("/proc", child)


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


def _timed(python: Path, layer: Path, statements: str) -> tuple[float, float]:
    """Seconds that statements take in a bare interpreter, and its processor seconds until their end."""
    variables = {"PYTHONPATH": str(layer), "PYTHONDONTWRITEBYTECODE": "1"}
    command: list[str | Path] = [python, "-s", "-S", "-c", _TIMED, statements]
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    seconds, processor = done.stdout.split()
    return float(seconds), float(processor)
