"""docs/calling.md: each of its programs does what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import pytest

from openai_agents_session.service.request import Request, parse
from openai_agents_session.service.shapes import Shape
from tests.support.agent import Stage
from tools.emulation import engines
from tools.emulation.issuer import Issuer
from tools.emulation.rie import ROOT
from tools.emulation.server import LocalServer, read_body, write
from tools.emulation.signed_model import refusal
from tools.page import serving

PAGE = (ROOT / "docs" / "calling.md").read_text()
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIA1",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def block(heading: str, language: str) -> str:
    """The program below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


def run(command: list[str], **environ: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | environ
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class SignedService(LocalServer):
    """Answers requests that are signed for Lambda, and tells the others why not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any, str | None]] = []

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = read_body(request)
        reason, _ = refusal(request, body, ("us-east-1", "lambda"), {"ASIA1": ("secret", "token")})
        self.asked.append((request.path, json.loads(body), request.headers["idempotency-key"]))
        answer = {"error": reason} if reason else {"status": 200, "answer": "Nice to meet you, Ada."}
        write(request, 403 if reason else 200, json.dumps(answer).encode(), {"content-type": "application/json"})


@pytest.fixture
def signed() -> Iterator[SignedService]:
    with SignedService() as running:
        yield running


ASKED = ("/sessions/ada", {"message": "Hello, my name is Ada."}, "greeting-1")


def test_curl_signs(signed: SignedService) -> None:
    printed = run(["bash", "-c", block("Signed, with curl", "bash")], URL=signed.url, **CREDENTIALS)
    assert json.loads(printed)["answer"] == "Nice to meet you, Ada."
    assert signed.asked == [ASKED]


def test_python_signs(signed: SignedService) -> None:
    printed = run([sys.executable, "-c", block("Signed, with Python", "python")], URL=signed.url, **CREDENTIALS)
    assert printed == "Nice to meet you, Ada.\n"
    assert signed.asked == [ASKED]


@pytest.fixture(scope="module")
def with_tokens(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The function that streams, and a token that it takes."""
    with Issuer() as issuer:
        told = {"AWS_LAMBDA_FUNCTION_NAME": "streaming", "JWT_ISSUER": issuer.url, "JWT_AUDIENCE": "page"}
        with serving(stage.variables | told, tmp_path_factory.mktemp("calling") / "log") as url:
            yield {"URL": url, "TOKEN": issuer.token(sub="ada", aud="page")}


def test_curl_brings_a_token(with_tokens: dict[str, str]) -> None:
    printed = run(["bash", "-c", block("With a token", "bash")], **with_tokens)
    assert json.loads(printed)["answer"].startswith("Nice to meet you, Ada.")


def test_javascript_streams(with_tokens: dict[str, str], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here")
    shutil.copy(ROOT / "docs" / "examples" / "stream.js", tmp_path / "stream.js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "main.js").write_text(block("Streamed, with JavaScript", "javascript"))
    assert "offline model" in run([node, str(tmp_path / "main.js")], **with_tokens)


def test_the_queue_gets_a_message_that_the_function_understands() -> None:
    with engines.start("moto") as moto:
        local = CREDENTIALS | {"AWS_ENDPOINT_URL_SQS": moto.endpoint_url}
        options: dict[str, Any] = {"endpoint_url": moto.endpoint_url, "region_name": "us-east-1"}
        client = boto3.client("sqs", aws_access_key_id="x", aws_secret_access_key="x", **options)
        url = client.create_queue(QueueName="messages.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        run([sys.executable, "-c", block("Through the queue", "python")], QUEUE_URL=url, **local)
        (message,) = client.receive_message(QueueUrl=url)["Messages"]
    request = parse(json.loads(message["Body"]), Shape.DIRECT)
    assert request == Request("message", "ada", "Hello, my name is Ada.", owner="ada@example.com")


def test_a_function_url_needs_both_permissions() -> None:
    policy = json.loads(block("What a caller may do", "json"))
    actions = {str(statement["Action"]) for statement in policy["Statement"]}
    assert "['lambda:InvokeFunctionUrl', 'lambda:InvokeFunction']" in actions
