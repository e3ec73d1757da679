"""The template, valid as written, and expanded as CloudFormation gets it: what it creates, and what it allows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from openai_agents_session.storage.table import INDEX, INDEX_DEFINITIONS, OWNER_INDEX
from tools.emulation.sam import ROOT, expand, expand_each, lint, sam

SERVICE = ROOT / "layer" / "openai_agents_session" / "service"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf"
WEB_ADAPTER = "arn:aws:lambda:eu-central-1:753240598075:layer:LambdaAdapterLayerX86:27"
TABLE_KEY, STACK_KEY, MODEL_KEY = (f"arn:aws:kms:eu-central-1:123456789012:key/{name}" for name in "tsm")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:ops"
REPLY_QUEUE = "arn:aws:sqs:eu-central-1:123456789012:replies.fifo"
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
    {"KeepTable": "false", "TableDeletionProtection": "false", "TableRecovery": "false", "LogRetentionDays": "90"},
    {"TableName": "chats", "TableKmsKeyArn": TABLE_KEY, "WebAdapterLayerArn": WEB_ADAPTER},
    {
        "TableKmsKeyArn": TABLE_KEY,
        "KmsKeyArn": STACK_KEY,
        "OpenAIKeyKmsKeyArn": MODEL_KEY,
        "OpenAIKeySecretArn": SECRET,
        "AlarmTopicArn": TOPIC,
    },
    {"ModelProvider": "bedrock", "ModelName": "openai.gpt-oss-120b-1:0", "ReplyArn": REPLY_QUEUE},
    {"ModelProvider": "bedrock-mantle", "ModelName": "openai.gpt-oss-120b", "ReplyArn": TOPIC},
    {
        "JwtIssuer": "https://login.example.com/",
        "JwtAudience": "agent,page",
        "WebAdapterLayerArn": WEB_ADAPTER,
        "ServePage": "true",
        "AllowedOrigins": "https://www.example.com,https://example.com",
        "Supervisors": "cognito:groups=approvers",
        "OwnerClaims": "sub,client_id",
    },
    {"DurableTimeoutSeconds": "604800", "DurableRetentionDays": "30"},
]
DISPOSABLE, ADOPTED, ENCRYPTED = VARIANTS[6:9]


class Loader(yaml.SafeLoader):
    """Reads a template, whose short forms of functions do not matter here."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
VARIANT = pytest.mark.parametrize("parameters", VARIANTS, ids=lambda parameters: ",".join(parameters) or "defaults")


def test_sam_finds_nothing_to_object_to() -> None:
    assert "is a valid SAM Template" in sam("validate", "--lint")


@pytest.mark.timeout(400)
def test_cloudformation_would_find_nothing_to_object_to(tmp_path: Path) -> None:
    assert lint([expansion.expanded for expansion in expand_each(VARIANTS)], tmp_path) == ""


def another(spec: dict[str, Any]) -> str:
    """A value other than a parameter's default."""
    return next(str(value) for value in spec.get("AllowedValues", ["7777"]) if value != spec["Default"])


def test_each_parameter_names_another_version_and_changes_the_function() -> None:
    """SAM names a version by a hash of properties, and Lambda publishes none of a function that has not changed."""
    changes: list[dict[str, str]] = [{}, *({name: another(spec)} for name, spec in PARAMETERS.items())]
    expansions = [expansion.resources for expansion in expand_each(changes)]
    versions = [next(name for name in resources if name.startswith("AgentFunctionVersion")) for resources in expansions]
    functions = [json.dumps(resources["AgentFunction"]["Properties"]) for resources in expansions]
    assert len(set(versions)) == len(set(functions)) == len(changes)
    for version, resources in zip(versions, expansions, strict=True):
        alias = resources["AgentFunctionAliaslive"]["Properties"]
        assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}


@pytest.mark.parametrize("function", ["AgentFunction", "StreamingFunction"])
def test_the_parameters_are_in_each_functions_environment_and_fit(function: str) -> None:
    values = {name: str(spec["Default"]) for name, spec in PARAMETERS.items()} | ENCRYPTED | VARIANTS[4] | VARIANTS[5]
    variables = expand(**values).resources[function]["Properties"]["Environment"]["Variables"]
    assert json.loads(variables["STACK_PARAMETERS"]) == values
    assert len(json.dumps(variables)) < 3072  # Lambda takes 4 KB, names and values together


@pytest.mark.parametrize("layer", ["SessionLayer"])
def test_a_new_layer_is_a_new_version(layer: str) -> None:
    text = (ROOT / "template.yaml").read_text()
    resource = text.partition(f"  {layer}:\n")[2].partition("\n\n")[0]
    assert "PublishLambdaVersion: true" in resource  # test_update.py shows what it does


@pytest.mark.parametrize(
    ("parameters", "policy", "flag", "encryption"),
    [
        (VARIANTS[0], "Retain", True, {"SSEEnabled": True}),
        (DISPOSABLE, "Delete", False, {"SSEEnabled": True}),
        (ENCRYPTED, "Retain", True, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": TABLE_KEY}),
    ],
    ids=["defaults", "disposable", "encrypted"],
)
def test_the_table_expires_encrypts_recovers_and_stays_as_asked(
    parameters: dict[str, str], policy: str, flag: bool, encryption: dict[str, Any]
) -> None:
    table = expand(**parameters).resources["KeptSessions"]
    assert table["DeletionPolicy"] == policy
    assert table["UpdateReplacePolicy"] == "Retain"  # no update deletes it, whatever it may be asked for
    assert table["Properties"] == {
        "KeySchema": [{"AttributeName": "session_id", "KeyType": "HASH"}],
        "AttributeDefinitions": INDEX_DEFINITIONS,
        "GlobalSecondaryIndexes": [INDEX],
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": flag,
        "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
        "SSESpecification": encryption,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": flag},
    }


@pytest.mark.parametrize(
    "parameters", [VARIANTS[0], DISPOSABLE, ENCRYPTED], ids=["defaults", "disposable", "encrypted"]
)
def test_every_table_expires_and_is_recovered_and_encrypted_alike(parameters: dict[str, str]) -> None:
    tables = [table["Properties"] for table in expand(**parameters).of_type("AWS::DynamoDB::Table")]
    assert all(table["TimeToLiveSpecification"]["Enabled"] for table in tables)
    for name in ("SSESpecification", "PointInTimeRecoverySpecification"):
        assert all(table[name] == tables[0][name] for table in tables)


@VARIANT
def test_there_is_one_table_of_conversations_whatever_the_parameters(parameters: dict[str, str]) -> None:
    names = {name for name in expand(**parameters).resources if name.endswith("Sessions")}
    assert names == (set() if parameters == ADOPTED else {"KeptSessions"})


def test_policies_environment_and_alarms_point_to_an_adopted_table() -> None:
    expansion = expand(**ADOPTED)
    for function in expansion.of_type("AWS::Lambda::Function"):
        assert function["Properties"]["Environment"]["Variables"]["SESSION_TABLE"] == "chats"
    assert statements(**ADOPTED)["Sessions"]["Resource"]["Fn::Sub"].endswith(":table/chats")
    index = statements(**ADOPTED)["Conversations"]["Resource"]["Fn::Sub"]
    assert index.endswith(f":table/chats/index/{OWNER_INDEX}")
    alarm = expansion.resources["TableAlarm"]["Properties"]
    assert alarm["Dimensions"] == [{"Name": "TableName", "Value": "chats"}]
    assert expansion.decided["Outputs"]["TableName"]["Value"] == "chats"
    assert "KeptSessions" not in json.dumps(expansion.decided)


def statements(function: str = "AgentFunction", **parameters: str) -> dict[str, dict[str, Any]]:
    """What a function may do, by the statements' names: the one policy of its role."""
    expansion = expand(**parameters)
    (role,) = expansion.resources[function]["Properties"]["Role"]["Fn::GetAtt"][:1]
    properties = expansion.resources[role]["Properties"]
    assert "ManagedPolicyArns" not in properties
    (policy,) = properties["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def test_the_function_may_do_to_its_table_what_the_library_does_and_no_more() -> None:
    package = ROOT / "layer" / "openai_agents_session"
    sources = [file.read_text() for file in package.rglob("*.py") if "cli" not in file.parts]
    used = {name.title().replace("_", "") for text in sources for name in re.findall(r'"((?:[a-z]+_)+items?)"', text)}
    assert {"GetItem", "PutItem"} <= used
    used.remove("TransactWriteItems")  # no action of its own: its puts need PutItem
    assert statements().keys() == {"Sessions", "Conversations", "Messages", "DeadMessages", "Logs", "Traces"}
    allowed = statements()["Sessions"]
    assert set(allowed["Action"]) == {f"dynamodb:{name}" for name in used}
    assert statements()["Conversations"]["Action"] == "dynamodb:Query"


def test_the_function_may_touch_its_own_table_alone() -> None:
    assert statements()["Sessions"]["Resource"] == {"Fn::GetAtt": ["KeptSessions", "Arn"]}
    assert statements()["Conversations"]["Resource"] == {"Fn::Sub": f"${{KeptSessions.Arn}}/index/{OWNER_INDEX}"}
    variables = expand().only("AWS::Lambda::Function")["Properties"]["Environment"]["Variables"]
    assert variables["SESSION_TABLE"] == {"Ref": "KeptSessions"}


def test_the_function_that_streams_may_do_the_same_but_for_the_queue_and_the_traces() -> None:
    agent, streaming = (statements(name, **VARIANTS[5]) for name in ("AgentFunction", "StreamingFunction"))
    assert agent.keys() - streaming.keys() == {"Messages", "DeadMessages", "Traces"}
    assert streaming.items() <= agent.items()


def test_a_key_of_ones_own_may_be_used_for_what_it_encrypts_alone() -> None:
    allowed = statements(**ENCRYPTED)
    kms = {
        name: (statement["Resource"], statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"])
        for name, statement in allowed.items()
        if "kms:" in json.dumps(statement["Action"])
    }
    assert kms == {
        "TableKey": (TABLE_KEY, "dynamodb.${AWS::Region}.${AWS::URLSuffix}"),
        "MessagesKey": (STACK_KEY, "sqs.${AWS::Region}.${AWS::URLSuffix}"),
        "ModelKeyKey": (MODEL_KEY, "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"),
    }
    assert allowed["MessagesKey"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert allowed["ModelKeyKey"]["Action"] == "kms:Decrypt"
    assert "kms:Decrypt" in allowed["TableKey"]["Action"]
    parameter = {"OpenAIKeyParameterName": "/openai/key", "OpenAIKeyKmsKeyArn": MODEL_KEY}
    condition = statements(**parameter)["ModelKeyKey"]["Condition"]["StringEquals"]
    assert condition["kms:ViaService"]["Fn::Sub"].startswith("ssm.")
    resources = expand(**ENCRYPTED).resources
    assert {resources[name]["Properties"]["KmsMasterKeyId"] for name in ("Messages", "DeadMessages")} == {STACK_KEY}
    assert {resources[name]["Properties"]["KmsKeyId"] for name in ("AgentLogs", "ApiLogs")} == {STACK_KEY}
    assert "kms" not in json.dumps(expand().resources).lower().replace("kmskeyarn", "")


def test_there_is_one_table_in_which_turns_are_remembered_too() -> None:
    resources = expand().resources
    assert [name for name in resources if resources[name]["Type"] == "AWS::DynamoDB::Table"] == ["KeptSessions"]
    assert "IDEMPOTENCY_TABLE" not in resources["AgentFunction"]["Properties"]["Environment"]["Variables"]


def test_messages_come_in_order_fail_one_by_one_and_do_not_come_for_ever() -> None:
    resources = expand().resources
    queue, dead = resources["Messages"]["Properties"], resources["DeadMessages"]["Properties"]
    assert queue["FifoQueue"] == dead["FifoQueue"] is True
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadMessages", "Arn"]}
    source = resources["MessageSource"]["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["FunctionName"] == {"Ref": "AgentFunctionAliaslive"}
    assert source["EventSourceArn"] == statements()["Messages"]["Resource"] == {"Fn::GetAtt": ["Messages", "Arn"]}


@pytest.mark.parametrize("seconds", [5, 60, 900])
def test_a_message_stays_hidden_for_longer_than_it_can_be_served(seconds: int) -> None:
    hidden = int(expand(TimeoutSeconds=str(seconds)).resources["Messages"]["Properties"]["VisibilityTimeout"])
    assert 6 * seconds <= hidden <= 43_200  # what AWS advises, and what SQS takes


def test_the_api_limits_its_callers_and_writes_an_access_log_that_says_nothing_of_them() -> None:
    resources = expand(ApiRateLimit="7", ApiBurstLimit="9", LogRetentionDays="90").resources
    stage = resources["ApiStage"]["Properties"]
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "9"}
    assert stage["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}
    line = json.loads(stage["AccessLogSettings"]["Format"])
    assert {"$context.requestId", "$context.status", "$context.routeKey"} <= set(line.values())
    assert "$context.path" not in line.values()
    assert resources["ApiLogs"]["Properties"]["RetentionInDays"] == "90"


def emitted_metrics() -> set[str]:
    """What the function's code counts and measures."""
    sources = [file.read_text() for file in SERVICE.glob("*.py")]
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


def test_alarms_watch_the_functions_their_store_their_queue_and_their_model() -> None:
    alarms = expand(**VARIANTS[5], AlarmTopicArn=TOPIC).of_type("AWS::CloudWatch::Alarm")
    watched = {
        (
            str(alarm["Properties"]["Namespace"]),
            alarm["Properties"]["MetricName"],
            json.dumps(alarm["Properties"].get("Dimensions")),
        )
        for alarm in alarms
    }
    for function in ("AgentFunction", "StreamingFunction"):
        for metric in ("Errors", "Throttles"):
            dimension = [{"Name": "FunctionName", "Value": {"Ref": function}}]
            assert ("AWS/Lambda", metric, json.dumps(dimension)) in watched
    names = {(namespace, metric) for namespace, metric, _dimensions in watched}
    assert {("AWS/SQS", "ApproximateNumberOfMessagesVisible"), ("AWS/DynamoDB", "WriteThrottleEvents")} <= names
    ours = {metric for _namespace, metric in names} & emitted_metrics()
    assert {"StoreConflicts", "Answers502", "Answers504"} <= ours
    assert all(alarm["Properties"]["AlarmActions"] == [TOPIC] for alarm in alarms)
    silent = expand().of_type("AWS::CloudWatch::Alarm")
    assert not any(alarm["Properties"].get("AlarmActions") for alarm in silent)


def test_a_key_that_the_provider_refuses_is_told_by_the_name_of_its_clients_error() -> None:
    resources = expand().resources
    pattern = resources["KeyRefusals"]["Properties"]["FilterPattern"]
    assert set(re.findall(r'code = "(\w+)"', pattern)) == {"key_rejected", "no_key"}
    (transformation,) = resources["KeyRefusals"]["Properties"]["MetricTransformations"]
    alarm = resources["KeyAlarm"]["Properties"]
    for key in ("MetricName", "Namespace"):
        assert alarm[key] == transformation[key if key == "MetricName" else "MetricNamespace"]


REFUSED_KEY = """
from types import SimpleNamespace
import openai
from openai_agents_session.service import failures, keys, service
response = SimpleNamespace(request=None, status_code=401, headers={})
wrong = openai.AuthenticationError("Incorrect API key", response=response, body=None)
for cause in (wrong, keys.KeyUnavailableError("there is none")):
    service.refuse({}, failures.failure_of(cause))
"""


def test_the_functions_log_of_a_refused_key_is_what_the_filter_counts() -> None:
    variables = {
        "PYTHONPATH": str(ROOT / "layer"),
        "POWERTOOLS_SERVICE_NAME": "agent",
        "POWERTOOLS_METRICS_NAMESPACE": "agent",
        "LOG_LEVEL": "ERROR",  # the filter counts at every level that the template lets the log have
    }
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_KEY], env=variables, capture_output=True, text=True, check=True
    )
    codes = [json.loads(line)["code"] for line in done.stdout.splitlines() if '"code"' in line]
    pattern = expand().resources["KeyRefusals"]["Properties"]["FilterPattern"]
    assert codes == ["key_rejected", "no_key"]
    for code in codes:
        assert f'($.code = "{code}")' in pattern


def test_the_function_may_read_the_key_that_it_is_told_of() -> None:
    secret = statements(**VARIANTS[2])["ModelKeySecret"]
    assert (secret["Action"], secret["Resource"]) == ("secretsmanager:GetSecretValue", SECRET)
    parameter = statements(**VARIANTS[3])["ModelKeyParameter"]
    assert parameter["Action"] == "ssm:GetParameter"
    assert parameter["Resource"]["Fn::Sub"].endswith(":parameter/openai/key")


@VARIANT
def test_no_policy_of_ours_holds_a_wildcard_but_where_aws_has_no_resources(parameters: dict[str, str]) -> None:
    for name, statement in statements(**parameters).items():
        assert "*" not in json.dumps(statement["Action"])
        assert ("*" in json.dumps(statement["Resource"])) == (name in ("Traces", "DurableDecisions"))


def test_who_answers_requests_may_start_durable_runs_and_decide_on_them_and_no_more() -> None:
    """An execution belongs to a version, which the alias does not name: decisions are on any version's."""
    durable, alias = {"DurableTimeoutSeconds": "3600"}, {"Ref": "DurableFunctionAliaslive"}
    for function in ("AgentFunction", "StreamingFunction"):
        allowed = statements(function, **VARIANTS[5], **durable)
        started, decided = allowed["DurableRuns"], allowed["DurableDecisions"]
        assert (started["Action"], started["Resource"]) == ("lambda:InvokeFunction", alias)
        assert decided["Resource"] == {"Fn::Sub": "${DurableFunction.Arn}:*"}
        assert [action.removeprefix("lambda:") for action in decided["Action"]] == [
            *("GetDurableExecution", "SendDurableExecutionCallbackSuccess", "SendDurableExecutionCallbackFailure")
        ]
        variables = expand(**VARIANTS[5], **durable).resources[function]["Properties"]["Environment"]["Variables"]
        assert variables["DURABLE_FUNCTION"] == alias
        assert not statements(function, **VARIANTS[5]).keys() & {"DurableRuns", "DurableDecisions"}
    assert not statements("DurableFunction", **durable).keys() & {"DurableRuns", "DurableDecisions"}


@pytest.mark.parametrize(
    ("name", "metric"),
    [("DurableFailureAlarm", "DurableExecutionFailed"), ("DurableTimeoutAlarm", "DurableExecutionTimedOut")],
)
def test_an_alarm_watches_durable_runs(name: str, metric: str) -> None:
    """What a run raises is its execution's failure, and none of the function's; so is an approval that never comes."""
    alarm = expand(DurableTimeoutSeconds="60").resources[name]["Properties"]
    assert (alarm["MetricName"], alarm["Namespace"]) == (metric, "AWS/Lambda")
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "DurableFunction"}}]


def test_logs_are_kept_as_long_as_asked_and_no_longer() -> None:
    expansion = expand(LogRetentionDays="90")
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
    assert {
        name: value for name, value in told.items() if name not in ("DEAD_LETTER_ARN", "REPLY_ARN")
    }.items() <= more.items()
    assert more["AWS_LWA_INVOKE_MODE"] == "response_stream"
    assert more["AWS_LWA_PORT"] == more["PORT"]


def test_a_browser_gets_in_where_there_is_an_issuer_and_nowhere_else() -> None:
    """The URL that streams is open to all only if the function itself wants a token of everybody."""
    with_tokens, with_iam = expand(**VARIANTS[11]), expand(**VARIANTS[5])
    streaming = with_tokens.resources["StreamingFunction"]["Properties"]["Environment"]["Variables"]
    assert streaming["JWT_ISSUER"] == "https://login.example.com/"
    assert with_tokens.resources["StreamingFunctionUrl"]["Properties"]["AuthType"] == "NONE"
    permissions = [with_tokens.resources[name]["Properties"] for name in PUBLIC]
    assert [each["Action"] for each in permissions] == ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]
    assert permissions[0]["FunctionUrlAuthType"] == "NONE"
    assert permissions[1]["InvokedViaFunctionUrl"] is True
    assert with_tokens.resources["AgentFunctionUrl"]["Properties"]["AuthType"] == "AWS_IAM"
    assert not PUBLIC & with_iam.resources.keys()


PUBLIC = {"StreamingUrlPermission": 1, "StreamingInvokePermission": 2}.keys()


def test_pages_of_other_origins_may_call_if_they_are_named() -> None:
    """CORS is off by default, and for the origins of AllowedOrigins alone."""
    named, nobody = expand(**VARIANTS[11]), expand(**VARIANTS[5])
    origins = "https://www.example.com,https://example.com"
    for resource, member in (("Api", "CorsConfiguration"), ("StreamingFunctionUrl", "Cors")):
        cors = named.resources[resource]["Properties"][member]
        assert cors["AllowOrigins"] == origins
        assert {"authorization", "idempotency-key"} <= set(cors["AllowHeaders"])
        assert member not in nobody.resources[resource]["Properties"]


@pytest.mark.parametrize(
    ("parameters", "sid", "actions"),
    [
        (VARIANTS[9], "Bedrock", {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}),
        (VARIANTS[10], "BedrockMantle", {"bedrock-mantle:CreateInference"}),
        (VARIANTS[9], "Replies", {"sqs:SendMessage", "sns:Publish"}),
        ({}, "DeadMessages", {"sqs:SendMessage"}),
    ],
)
def test_the_function_may_do_exactly_what_it_does(parameters: dict[str, str], sid: str, actions: set[str]) -> None:
    """The role has an action only where a parameter makes the function use it."""
    found = statements(**parameters)[sid]["Action"]
    assert ({found} if isinstance(found, str) else set(found)) == actions
    assert sid == "DeadMessages" or sid not in statements()


def test_the_streaming_function_is_told_all_that_it_reads() -> None:
    source = (SERVICE / "streaming.py").read_text()
    read = set(re.findall(r'environ\.get\("(\w+)"\)', source))
    read -= {"LOCAL_OWNER"}  # which is read outside Lambda only
    assert read == {"SERVE_PAGE", "HEARTBEAT_SECONDS", "PORT", "JWT_ISSUER", "JWT_AUDIENCE"}
    streaming = expand(**VARIANTS[5]).resources["StreamingFunction"]["Properties"]
    assert read <= streaming["Environment"]["Variables"].keys()


def test_the_api_has_the_routes_of_the_sample_events() -> None:
    events = [json.loads(file.read_text()) for file in (ROOT / "events").glob("http_*.json")]
    sampled = {event["routeKey"] for event in events}
    assert sampled
    assert {route["Properties"]["RouteKey"] for route in expand().of_type("AWS::ApiGatewayV2::Route")} == sampled


def test_the_function_is_told_all_that_it_reads() -> None:
    sources = [
        SERVICE / "settings.py",
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


def test_the_documentation_lists_every_parameter_as_the_template_has_it() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    section = page.split("## Parameters of the template")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    defaults = {name: str(spec["Default"]) for name, spec in PARAMETERS.items()}
    assert rows == [
        f"| `{name}` | {defaults[name] and f'`{defaults[name]}`'} | {spec['Description']} |"
        for name, spec in PARAMETERS.items()
    ]


def test_every_parameter_is_in_a_group_and_every_rule_says_what_to_do() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    for rule in TEMPLATE["Rules"].values():
        for assertion in rule["Assertions"]:
            assert re.search(r"\b(give|set|empty|put|needs)\b", assertion["AssertDescription"])
    for spec in PARAMETERS.values():
        assert ("AllowedPattern" in spec) <= ("ConstraintDescription" in spec)


def test_the_documentation_names_every_alarm_rule_table_and_statement() -> None:
    text = (ROOT / "docs" / "template.md").read_text()
    alarms = [name for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    optional = {name for name in alarms if name.startswith(("Streaming", "Durable"))}
    streaming = {name for name in optional if name.startswith("Streaming")}
    always = len(alarms) - len(optional)
    assert f"{always} alarms ({always + len(streaming)} with streaming)" in text
    names = [*alarms, *statements(**ENCRYPTED), *statements(**VARIANTS[3])]
    assert [name for name in names if f"`{name}`" not in text] == []
