"""docs/durable.md: its first block is a whole function, and runs as it stands; its commands and template are AWS's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from openai_agents_session import environment
from openai_agents_session.service import durable_runs
from tests.support.durable_agents import Ledger, LedgerModel
from tests.support.durable_worker import service_for
from tools.emulation.engines import Engine
from tools.emulation.sam import sam

pytestmark = pytest.mark.one_engine

PAGE = Path(__file__).parents[2] / "docs" / "durable.md"
OF_THE_CLIENT = {"cli-binary-format"}
"""Options of the command's own."""


def test_the_ten_lines_run(engine: Engine, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function of the page answers, with nothing but its environment variables and a model."""
    variables = {
        "SESSION_TABLE": table,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    function: dict[str, Any] = {"__name__": "function"}
    exec(compile(code, str(PAGE), "exec"), function)  # noqa: S102 - the page's own
    function["agent"].model = LedgerModel(Ledger(tmp_path / "effects"), ["Hello, Ada."])
    try:
        with service_for(function["handler"]) as service:
            result = service.run(input=json.dumps({"session_id": "ada", "message": "Hello."}), execution_timeout=60)
        assert json.loads(result.result or "null")["answer"] == "Hello, Ada."
    finally:
        environment.environment.close()
        environment.environment._settings = None


@pytest.mark.parametrize(("stored", "key"), [("ada@0123", "order 4711"), ("größe\"'\\", "日本 $(x)"), ("a", "-c")])
def test_the_command_gives_the_name_of_an_execution(stored: str, key: str) -> None:
    """Who looks for the execution of a run finds it: the page's command makes the name that the service gives it."""
    (command,) = re.findall(r"^python3 -c .*hashlib.*$", PAGE.read_text(), re.MULTILINE)
    variables = os.environ | {"STORED_ID": stored, "KEY": key, "PYTHONUTF8": "1"}
    done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == durable_runs.execution_name(stored, key)


def test_every_aws_command_is_one_of_its_interface() -> None:
    """The page's commands name operations and parameters that AWS has."""
    loader = botocore.session.get_session()
    commands = re.findall(r"^aws (\S+) (\S+) ((?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) > 5
    for service, operation, rest in commands:
        model = loader.get_service_model(service)
        name = next(name for name in model.operation_names if xform_name(name, "-") == operation)
        shape = model.operation_model(name).input_shape
        assert shape is not None
        known = {xform_name(member, "-") for member in shape.members} | OF_THE_CLIENT
        assert set(re.findall(r"(?<= --)[a-z-]+", f" {rest}")) <= known, operation


def test_the_template_agrees_with_the_commands_and_is_valid(tmp_path: Path) -> None:
    """The page's SAM resource lints, has the name that the commands call, and may checkpoint what it runs."""
    (resource,) = re.findall(r"```yaml\n(ResearchFunction:.*?)```", PAGE.read_text(), re.DOTALL)
    head = (
        "AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\n"
        "Parameters: {SessionLayerArn: {Type: String}, Sessions: {Type: String}}\nResources:\n"
    )
    code = "  Properties:\n    InlineCode: ''\n"
    body = resource.replace("  Properties:\n", code, 1)
    template = tmp_path / "template.yaml"
    template.write_text(head + textwrap.indent(body, "  "))
    assert "is a valid SAM Template" in sam("validate", "--lint", "--template", str(template))
    (called,) = set(re.findall(r"--function-name ([a-z]+)", PAGE.read_text()))
    assert f"FunctionName: {called}" in resource
    assert f":function:{called}:*" in resource
