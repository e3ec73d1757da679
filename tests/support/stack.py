"""A stack of the template on a local AWS: created, updated, deleted, and used through its alias."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3.dynamodb.types

from tools.emulation import rie
from tools.emulation.ministack import LocalAws
from tools.emulation.sam import ROOT, build, sam

RELEASE_1_0_0 = ROOT / "tests" / "e2e" / "releases" / "1.0.0.yaml"
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
_WAIT = {"Delay": 1, "MaxAttempts": 60}


@dataclass(frozen=True)
class Artifacts:
    """What was built and uploaded, for stacks of today's template and of release 1.0.0's.

    Attributes:
        template: Today's template, its code and layers on the local S3.
        locations: Where each resource's code is, by logical id.
        parameters: Those that the build was made with.
    """

    template: str
    locations: Mapping[str, str]
    parameters: dict[str, str]

    @classmethod
    def make(cls, aws: LocalAws, folder: Path) -> Artifacts:
        """Build once, upload once."""
        parameters = {"Architecture": rie.architecture(), "PythonVersion": aws.python}
        built, packaged = build(folder, **parameters), folder / "packaged.json"
        output = ("--use-json", "--output-template-file", str(packaged))
        template = ("--template-file", str(built / "template.yaml"))
        sam("package", *template, "--resolve-s3", *output, endpoint_url=aws.endpoint_url)
        text = packaged.read_text()
        properties = {name: resource.get("Properties", {}) for name, resource in json.loads(text)["Resources"].items()}
        locations = {
            name: of.get("CodeUri") or of.get("ContentUri")
            for name, of in properties.items()
            if {"CodeUri", "ContentUri"} & of.keys()
        }
        return cls(json.dumps(json.loads(text)), locations, parameters)

    @property
    def release_1_0_0(self) -> str:
        """Release 1.0.0's template, with today's code."""
        text = RELEASE_1_0_0.read_text().replace(
            "CodeUri: functions/agent", f"CodeUri: {self.locations['AgentFunction']}"
        )
        for layer in ("SessionLayer", "LeanSessionLayer"):
            text = text.replace("ContentUri: layer", f"ContentUri: {self.locations[layer]}", 1)
        return text


@dataclass
class Stack:
    """One stack.

    Attributes:
        aws: Where it is.
        artifacts: What it is made of.
        name: Its name.
        given: The parameters that its last deployment gave.
    """

    aws: LocalAws
    artifacts: Artifacts
    name: str = "agent-sessions"
    given: dict[str, str] = field(default_factory=dict)

    def create(self, template: str | None = None, **parameters: str) -> Stack:
        """Create the stack."""
        self._client.create_stack(**self._request(template, parameters))
        self._client.get_waiter("stack_create_complete").wait(StackName=self.name, WaiterConfig=_WAIT)
        self.given = parameters
        return self

    def update(self, template: str | None = None, **parameters: str) -> None:
        """Deploy again. Parameters that are not given have their defaults, not what they were."""
        self._client.update_stack(**self._request(template, parameters))
        self._client.get_waiter("stack_update_complete").wait(StackName=self.name, WaiterConfig=_WAIT)
        self.given = parameters

    def delete(self) -> None:
        """Delete the stack, with what it does not keep."""
        self._client.delete_stack(StackName=self.name)
        self._client.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig=_WAIT)

    def _request(self, template: str | None, parameters: Mapping[str, str]) -> dict[str, Any]:
        values = [
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in (self.artifacts.parameters | dict(parameters)).items()
        ]
        url = self._uploaded(self.artifacts.template if template is None else template)
        return {"StackName": self.name, "TemplateURL": url, "Parameters": values, "Capabilities": _CAPABILITIES}

    def _uploaded(self, template: str) -> str:
        """The template's address: a request itself takes 51,200 bytes of template."""
        client, key = self.aws.client("s3"), hashlib.sha256(template.encode()).hexdigest()
        client.create_bucket(Bucket="templates")
        client.put_object(Bucket="templates", Key=key, Body=template.encode())
        return f"{self.aws.endpoint_url}/templates/{key}"

    @property
    def _client(self) -> Any:
        return self.aws.client("cloudformation")

    @property
    def outputs(self) -> dict[str, str]:
        """Its outputs."""
        (stack,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def resources(self) -> dict[str, str]:
        """The physical ids of its resources, by logical id."""
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
        found = (resource for page in pages for resource in page["StackResourceSummaries"])
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    @property
    def version(self) -> str:
        """The version that the alias points to."""
        alias = self.aws.client("lambda").get_alias(FunctionName=self.resources["AgentFunction"], Name="live")
        return str(alias["FunctionVersion"])

    @property
    def configuration(self) -> dict[str, Any]:
        """The function's configuration as the alias has it."""
        client, name = self.aws.client("lambda"), self.resources["AgentFunction"]
        configuration: dict[str, Any] = client.get_function_configuration(FunctionName=name, Qualifier="live")
        return configuration

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke the function through its alias; what it raised is the answer too."""
        client = self.aws.client("lambda")
        name, payload = self.resources["AgentFunction"], json.dumps(event)
        response = client.invoke(FunctionName=name, Qualifier="live", Payload=payload)
        answer: dict[str, Any] = json.loads(response["Payload"].read())
        return answer

    def say(self, message: str, session_id: str = "ada", **more: Any) -> str:
        """A turn, through the alias."""
        answer = self.invoke({"session_id": session_id, "message": message, **more})
        assert "answer" in answer, answer
        return str(answer["answer"])

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """A request to the HTTP API: its status and its body."""
        content = json.dumps(body).encode() if body else b""
        answer = self.aws.call_api(self.outputs["ApiUrl"], method, path, content)
        return answer.status, json.loads(answer.body)


def tables(aws: LocalAws) -> set[str]:
    """The names of the tables that exist."""
    return set(aws.client("dynamodb").list_tables()["TableNames"])


def items(aws: LocalAws, table: str) -> list[dict[str, Any]]:
    """What a table holds."""
    read = boto3.dynamodb.types.TypeDeserializer().deserialize
    found = aws.client("dynamodb").scan(TableName=table)["Items"]
    return [{name: read(value) for name, value in item.items()} for item in found]


def make_table(aws: LocalAws, name: str) -> str:
    """A table as somebody else made it."""
    aws.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def publish_layer(aws: LocalAws, name: str) -> str:
    """A layer that stands in for one that is not run here."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("python/empty.py", "")
    published = aws.client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": archive.getvalue()})
    return str(published["LayerVersionArn"])
