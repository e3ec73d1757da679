"""The ways of attaching the layer that are documented, checked by their own tools."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.emulation.sam import ROOT, sam

ATTACH = ROOT / "docs" / "attach"
ENVIRONMENT = ROOT / ".work" / "envs" / "attach"
PERMISSIONS = {f"dynamodb:{name}" for name in ("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem")}


def in_environment(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [ENVIRONMENT / "bin" / arguments[0], *arguments[1:]],
        cwd=ATTACH,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def function_of(template: dict[str, Any]) -> dict[str, Any]:
    (function,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function")
    properties: dict[str, Any] = function["Properties"]
    return properties


def test_the_handler_in_the_text_is_the_one_in_the_file() -> None:
    (code,) = re.findall(r"```python\n(from agents.*?)```", (ROOT / "docs" / "attach.md").read_text(), re.DOTALL)
    assert code == (ATTACH / "handler.py").read_text()


def test_the_permissions_in_the_text_are_those_of_the_reference_agent() -> None:
    listed = set(re.findall(r"^\| `(dynamodb:\w+)`", (ROOT / "docs" / "attach.md").read_text(), re.MULTILINE))
    template = (ROOT / "template.yaml").read_text()
    assert listed == PERMISSIONS
    assert all(action in template for action in PERMISSIONS)


def test_the_sam_template_is_valid() -> None:
    assert "is a valid SAM Template" in sam("validate", "--lint", "--template", str(ATTACH / "sam.yaml"))

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    function = yaml.load((ATTACH / "sam.yaml").read_text(), Loader)["Resources"]["MyAgent"]["Properties"]  # noqa: S506
    (statement,) = function["Policies"][0]["Statement"]
    assert set(statement["Action"]) == PERMISSIONS
    compile(function["InlineCode"], "index.py", "exec")


@pytest.mark.timeout(180)
def test_the_cdk_app_synthesises_to_a_template_that_lints(tmp_path: Path) -> None:
    in_environment("python", "cdk_app.py", CDK_OUTDIR=str(tmp_path), JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION="1")
    path = tmp_path / "MyAgent.template.json"
    template = json.loads(path.read_text())
    function = function_of(template)
    assert function["Layers"] == [{"Ref": "SessionLayerArn"}]
    assert set(function["Environment"]["Variables"]) == {"SESSION_TABLE", "SESSION_TTL_SECONDS"}
    (policy,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy")
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == PERMISSIONS
    # W3005: the CDK itself writes a DependsOn that the reference to the role already implies.
    in_environment("cfn-lint", "--regions", "us-east-1", "--ignore-checks", "W3005", "--", str(path))


def test_terraforms_syntax_holds_the_layer_and_the_permissions() -> None:
    program = "import hcl2, json, sys; print(json.dumps(hcl2.load(open(sys.argv[1]))))"
    text = in_environment("python", "-c", program, str(ATTACH / "main.tf"))
    parsed = json.loads(text)
    assert {next(iter(resource)).strip('"') for resource in parsed["resource"]} >= {"aws_lambda_function"}
    assert set(re.findall(r"dynamodb:\w+", text)) == PERMISSIONS
    assert "var.session_layer_arn" in text
    assert "var.session_table" in text


def test_the_shell_commands_name_what_the_stack_puts_out() -> None:
    outputs = set(re.findall(r"OutputKey=='(\w+)'", (ROOT / "docs" / "attach.md").read_text()))
    template = (ROOT / "template.yaml").read_text().split("\nOutputs:")[1]
    assert outputs == {"SessionLayerArn", "TableName"}
    assert all(re.search(rf"^  {name}:", template, re.MULTILINE) for name in outputs)
