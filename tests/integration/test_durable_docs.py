"""docs/durable.md: its first block is a whole function, and runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openai_agents_session import environment
from tests.support.durable_agents import Ledger, LedgerModel
from tests.support.durable_worker import service_for
from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

PAGE = Path(__file__).parents[2] / "docs" / "durable.md"


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
