"""A local AWS: CloudFormation, Lambda and API Gateway that really run what is deployed, from ministack."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tools.emulation.sam import ROOT

ENVIRONMENT = ROOT / ".work" / "envs" / "ministack"
REGION = "us-east-1"
_START_SECONDS = 30


@dataclass(frozen=True)
class LocalAws:
    """A running local AWS.

    Attributes:
        port: Where it listens, on loopback.
        python: The Python version that its functions run on, such as "3.13".
    """

    port: int
    python: str

    @property
    def endpoint_url(self) -> str:
        """Where its services are."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """A boto3 client of one of its services."""
        credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint_url, **credentials)

    def call_api(self, api_url: str, method: str, path: str, body: bytes = b"", *, signed: bool = True) -> HttpAnswer:
        """Send a request to a deployed HTTP API.

        Args:
            api_url: The API's address; its host name says which API it is.
            method: The HTTP method.
            path: The path, with its leading slash.
            body: The request's body.
            signed: Whether to sign it with IAM credentials.
        """
        host = api_url.removeprefix("http://")
        headers: Mapping[str, str] = {"host": host, "content-type": "application/json"}
        if signed:
            request = AWSRequest(method=method, url=api_url + path, data=body, headers=dict(headers))
            SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(request)
            headers = dict(request.headers)
        sent = urllib.request.Request(self.endpoint_url + path, data=body or None, headers=dict(headers), method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(sent, timeout=60) as answer:  # noqa: S310
                return HttpAnswer(answer.status, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return HttpAnswer(refusal.code, refusal.read())


@dataclass(frozen=True)
class HttpAnswer:
    """What an HTTP API answered.

    Attributes:
        status: The HTTP status.
        body: The body.
    """

    status: int
    body: bytes


@contextmanager
def running(folder: Path) -> Iterator[LocalAws]:
    """Start a local AWS, empty.

    Args:
        folder: Where its log goes.

    Raises:
        RuntimeError: It does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "LAMBDA_EXECUTOR": "local"}
    with (folder / "ministack.log").open("w") as log:
        process = subprocess.Popen(
            [ENVIRONMENT / "bin" / "ministack"],
            env={**os.environ, **settings},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(port, process)
            yield LocalAws(port, python_version())
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("ministack did not start")


def python_version(environment: Path = ENVIRONMENT) -> str:
    """The Python version of an environment, such as "3.13"."""
    settings = (environment / "pyvenv.cfg").read_text()
    version = next(line.partition("=")[2] for line in settings.splitlines() if line.startswith("version_info"))
    return ".".join(version.strip().split(".")[:2])
