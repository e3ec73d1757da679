"""The template, valid as written, and expanded as CloudFormation gets it: what it creates, and what it allows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.emulation.sam import ROOT, expand, lint, sam

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf"
WEB_ADAPTER = "arn:aws:lambda:eu-central-1:753240598075:layer:LambdaAdapterLayerX86:27"
VARIANTS: list[dict[str, str]] = [
    {},
    {"Architecture": "arm64", "PythonVersion": "3.12", "SnapStart": "true"},
    {"ModelProvider": "openai", "OpenAIKeySecretArn": SECRET},
    {
        "ModelProvider": "compatible",
        "ModelBaseUrl": "https://models.example.com",
        "OpenAIKeyParameterName": "/openai/key",
    },
    {"JwtIssuer": "https://login.example.com/", "JwtAudience": "agent"},
    {"WebAdapterLayerArn": WEB_ADAPTER, "ServePage": "true"},
    {"KeepTable": "false", "LogRetentionDays": "90"},
]
VARIANT = pytest.mark.parametrize("parameters", VARIANTS, ids=lambda parameters: ",".join(parameters) or "defaults")


def test_sam_finds_nothing_to_object_to() -> None:
    assert "is a valid SAM Template" in sam("validate", "--lint")


def test_cloudformation_would_find_nothing_to_object_to(tmp_path: Path) -> None:
    assert lint([expand(**parameters).expanded for parameters in VARIANTS], tmp_path) == ""


@pytest.mark.parametrize(
    ("parameters", "name", "policy"), [(VARIANTS[0], "KeptSessions", "Retain"), (VARIANTS[-1], "Sessions", "Delete")]
)
def test_the_table_expires_encrypts_recovers_and_stays_as_asked(
    parameters: dict[str, str], name: str, policy: str
) -> None:
    table = expand(**parameters).resources[name]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == (policy, policy)
    assert table["Properties"] == {
        "KeySchema": [{"AttributeName": "session_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "session_id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
        "SSESpecification": {"SSEEnabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


def statements(**parameters: str) -> dict[str, dict[str, Any]]:
    """What the function's own policy allows, by the statements' names."""
    role = expand(**parameters).only("AWS::IAM::Role")["Properties"]
    (policy,) = role["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def test_the_function_may_do_to_its_table_what_the_library_does_and_no_more() -> None:
    source = (ROOT / "layer" / "openai_agents_session" / "table.py").read_text()
    used = {name.title().replace("_", "") for name in re.findall(r'"((?:[a-z]+_)+items?)"', source)}
    assert {"GetItem", "PutItem"} <= used
    assert statements().keys() == {"Sessions", "Answers", "Messages"}
    allowed = statements()["Sessions"]
    assert set(allowed["Action"]) == {f"dynamodb:{name}" for name in used}


@pytest.mark.parametrize(("parameters", "table"), [(VARIANTS[0], "KeptSessions"), (VARIANTS[-1], "Sessions")])
def test_the_function_may_touch_its_own_table_alone(parameters: dict[str, str], table: str) -> None:
    assert statements(**parameters)["Sessions"]["Resource"] == {"Fn::GetAtt": [table, "Arn"]}
    variables = expand(**parameters).only("AWS::Lambda::Function")["Properties"]["Environment"]["Variables"]
    assert variables["SESSION_TABLE"] == {"Ref": table}


def test_answers_expire_and_the_function_may_do_with_them_what_powertools_does_and_no_more() -> None:
    resources = expand().resources
    table = resources["Answers"]["Properties"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    allowed = statements()["Answers"]
    assert allowed["Resource"] == {"Fn::GetAtt": ["Answers", "Arn"]}
    assert set(allowed["Action"]) == {f"dynamodb:{verb}Item" for verb in ("Get", "Put", "Update", "Delete")}
    variables = resources["AgentFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["IDEMPOTENCY_TABLE"] == {"Ref": "Answers"}


def test_messages_come_in_order_fail_one_by_one_and_do_not_come_for_ever() -> None:
    resources = expand().resources
    queue, dead = resources["Messages"]["Properties"], resources["DeadMessages"]["Properties"]
    assert queue["FifoQueue"] == dead["FifoQueue"] is True
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadMessages", "Arn"]}
    source = resources["MessageSource"]["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["FunctionName"] == {"Ref": "AgentFunctionAliaslive"}
    assert source["EventSourceArn"] == statements()["Messages"]["Resource"] == {"Fn::GetAtt": ["Messages", "Arn"]}


def emitted_metrics() -> set[str]:
    """What the function's code counts and measures."""
    sources = [file.read_text() for file in (ROOT / "functions" / "agent").glob("*.py")]
    names = {name for text in sources for name in re.findall(r'(?:count|measure|_sums\[)\(?"([A-Z]\w+)"', text)}
    names |= {name for text in sources for name in re.findall(r'^    "\w+": "([A-Z]\w+)",$', text, re.MULTILINE)}
    names |= {
        name for text in sources for pair in re.findall(r'count\("(\w+)" if .* else "(\w+)"\)', text) for name in pair
    }
    return names | {f"Answers{status}" for status in (400, 401, 409, 422, 502, 503, 504)}


def test_the_dashboard_shows_what_the_function_emits() -> None:
    body = expand().only("AWS::CloudWatch::Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    shown = {metric[1] for widget in widgets for metric in widget["properties"]["metrics"] if "StackName" in metric[0]}
    assert shown >= {"Turns", "TurnLatency", "InputTokens", "StoreRequests", "ConsumedWriteUnits", "StoreConflicts"}
    assert shown <= emitted_metrics()


def test_alarms_watch_the_function_its_store_and_its_queue() -> None:
    expansion = expand(AlarmTopicArn="arn:aws:sns:eu-central-1:123456789012:ops")
    alarms = [alarm["Properties"] for alarm in expansion.of_type("AWS::CloudWatch::Alarm")]
    watched = {
        (alarm["Namespace"], alarm["MetricName"])
        for alarm in alarms
        if "MetricName" in alarm and isinstance(alarm["Namespace"], str)
    }
    assert {("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles")} <= watched
    assert ("AWS/SQS", "ApproximateNumberOfMessagesVisible") in watched
    ours = {alarm["MetricName"] for alarm in alarms} & emitted_metrics()
    assert {"StoreConflicts", "Answers504"} <= ours
    assert all(alarm["AlarmActions"] == ["arn:aws:sns:eu-central-1:123456789012:ops"] for alarm in alarms)
    silent = expand().of_type("AWS::CloudWatch::Alarm")
    assert not any(alarm["Properties"].get("AlarmActions") for alarm in silent)


def test_the_function_may_read_the_key_that_it_is_told_of() -> None:
    secret = statements(**VARIANTS[2])["ModelKeySecret"]
    assert (secret["Action"], secret["Resource"]) == ("secretsmanager:GetSecretValue", SECRET)
    parameter = statements(**VARIANTS[3])["ModelKeyParameter"]
    assert parameter["Action"] == "ssm:GetParameter"
    assert parameter["Resource"]["Fn::Sub"].endswith(":parameter/openai/key")


@VARIANT
def test_no_policy_of_ours_holds_a_wildcard(parameters: dict[str, str]) -> None:
    for statement in statements(**parameters).values():
        assert "*" not in json.dumps([statement["Action"], statement["Resource"]])


def test_logs_are_kept_as_long_as_asked_and_no_longer() -> None:
    expansion = expand(KeepTable="false", LogRetentionDays="90")
    assert expansion.resources["AgentLogs"]["Properties"]["RetentionInDays"] == "90"
    for function in expansion.of_type("AWS::Lambda::Function"):
        assert function["Properties"]["LoggingConfig"]["LogGroup"] == {"Ref": "AgentLogs"}


@pytest.mark.parametrize(("arch", "python"), [("x86_64", "3.13"), ("arm64", "3.12")])
def test_function_and_layers_are_for_the_same_runtime_and_processor(arch: str, python: str) -> None:
    expansion = expand(**VARIANTS[arch == "arm64"])
    function = expansion.only("AWS::Lambda::Function")["Properties"]
    layers = expansion.of_type("AWS::Lambda::LayerVersion")
    assert len(layers) == 2
    assert function["Runtime"] == f"python{python}"
    assert function["Architectures"] == [arch]
    assert [layer["Properties"]["CompatibleRuntimes"] for layer in layers] == [[f"python{python}"]] * 2
    assert [layer["Properties"]["CompatibleArchitectures"] for layer in layers] == [[arch], [arch]]


@pytest.mark.parametrize(("parameters", "apply_on"), [(VARIANTS[1], "PublishedVersions"), (VARIANTS[0], "None")])
def test_snapshots_are_taken_only_if_asked_for(parameters: dict[str, str], apply_on: str) -> None:
    expansion = expand(**parameters)
    assert expansion.only("AWS::Lambda::Function")["Properties"]["SnapStart"] == {"ApplyOn": apply_on}
    assert expansion.only("AWS::Lambda::Alias")["Properties"]["Name"] == "live"


def test_everything_that_answers_over_http_is_the_published_version() -> None:
    alias = {"Ref": "AgentFunctionAliaslive"}
    expansion = expand()
    assert expansion.only("AWS::ApiGatewayV2::Integration")["Properties"]["IntegrationUri"] == alias
    assert expansion.only("AWS::Lambda::Url")["Properties"]["TargetFunctionArn"] == alias


def test_nobody_gets_an_answer_without_credentials() -> None:
    iam, jwt = expand(), expand(**VARIANTS[4])
    for expansion, kind in ((iam, "AWS_IAM"), (jwt, "JWT")):
        routes = expansion.of_type("AWS::ApiGatewayV2::Route")
        assert {route["Properties"]["AuthorizationType"] for route in routes} == {kind}
        assert expansion.only("AWS::Lambda::Url")["Properties"]["AuthType"] == "AWS_IAM"
        for permission in expansion.of_type("AWS::Lambda::Permission"):
            assert permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
    assert {route["Properties"]["AuthorizerId"]["Ref"] for route in jwt.of_type("AWS::ApiGatewayV2::Route")} == {
        "ApiJwtAuthorizer"
    }
    assert iam.of_type("AWS::ApiGatewayV2::Authorizer") == []


def test_the_streaming_function_exists_only_with_an_adapter() -> None:
    assert "StreamingFunction" not in expand().resources
    resources = expand(**VARIANTS[5]).resources
    agent, streaming = (resources[name]["Properties"] for name in ("AgentFunction", "StreamingFunction"))
    assert streaming["Layers"] == [*agent["Layers"], WEB_ADAPTER]
    assert streaming["Handler"] == "run.sh"
    assert (ROOT / "functions" / "agent" / "run.sh").stat().st_mode & 0o111 == 0o111
    url = resources["StreamingFunctionUrl"]["Properties"]
    assert (url["InvokeMode"], url["AuthType"]) == ("RESPONSE_STREAM", "AWS_IAM")
    assert url["TargetFunctionArn"] == {"Ref": "StreamingFunctionAliaslive"}
    told, more = (function["Environment"]["Variables"] for function in (agent, streaming))
    assert told.items() <= more.items()
    assert more["AWS_LWA_INVOKE_MODE"] == "response_stream"
    assert more["AWS_LWA_PORT"] == more["PORT"]
    assert streaming["Role"] == agent["Role"]  # whose statements the other tests look at


def test_the_streaming_function_is_told_all_that_it_reads() -> None:
    source = (ROOT / "functions" / "agent" / "streaming.py").read_text()
    read = set(re.findall(r'environ\.get\("(\w+)"\)', source))
    assert read == {"SERVE_PAGE", "HEARTBEAT_SECONDS", "PORT"}
    streaming = expand(**VARIANTS[5]).resources["StreamingFunction"]["Properties"]
    assert read <= streaming["Environment"]["Variables"].keys()


def test_the_api_has_the_routes_of_the_sample_events() -> None:
    events = [json.loads(file.read_text()) for file in (ROOT / "events").glob("http_*.json")]
    sampled = {event["routeKey"] for event in events}
    assert sampled
    assert {route["Properties"]["RouteKey"] for route in expand().of_type("AWS::ApiGatewayV2::Route")} == sampled


def test_the_function_is_told_all_that_it_reads() -> None:
    sources = [
        ROOT / "functions" / "agent" / "settings.py",
        ROOT / "layer" / "openai_agents_session" / "environment.py",
    ]
    read = {
        name
        for file in sources
        for name in re.findall(r'"((?:SESSION|MODEL|OPENAI|OWNER|LEASE|IDEMPOTENCY|LOG)_[A-Z_]+)"', file.read_text())
    }
    read |= {"AWS_ENDPOINT_URL_DYNAMODB", "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "LOG_LEVEL"}
    told = expand().only("AWS::Lambda::Function")["Properties"]["Environment"]["Variables"].keys()
    assert read <= told


def test_what_a_user_needs_afterwards_is_an_output() -> None:
    outputs = expand().decided["Outputs"].keys()
    assert {"SessionLayerArn", "FunctionName", "FunctionUrl", "ApiUrl", "TableName"} <= outputs
