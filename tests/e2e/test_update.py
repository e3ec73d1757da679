"""A stack that is changed: every parameter reaches the callers, and no conversation is lost on the way."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.stack import Artifacts, Stack, items, make_table, publish_layer, tables
from tools.emulation import ministack
from tools.emulation.ministack import LocalAws

KEY = "arn:aws:kms:us-east-1:000000000000:key/4e4b1f0a-0000-4000-8000-000000000001"
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:openai-AbCdEf"
DISPOSABLE = {"KeepTable": "false", "TableDeletionProtection": "false"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS."""
    with ministack.running(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture(scope="module")
def artifacts(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """What all stacks are made of."""
    return Artifacts.make(aws, tmp_path_factory.mktemp("build"))


@pytest.fixture
def stack(aws: LocalAws, artifacts: Artifacts, request: pytest.FixtureRequest) -> Stack:
    """A stack of a test's own, not created yet."""
    return Stack(aws, artifacts, re.sub(r"\W+", "-", request.node.name.replace("_", "-"))[:60].strip("-"))


@pytest.fixture(scope="module")
def changing(aws: LocalAws, artifacts: Artifacts) -> Stack:
    """A stack that tests change, each from what the one before left."""
    make_table(aws, "elsewhere")
    return Stack(aws, artifacts, "changing").create()


def variable(name: str) -> Callable[[dict[str, Any]], Any]:
    """Where a configuration has an environment variable."""
    return lambda configuration: configuration["Environment"]["Variables"][name]


# Per parameter: a value other than its default, what else that value needs, and where the function's own configuration
# shows it. Those that concern other resources alone are shown by STACK_PARAMETERS, as all are.
WEB_ADAPTER = {"WebAdapterLayerArn": "{layer}"}
TOKENS = {"JwtIssuer": "https://old.example.com/", "JwtAudience": "agent"}
KEY_IN_SECRET = {"OpenAIKeySecretArn": SECRET}
CHANGES: dict[str, tuple[str, dict[str, str], Callable[[dict[str, Any]], Any] | None]] = {
    "ModelProvider": ("compatible", {"ModelBaseUrl": "https://models.example.com"}, variable("MODEL_PROVIDER")),
    "ModelName": ("gpt-5", {}, variable("MODEL_NAME")),
    "ModelBaseUrl": ("https://models.example.com/v1", {}, variable("MODEL_BASE_URL")),
    "OpenAIKeySecretArn": (SECRET, {}, variable("OPENAI_API_KEY_SECRET")),
    "OpenAIKeyParameterName": ("/openai/key", {}, variable("OPENAI_API_KEY_PARAMETER")),
    "TtlSeconds": ("3600", {}, variable("SESSION_TTL_SECONDS")),
    "HistoryLimit": ("50", {}, variable("HISTORY_LIMIT")),
    "TableName": ("elsewhere", {}, variable("SESSION_TABLE")),
    "KeepTable": ("false", {"TableDeletionProtection": "false"}, None),
    "TableDeletionProtection": ("false", {}, None),
    "TableRecovery": ("false", {}, None),
    "DynamoDBEndpointUrl": ("http://127.0.0.1:9", {}, variable("AWS_ENDPOINT_URL_DYNAMODB")),
    "JwtIssuer": ("https://login.example.com/", TOKENS, None),
    "JwtAudience": ("agent,other", TOKENS, None),
    "OwnerRequired": ("true", {}, variable("OWNER_REQUIRED")),
    "OwnerClaims": ("sub,client_id", {}, variable("OWNER_CLAIMS")),
    "Supervisors": ("cognito:groups=approvers", {}, variable("SUPERVISORS")),
    "ReplyArn": ("arn:aws:sns:us-east-1:000000000000:replies", {}, variable("REPLY_ARN")),
    "ApiRateLimit": ("7", {}, None),
    "ApiBurstLimit": ("9", {}, None),
    "WebAdapterLayerArn": ("{layer}", {}, None),
    "ServePage": ("true", WEB_ADAPTER, None),
    "AllowedOrigins": ("https://www.example.com", {}, None),
    "TableKmsKeyArn": (KEY, {}, None),
    "KmsKeyArn": (KEY, {}, None),
    "OpenAIKeyKmsKeyArn": (KEY, KEY_IN_SECRET, None),
    "Architecture": ("arm64", {}, lambda configuration: configuration["Architectures"][0]),
    "PythonVersion": ("3.11", {}, lambda configuration: configuration["Runtime"].removeprefix("python")),
    "MemorySize": ("512", {}, lambda configuration: str(configuration["MemorySize"])),
    "TimeoutSeconds": ("30", {}, lambda configuration: str(configuration["Timeout"])),
    "DurableTimeoutSeconds": ("3600", {}, None),
    "DurableRetentionDays": ("30", {}, None),
    "SnapStart": ("true", {}, lambda configuration: str(configuration["SnapStart"]["ApplyOn"] != "None").lower()),
    "LogLevel": ("DEBUG", {}, variable("LOG_LEVEL")),
    "LogContent": ("true", {}, variable("LOG_CONTENT")),
    "LogRetentionDays": ("90", {}, None),
    "AlarmTopicArn": ("arn:aws:sns:us-east-1:000000000000:ops", {}, None),
}


def test_every_parameter_of_the_template_is_changed_here(artifacts: Artifacts) -> None:
    assert CHANGES.keys() == json.loads(artifacts.template)["Parameters"].keys()


@pytest.fixture(scope="module")
def layer(aws: LocalAws) -> str:
    """Stands in for the Lambda Web Adapter's layer."""
    return publish_layer(aws, "adapter")


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_parameter_publishes_a_version_and_moves_the_alias(changing: Stack, layer: str, name: str) -> None:
    value, needs, shown = CHANGES[name]
    value, needs = value.format(layer=layer), {other: text.format(layer=layer) for other, text in needs.items()}
    if changing.given != needs:
        changing.update(**needs)
    before = changing.version
    changing.update(**(needs | {name: value}))
    assert int(changing.version) > int(before)
    parameters = json.loads(variable("STACK_PARAMETERS")(changing.configuration))
    assert parameters[name] == (value.split(",") if name in ("JwtAudience", "AllowedOrigins") else value)
    if shown:
        assert str(shown(changing.configuration)) == value


def test_what_callers_get_through_the_alias_is_what_was_deployed_last(changing: Stack) -> None:
    changing.update(ModelProvider="offline")
    path, message = "/sessions/ada", {"message": "Hello, my name is Ada."}
    assert changing.call("POST", path, message)[0] == 200
    assert changing.say("Hello")

    changing.update(OwnerRequired="true")
    assert changing.invoke({"session_id": "ada", "message": "Hello"})["status"] == 401
    assert changing.say("Hello", owner="ada")

    changing.update(ModelProvider="parrot")  # nobody's list of providers is in the template: the function refuses
    refused = changing.invoke({"session_id": "ada", "message": "Hello"})
    assert "MODEL_PROVIDER" in refused["errorMessage"]
    assert "'parrot'" in refused["errorMessage"]
    assert changing.call("POST", path, message)[0] >= 500

    changing.update(TtlSeconds="3600")
    changing.say("Hello", session_id="brief")
    (item,) = (item for item in items(changing.aws, changing.outputs["TableName"]) if item["session_id"] == "brief")
    assert 3000 < item["ttl"] - item["updated_at"] <= 3600


def test_a_new_layer_reaches_the_alias_though_the_function_is_the_same(changing: Stack, artifacts: Artifacts) -> None:
    template = json.loads(artifacts.template)
    layer = template["Resources"]["SessionLayer"]["Properties"]
    bucket, _, key = layer["ContentUri"].removeprefix("s3://").partition("/")
    source = {"Bucket": bucket, "Key": key}
    changing.aws.client("s3").copy_object(Bucket=bucket, Key="another-layer", CopySource=source)
    layer["ContentUri"] = f"s3://{bucket}/another-layer"
    version, (before,) = changing.version, changing.configuration["Layers"]
    changing.update(json.dumps(template), **changing.given)
    (after,) = changing.configuration["Layers"]
    assert after["Arn"] != before["Arn"]
    assert int(changing.version) > int(version)


def test_a_change_of_retention_keeps_the_table_and_decides_about_its_end(stack: Stack) -> None:
    stack.create()
    table = stack.outputs["TableName"]
    stack.say("Hello, my name is Ada.")
    for parameters in (DISPOSABLE, {}, {"TableDeletionProtection": "false"}, {"TableRecovery": "false"}, DISPOSABLE):
        stack.update(**parameters)
        assert stack.outputs["TableName"] == table
        assert stack.outputs["TablePolicy"] == ("Delete" if parameters is DISPOSABLE else "Retain")
        assert stack.say("What is my name?").startswith("Your name is Ada.")
    stack.delete()
    assert table not in tables(stack.aws)


def make_durable(stack: Stack) -> None:
    """Give the durable function its configuration.

    The local AWS's CloudFormation leaves `DurableConfig` out, which is checked here: with one that does not, this goes.
    """
    name = stack.resources["DurableFunction"]
    url = f"{stack.aws.endpoint_url}/2015-03-31/functions/{name}"
    with urllib.request.urlopen(f"{url}/configuration") as answer:  # noqa: S310 - our own http URL
        assert "DurableConfig" not in json.load(answer)
    body = json.dumps({"DurableConfig": {"Enabled": True, "ExecutionTimeout": 3600}}).encode()
    request = urllib.request.Request(f"{url}/configuration", body, {"content-type": "application/json"}, method="PUT")  # noqa: S310
    urllib.request.urlopen(request).close()  # noqa: S310


def followed(stack: Stack, path: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The history, once it is as it should be."""
    deadline = time.monotonic() + 60
    while not until(history := stack.call("GET", path)[1]):
        assert time.monotonic() < deadline, history
        time.sleep(0.5)
    return history


def test_a_durable_run_of_a_deployed_stack(stack: Stack) -> None:
    """The API starts it, through the alias; its steps and its answer are in the history; a decision resumes it."""
    stack.create(DurableTimeoutSeconds="3600", **DISPOSABLE)
    make_durable(stack)
    assert stack.outputs["DurableFunctionArn"].endswith(":live")
    path, question = "/sessions/ada", {"message": "What is 17.5 * 2340 / 100?", "durable": True}
    assert stack.call("GET", path)[1]["durable"] is True
    assert stack.call("POST", path, question) == (202, {"status": 202, "session_id": "ada", "durable": "started"})
    history = followed(stack, path, lambda page: bool(page["turns"]))
    assert [item.get("role", item.get("type")) for item in history["items"]] == [
        *("user", "function_call", "function_call_output", "assistant")
    ]
    assert "409.5" in json.dumps(history["items"][-1])
    refund = {"message": "Please refund 25 euros for order A-17.", "durable": True}
    assert stack.call("POST", path, refund)[0] == 202
    followed(stack, path, lambda page: page["state"] == "waiting")
    pending = stack.call("GET", f"{path}/approvals")[1]["pending"]
    approval = {"decision": "approve", "run_id": pending["run_id"]}
    assert stack.call("POST", f"{path}/approvals", approval)[1]["durable"] == "running"
    history = followed(stack, path, lambda page: page["state"] == "idle" and len(page["turns"]) == 2)
    assert "Refunded 25.00 euros" in json.dumps(history["items"])
    assert stack.say("What is 1 + 1?", session_id="bob")


def test_a_kept_table_outlives_its_stack(stack: Stack) -> None:
    stack.create()
    table = stack.outputs["TableName"]
    stack.say("Hello, my name is Ada.")
    stack.delete()
    assert [item["session_id"] for item in items(stack.aws, table)] == ["ada"]
    with pytest.raises(ClientError, match="protected"):
        stack.aws.client("dynamodb").delete_table(TableName=table)


def test_an_existing_table_is_used_and_none_is_created(stack: Stack) -> None:
    table = make_table(stack.aws, "adopted")
    before = tables(stack.aws)
    stack.create(TableName=table)
    stack.say("Hello, my name is Ada.")
    assert [item["session_id"] for item in items(stack.aws, table)] == ["ada"]
    assert "KeptSessions" not in stack.resources
    assert tables(stack.aws) == before
    assert stack.outputs["TableName"] == table
    stack.delete()
    assert table in tables(stack.aws)


def test_a_stack_that_turns_to_another_table_leaves_its_own_with_all_that_is_in_it(stack: Stack) -> None:
    stack.create()
    own = stack.outputs["TableName"]
    stack.say("Hello, my name is Ada.")
    stack.update(TableName=make_table(stack.aws, "another"))
    assert stack.say("What is my name?").startswith("You have not told me")
    stack.update(TableName=own)
    assert stack.say("What is my name?").startswith("Your name is Ada.")


def test_an_update_of_release_1_0_0_keeps_its_table_and_its_sessions(stack: Stack, artifacts: Artifacts) -> None:
    stack.create(artifacts.release_1_0_0)
    kept = ("KeptSessions", "AgentLogs", "Messages", "DeadMessages", "Api", "AgentFunction", "AgentFunctionRole")
    before = {name: stack.resources[name] for name in kept}
    stack.say("Hello, my name is Ada.")
    assert stack.call("POST", "/sessions/grace", {"message": "Hello, my name is Grace."})[0] == 200
    stack.update()
    assert {name: stack.resources[name] for name in kept} == before
    assert stack.say("What is my name?").startswith("Your name is Ada.")
    status, body = stack.call("POST", "/sessions/grace", {"message": "What is my name?"})
    assert (status, body["answer"].partition(".")[0]) == (200, "Your name is Grace")


def test_a_disposable_table_of_release_1_0_0_is_not_lost_by_an_update(stack: Stack, artifacts: Artifacts) -> None:
    """The steps of docs/template.md."""
    stack.create(artifacts.release_1_0_0, KeepTable="false")
    table = stack.outputs["TableName"]
    assert stack.resources["Sessions"] == table
    stack.say("Hello, my name is Ada.")
    with pytest.raises(ClientError, match=r"release 1\.0\.0.*docs/template\.md"):
        stack.update(KeepTable="false")  # which `sam deploy` gives again, as it was given before

    retaining = artifacts.release_1_0_0.replace("Policy: Delete", "Policy: Retain")
    stack.update(retaining, KeepTable="false", LogRetentionDays="60")
    stack.update(TableName=table)
    assert "Sessions" not in stack.resources
    assert stack.outputs["TableName"] == table
    assert stack.say("What is my name?").startswith("Your name is Ada.")
    stack.delete()
    assert table in tables(stack.aws)


def test_two_stacks_in_one_account_have_nothing_in_common(aws: LocalAws, artifacts: Artifacts) -> None:
    parameters = {"WebAdapterLayerArn": publish_layer(aws, "adapter")}
    one, other = (Stack(aws, artifacts, name).create(**parameters) for name in ("one", "other"))
    assert one.resources.keys() == other.resources.keys()
    shared = set(one.resources.values()) & set(other.resources.values())
    assert shared == {"$default"}  # the name of a stage, which counts within its API
    one.say("Hello, my name is Ada.")
    assert other.say("What is my name?").startswith("You have not told me")
    one.delete()
    assert other.say("Hello")


REFUSED = {
    "OpenAINeedsAKey": ({"ModelProvider": "openai"}, "give OpenAIKeySecretArn or OpenAIKeyParameterName"),
    "CompatibleNeedsAUrl": ({"ModelProvider": "compatible"}, "give ModelBaseUrl"),
    "OneKey": ({"OpenAIKeySecretArn": SECRET, "OpenAIKeyParameterName": "/key"}, "empty the other"),
    "KmsKeyOfNoKey": ({"OpenAIKeyKmsKeyArn": KEY}, "or empty it"),
    "IssuerNeedsAudience": ({"JwtIssuer": "https://login.example.com/"}, "needs JwtAudience"),
    "AudienceNeedsIssuer": ({"JwtAudience": "agent"}, "give JwtIssuer"),
    "PageNeedsAnAdapter": ({"ServePage": "true"}, "give WebAdapterLayerArn"),
    "DurableNeedsPython313": ({"DurableTimeoutSeconds": "60", "PythonVersion": "3.12"}, "set PythonVersion"),
    "SnapStartNeedsPython312": ({"SnapStart": "true", "PythonVersion": "3.11"}, "set PythonVersion"),
    "ATableThatGoesIsNotProtected": ({"KeepTable": "false"}, "set both to false"),
    "AnAdoptedTableIsKept": ({"TableName": "elsewhere"} | DISPOSABLE, "set KeepTable=true"),
}


def test_every_rule_of_the_template_is_broken_here(artifacts: Artifacts) -> None:
    assert REFUSED.keys() == json.loads(artifacts.template)["Rules"].keys()


@pytest.mark.parametrize("rule", REFUSED)
def test_what_cannot_work_is_refused_with_what_to_do_and_changes_nothing(changing: Stack, rule: str) -> None:
    parameters, advice = REFUSED[rule]
    version = changing.version
    with pytest.raises(ClientError, match=f"rule {rule} failed.*{advice}"):
        changing.update(**parameters)
    assert changing.version == version


@pytest.mark.parametrize(
    "parameters",
    [
        {"ModelProvider": ""},
        {"ModelBaseUrl": "models.example.com"},
        {"OpenAIKeySecretArn": "sk-secret"},
        {"OpenAIKeyParameterName": "openai/key"},
        {"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/mine"},
        {"DynamoDBEndpointUrl": "localhost"},
        {"JwtIssuer": "http://login.example.com/"},
        {"ApiRateLimit": "0"},
        {"TableKmsKeyArn": "alias/mine"},
        {"KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:alias/mine"},
        {"AlarmTopicArn": "ops"},
    ],
    ids=lambda parameters: ",".join(parameters),
)
def test_a_value_of_the_wrong_form_is_refused_by_its_parameters_name(
    changing: Stack, parameters: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match=next(iter(parameters))):
        changing.update(**parameters)
