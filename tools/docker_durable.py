"""Durable runs through `sam local invoke`, in real containers; decided on with `sam local callback`.

SAM has an emulator for them, which is AWS's testing package in an image. The same package is in the developer's
environment, and SAM takes that for its emulator (DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT): no image is needed but
that of the runtime.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tools.emulation import rie
from tools.emulation.sam import environ, overrides, sam

FUNCTION = "DurableFunction"
PARAMETERS = {"DurableTimeoutSeconds": "3600"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - containers come from the bridge, and SAM itself from localhost
LOG = rie.ROOT / ".work" / "docker" / "executions.log"
SECONDS = 120


@dataclass(frozen=True)
class Local:
    """SAM with the emulator.

    Attributes:
        template: The built template.
        options: Of `sam local invoke`.
        port: Where the emulator is.
    """

    template: Path
    options: Sequence[str]
    port: int

    def sam(self, *arguments: str) -> str:
        """Run a command of SAM's."""
        variables = {"DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT": str(self.port)}
        return sam("local", *arguments, variables=variables, timeout=SECONDS)

    def invoke(self, name: str, message: str) -> None:
        """Start a durable run and wait for its end."""
        event = self.template.parent.parent / f"{name}.json"
        event.write_text(json.dumps({"session_id": name, "message": message}))
        named = ("--durable-execution-name", name, "--template-file", str(self.template), "--event", str(event))
        self.sam("invoke", FUNCTION, *named, *overrides(PARAMETERS), *self.options)

    def execution(self, name: str) -> str:
        """The ARN of an execution, once it is there."""
        credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        client = boto3.client("lambda", endpoint_url=f"http://{rie.HOST}:{self.port}", **credentials)
        asked = {"FunctionName": "function", "DurableExecutionName": name}
        found = _once(lambda: client.list_durable_executions_by_function(**asked).get("DurableExecutions"))
        return str(found[0]["DurableExecutionArn"])

    def callback(self, execution: str) -> str:
        """The id of the callback that an execution waits for, once it does."""

        def waiting() -> Any:
            events = json.loads(self.sam("execution", "history", execution, "--format", "json"))["Events"]
            return [event["CallbackStartedDetails"] for event in events if "CallbackStartedDetails" in event]

        return str(_once(waiting)[0]["CallbackId"])

    def answer(self, execution: str) -> str:
        """What an execution that has ended returned."""
        found = json.loads(self.sam("execution", "get", execution, "--format", "json"))
        return str(json.loads(found["Result"])["answer"]) if found["Status"] == "SUCCEEDED" else str(found)


def check(artifacts: Path, options: Sequence[str]) -> list[bool]:
    """Take a durable run that calls a tool, and one that waits for approval; of each, whether it passed.

    Args:
        artifacts: The folder of the built template.
        options: More of `sam local invoke`.
    """
    with _emulator() as port:
        local = Local(_whole_numbers(artifacts / "template.yaml"), options, port)
        checks = {"durable_sum": (_sum, "That makes 391."), "durable_refund": (_refund, "Refunded 25.00 euros")}
        return [_passes(local, name, play, expected) for name, (play, expected) in checks.items()]


def _sum(local: Local, name: str) -> None:
    local.invoke(name, "What is 17 * 23?")


def _refund(local: Local, name: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        invoked = pool.submit(local.invoke, name, "Please refund 25 euros for order A-17.")
        callback = local.callback(local.execution(name))
        local.sam("callback", "succeed", callback, "--result", json.dumps({"offline_refund_1": True}))
        invoked.result()


def _passes(local: Local, name: str, play: Callable[[Local, str], None], expected: str) -> bool:
    try:
        play(local, name)
        answer = local.answer(local.execution(name))
    except (AssertionError, TimeoutError) as error:
        print(f"FAILED  {name}\n{error}")
        return False
    passed = expected in answer
    print(f"{'passed' if passed else 'FAILED'}  {name:24} {answer[:90]}", flush=True)
    return passed


def _whole_numbers(template: Path) -> Path:
    """The template with the numbers of DurableConfig in it: SAM would give its emulator a parameter's text."""
    numbers = {"ExecutionTimeout": PARAMETERS["DurableTimeoutSeconds"], "RetentionPeriodInDays": "1"}
    text = template.read_text()
    for name, number in numbers.items():
        text = re.sub(rf"\b{name}:\s+Ref: \w+", f"{name}: {number}", text)
    changed = template.with_name("durable.yaml")
    changed.write_text(text)
    return changed


@contextmanager
def _emulator() -> Iterator[int]:
    (port,) = rie.free_ports(1)
    program = str(Path(sys.executable).with_name("dex-local-runner"))
    command = [program, "start-server", "--host", EVERYWHERE, "--port", str(port)]
    with LOG.open("wb") as output, subprocess.Popen(command, env=environ(), stdout=output, stderr=output) as server:
        try:
            _once(lambda: _is_there(f"http://{rie.HOST}:{port}/health"))
            yield port
        finally:
            server.terminate()


def _is_there(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own http URL
            return True
    except OSError:
        return False


def _once(ask: Callable[[], Any]) -> Any:
    """What a question is answered with, once there is an answer.

    Raises:
        TimeoutError: There was none in time.
    """
    deadline = time.monotonic() + SECONDS
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"there was no answer within {SECONDS} s")
        time.sleep(0.5)
    return answer
