"""The SAM CLI as a user runs it, against a local AWS or none at all."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".work" / "envs" / "sam"
TEMPLATE = ROOT / "template.yaml"

_QUIET = {
    "SAM_CLI_TELEMETRY": "0",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "PYTHONWARNINGS": "ignore",
}


def environ(endpoint_url: str | None = None) -> dict[str, str]:
    """Variables for AWS's own tools.

    Args:
        endpoint_url: Where AWS is; None leaves it out of reach.
    """
    endpoint = {"AWS_ENDPOINT_URL": endpoint_url} if endpoint_url else {}
    return {**os.environ, **_QUIET, **endpoint}


def sam(
    *arguments: str,
    endpoint_url: str | None = None,
    first_on_path: Path | None = None,
    variables: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> str:
    """Run the SAM CLI in the project's folder.

    Args:
        arguments: The command and its options.
        endpoint_url: Where AWS is.
        first_on_path: A folder whose programs it finds first.
        variables: More environment variables.
        timeout: Seconds after which it fails.

    Returns:
        What it printed.

    Raises:
        AssertionError: It failed; the message is what it printed.
    """
    command = [str(ENVIRONMENT / "bin" / "sam"), *arguments]
    all_variables = environ(endpoint_url) | dict(variables or {})
    if first_on_path:
        all_variables["PATH"] = f"{first_on_path}{os.pathsep}{all_variables['PATH']}"
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=all_variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def overrides(parameters: Mapping[str, str]) -> list[str]:
    """The option that sets the template's parameters."""
    return ["--parameter-overrides", " ".join(f"{name}={value}" for name, value in parameters.items())]


def build(folder: Path, **parameters: str) -> Path:
    """`sam build` into a folder.

    Returns:
        The folder with the artifacts and the template that names them.
    """
    sam("build", "--build-dir", str(folder / "build"), *overrides(parameters))
    return folder / "build"


@dataclass(frozen=True)
class Expansion:
    """The template as CloudFormation gets it, and as it acts on it.

    Attributes:
        expanded: Serverless resources replaced by what they stand for.
        decided: The same without what its conditions leave out, and with the parameters' values.
    """

    expanded: dict[str, Any]
    decided: dict[str, Any]

    @property
    def resources(self) -> dict[str, Any]:
        """What would be created, by logical id."""
        return cast(dict[str, Any], self.decided["Resources"])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a type that would be created, such as "AWS::DynamoDB::Table"."""
        return [resource for resource in self.resources.values() if resource["Type"] == kind]

    def only(self, kind: str) -> dict[str, Any]:
        """The one resource of a type."""
        (resource,) = self.of_type(kind)
        return resource


@functools.cache
def expand(**parameters: str) -> Expansion:
    """Expand the template.

    Args:
        parameters: Values for the template's parameters; the others have their defaults.
    """
    return expand_each([parameters])[0]


def expand_each(parameters: Iterable[Mapping[str, str]]) -> list[Expansion]:
    """Expand the template for several sets of parameters: the translator takes seconds to start."""
    python = ENVIRONMENT / "bin" / "python"
    done = subprocess.run(
        [python, Path(__file__).with_name("expand.py"), TEMPLATE, json.dumps(list(parameters))],
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Expansion(**found) for found in json.loads(done.stdout)]


def lint(templates: Iterable[Mapping[str, Any]], folder: Path) -> str:
    """What cfn-lint has to say about templates; nothing is good."""
    for number, template in enumerate(templates):
        (folder / f"{number}.json").write_text(json.dumps(template))
    linter = str(ENVIRONMENT / "bin" / "cfn-lint")
    command = [linter, "--regions", "eu-central-1", "--template", f"{folder}/*.json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False).stdout
