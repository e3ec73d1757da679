"""The handler: which errors are answered and which are raised, and what is imported when."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from openai_agents_session.errors import AccessDeniedError, ContentionError, InvalidInputError, UnavailableError
from openai_agents_session.service.actions import ACTIONS

FUNCTION = Path(__file__).resolve().parents[2] / "functions" / "agent"
HTTP_HISTORY = json.loads((FUNCTION.parents[1] / "events" / "http_history.json").read_text())


@dataclass(frozen=True)
class Context:
    """What Lambda tells a handler about itself."""

    function_name: str = "agent"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:agent"
    aws_request_id: str = "request"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tests")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "agent")
    return importlib.import_module("app")


def failing_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def fail(_: object) -> dict[str, Any]:
        raise error

    monkeypatch.setitem(ACTIONS, "history", fail)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("the session id is too long"), 400),
        (UnavailableError("table sessions is throttled"), 503),
        (ContentionError("ada has many writers"), 503),
    ],
)
def test_what_the_caller_can_act_on_is_answered(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    failing_with(monkeypatch, error)
    direct = app.handler({"session_id": "ada", "action": "history"}, Context())
    over_http = app.handler(HTTP_HISTORY, Context())
    assert direct["status"] == over_http["statusCode"] == json.loads(over_http["body"])["status"] == status
    assert ("too long" in direct["error"]) == (status == 400)


@pytest.mark.parametrize("error", [AccessDeniedError("no"), ValueError("SESSION_TABLE is not set"), KeyError("bug")])
def test_what_is_wrong_with_the_function_is_raised_so_that_lambda_counts_it(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing_with(monkeypatch, error)
    with pytest.raises(type(error)):
        app.handler({"session_id": "ada", "action": "history"}, Context())


@pytest.mark.parametrize(
    ("start", "imported"), [("on-demand", False), ("snap-start", True), ("provisioned-concurrency", True)]
)
def test_the_agents_sdk_is_imported_before_the_first_request_only_where_nobody_waits(
    start: str, imported: bool
) -> None:
    code = "import sys, app; print('agents' in sys.modules)"
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "agent", "AWS_LAMBDA_INITIALIZATION_TYPE": start}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FUNCTION,
        env=os.environ | variables | {"POWERTOOLS_TRACE_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == str(imported)
