"""The whole template deployed to a local AWS that really runs it, used, updated and deleted; and the layer attached."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools import interpreters
from tools.emulation import ministack, rie
from tools.emulation.ministack import LocalAws
from tools.emulation.sam import ROOT, build, overrides, sam
from tools.layers import build as layers
from tools.layers.assemble import ARCHITECTURES, Target

STACK = "agent-sessions"
EVENTS = ROOT / "events"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalAws]:
    """An empty local AWS."""
    with ministack.running(tmp_path) as running:
        yield running


def outputs(aws: LocalAws) -> dict[str, str]:
    (stack,) = aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def deploy(aws: LocalAws, artifacts: Path, parameters: dict[str, str]) -> dict[str, str]:
    template = ("--template-file", str(artifacts / "template.yaml"), "--config-file", str(ROOT / "samconfig.toml"))
    sam("deploy", *template, *overrides(parameters), endpoint_url=aws.endpoint_url)
    return outputs(aws)


def invoke(aws: LocalAws, event: str) -> Any:
    arguments = ("remote", "invoke", "AgentFunction", "--stack-name", STACK, "--event-file", str(EVENTS / event))
    answer: dict[str, Any] = json.loads(sam(*arguments, endpoint_url=aws.endpoint_url))
    return answer


def call(aws: LocalAws, api_url: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = aws.call_api(api_url, method, path, json.dumps(body).encode() if body else b"")
    content: dict[str, Any] = json.loads(answer.body)
    assert answer.status == 200, content
    return content


@pytest.mark.timeout(300)
def test_a_stack_from_its_first_day_to_its_last(aws: LocalAws, tmp_path: Path) -> None:
    parameters = {"Architecture": rie.architecture(), "PythonVersion": aws.python}
    artifacts = build(tmp_path, **parameters)
    assert_artifacts_are_ours(artifacts, rie.architecture(), aws.python)
    stack = deploy(aws, artifacts, parameters)

    # Through the HTTP API: nothing without a signature, then a conversation.
    path, message = "/sessions/grace", {"message": "Hello, my name is Grace."}
    refused = aws.call_api(stack["ApiUrl"], "POST", path, json.dumps(message).encode(), signed=False)
    assert refused.status == 403
    assert "Grace" in call(aws, stack["ApiUrl"], "POST", path, message)["answer"]
    recalled = call(aws, stack["ApiUrl"], "POST", path, {"message": "What is my name?"})
    assert recalled["answer"].startswith("Your name is Grace.")
    history = call(aws, stack["ApiUrl"], "GET", path)["items"]
    assert [item["role"] for item in history] == ["user", "assistant"] * 2

    # Directly, as an operator would.
    assert invoke(aws, "first_turn.json")["status"] == 200
    assert invoke(aws, "follow_up.json")["status"] == 200

    # An update changes the function and keeps what was said.
    updated = deploy(aws, artifacts, {**parameters, "TtlSeconds": "3600"})
    assert updated["TableName"] == stack["TableName"]
    configuration = aws.client("lambda").get_function_configuration(FunctionName=updated["FunctionName"])
    assert configuration["Environment"]["Variables"]["SESSION_TTL_SECONDS"] == "3600"
    assert call(aws, updated["ApiUrl"], "GET", path)["items"] == history

    # Clearing one session leaves the others.
    call(aws, updated["ApiUrl"], "DELETE", path)
    assert call(aws, updated["ApiUrl"], "GET", path)["items"] == []

    # The stack goes, its table stays.
    sam("delete", "--stack-name", STACK, "--no-prompts", "--region", ministack.REGION, endpoint_url=aws.endpoint_url)
    with pytest.raises(ClientError, match="not exist"):
        outputs(aws)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        aws.client("lambda").get_function(FunctionName=updated["FunctionName"])
    kept = aws.client("dynamodb").scan(TableName=stack["TableName"])["Items"]
    assert kept, "the sessions of the direct invocations"


def test_sam_builds_for_the_other_architecture_too(tmp_path: Path) -> None:
    (other,) = ARCHITECTURES.keys() - {rie.architecture()}
    python = "3.12" if interpreters.find("3.12") else rie.python_version()
    artifacts = build(tmp_path, Architecture=other, PythonVersion=python)
    assert_artifacts_are_ours(artifacts, other, python)


def assert_artifacts_are_ours(artifacts: Path, arch: str, python: str) -> None:
    """What `sam build` made is what the builder alone makes."""
    for resource, variant in (("SessionLayer", "full"), ("LeanSessionLayer", "lean")):
        ours = layers.build(Target(variant, arch, python)) / "python"
        assert contents(artifacts / resource / "python") == contents(ours)
    function = {path.name for path in (ROOT / "functions" / "agent").iterdir() if path.is_file()}
    shipped = {path.name for path in (artifacts / "AgentFunction").iterdir() if path.is_file()}
    assert shipped == function - {"Makefile", "requirements.txt"}


def contents(tree: Path) -> dict[str, int]:
    """A folder's files and their sizes."""
    return {path.relative_to(tree).as_posix(): path.stat().st_size for path in tree.rglob("*") if path.is_file()}


PLAIN = """
def handler(event, context):
    return {"answer": "I remember nothing."}
"""


def test_a_plain_function_gets_the_layer_and_then_remembers(aws: LocalAws) -> None:
    functions, target = aws.client("lambda"), Target(arch=rie.architecture(), python=aws.python)
    functions.create_function(
        FunctionName="plain",
        Runtime=f"python{aws.python}",
        Role="arn:aws:iam::000000000000:role/plain",
        Handler="index.handler",
        Architectures=[target.arch],
        Code={"ZipFile": zipped(PLAIN)},
        Timeout=30,
    )
    assert answer(functions, "What is my name?") == "I remember nothing."

    layer = functions.publish_layer_version(
        LayerName="session",
        Content={"ZipFile": layers.archive(target).read_bytes()},
        CompatibleRuntimes=[f"python{aws.python}"],
        CompatibleArchitectures=[target.arch],
    )
    aws.client("dynamodb").create_table(
        TableName="agent-sessions",
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    functions.update_function_configuration(
        FunctionName="plain",
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": {"SESSION_TABLE": "agent-sessions", "AWS_ENDPOINT_URL": aws.endpoint_url}},
    )
    functions.update_function_code(FunctionName="plain", ZipFile=zipped(documented_handler()))

    answer(functions, "My name is Ada.")
    assert answer(functions, "What is my name?") == "You said: My name is Ada."


def documented_handler() -> str:
    """The handler that the documentation shows, with a model that needs no network in place of OpenAI's."""
    model = """
from agents import Model, ModelResponse, Usage
from agents.testing import assistant_message

class Recaller(Model):
    async def get_response(self, *rest, input, **options):
        said = [item["content"] for item in input if item.get("role") == "user"]
        return ModelResponse([assistant_message(f"You said: {said[0]}")], Usage(), None)

    def stream_response(self, *rest, **options):
        raise NotImplementedError

"""
    handler = (ROOT / "docs" / "attach" / "handler.py").read_text()
    named = 'name="Assistant", '
    assert named in handler
    return model + handler.replace(named, f"{named}model=Recaller(), ")


def answer(functions: Any, message: str) -> str:
    event = json.dumps({"session_id": "ada", "message": message})
    response = functions.invoke(FunctionName="plain", Payload=event)
    body = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, body
    text: str = body["answer"]
    return text


def zipped(source: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("index.py", source)
    return archive.getvalue()
