"""Durable runs, as far as they need no store: who pays at import, and what options are refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from openai_agents_session import InvalidInputError
from openai_agents_session.durable import DurableOptions


def test_nobody_pays_for_it_at_import() -> None:
    """Importing the library imports neither AWS's durable SDK nor boto3."""
    code = (
        "import sys, openai_agents_session.environment, openai_agents_session.turns, openai_agents_session.runs; "
        "print([name for name in ('boto3', 'aws_durable_execution_sdk_python', 'agents') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "options",
    [
        {"at_least_once": "pay"},
        {"model_attempts": 0},
        {"parallel": 101},
        {"inline_bytes": 10**6},
        {"reserve_seconds": -1},
        {"approval_seconds": 367 * 86_400},
        {"model_attempts": True},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """An option out of its bounds is refused, by its name."""
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        DurableOptions(**options)
