"""Every sample event through `sam local invoke`, in real containers, then durable runs (`make test-docker`).

It needs a Docker engine and the image of Lambda's runtime: the one that the SAM CLI pulls, or one of the same tag that
is there already. The table is DynamoDB as emulated by moto, on the address of the host that containers reach, for as
long as this runs.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools import docker_durable, interrupts, local_dynamodb
from tools.emulation import rie
from tools.emulation.sam import ROOT, build, sam
from tools.local_stack import TABLE, new_tables

EVENTS = ROOT / "events"
WORK = ROOT / ".work" / "docker"
FUNCTION = "AgentFunction"

REFUSED = {"bad_request": 400, "http_bad_request": 400, "alb_history": 401}
"""Events that are wrong on purpose, or whose caller nobody verified."""

FAILING = {"s3"}
"""Events of which only failing is noticed."""

FIRST = ("first_turn", "tool_turn", "follow_up", "recall", "refund", "approvals", "approve")
"""Events that tell a story; the others follow in any order."""


def main() -> int:
    """Invoke the functions; the number of failures is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default="3.13", help="the template's Python")
    parser.add_argument("--events", nargs="*", help="names of events; all of them by default")
    arguments = parser.parse_args()
    gateway = host_address()
    image = f"public.ecr.aws/lambda/python:{arguments.runtime}-{rie.architecture()}"
    present = bool(docker("images", "--quiet", image))
    parameters = {"Architecture": rie.architecture(), "PythonVersion": arguments.runtime}
    artifacts = build(WORK, **parameters, **docker_durable.PARAMETERS)
    with local_dynamodb.running(host=gateway) as url:
        new_tables(url)
        variables = WORK / "variables.json"
        variables.write_text(json.dumps(dict.fromkeys((FUNCTION, docker_durable.FUNCTION), environment(url))))
        options = ["--env-vars", str(variables), *(["--skip-pull-image"] if present else [])]
        names = arguments.events or in_order()
        passed = [invoke(artifacts, name, options) for name in names]
        if not arguments.events:
            passed += docker_durable.check(artifacts, options)
    print(f"{passed.count(True)} passed, {passed.count(False)} failed")
    return min(passed.count(False), 100)


def docker(*arguments: str) -> str:
    """What the Docker client prints; ends the program where there is no engine."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        sys.exit("make test-docker needs Docker: there is no docker command on this machine")
    if done.returncode:
        sys.exit(f"make test-docker needs a Docker engine that this user may use: {done.stderr.strip()}")
    return done.stdout.strip()


def host_address() -> str:
    """Where containers reach this machine: the bridge's gateway, by default the first address of its network."""
    (bridge,) = json.loads(docker("network", "inspect", "bridge"))
    config = bridge["IPAM"]["Config"][0]
    gateway: str = config.get("Gateway") or str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
    return gateway


def environment(url: str) -> dict[str, str]:
    """The function's variables where CloudFormation does not resolve them."""
    return {
        "SESSION_TABLE": TABLE,
        "AWS_ENDPOINT_URL_DYNAMODB": url,
        "MODEL_PROVIDER": "offline",
        "OPENAI_API_KEY_SECRET": "",
        "OPENAI_API_KEY_PARAMETER": "",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }


def in_order() -> list[str]:
    """The events' names, the story first."""
    names = sorted(path.stem for path in EVENTS.glob("*.json"))
    return [*FIRST, *(name for name in names if name not in FIRST)]


def invoke(artifacts: Path, name: str, options: list[str]) -> bool:
    """Invoke the function in a container of its own; print what came of it."""
    template = ("--template-file", str(artifacts / "template.yaml"))
    try:
        printed = sam("local", "invoke", FUNCTION, *template, "--event", str(EVENTS / f"{name}.json"), *options)
    except AssertionError as error:
        print(f"FAILED  {name}\n{error}")
        return False
    answer = json.loads(printed.strip().splitlines()[-1])
    passed = is_right(name, answer)
    print(f"{'passed' if passed else 'FAILED'}  {name:24} {json.dumps(answer)[:90]}", flush=True)
    return passed


def is_right(name: str, answer: Mapping[str, Any]) -> bool:
    """Whether the function answered, and refused only what is wrong on purpose or asks for what is not there."""
    if name in FAILING:
        return answer.get("errorType") == "NotServedError"
    if "batchItemFailures" in answer:
        return len(answer["batchItemFailures"]) == (name == "sqs_poison")
    status = answer.get("statusCode", answer.get("status"))
    if name in REFUSED:
        return bool(status == REFUSED[name])
    return isinstance(status, int) and status < 500 and "errorType" not in answer


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
