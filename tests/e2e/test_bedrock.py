"""Bedrock by the function's role: every request is signed, streamed or not, also after credentials were rotated."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Stage
from tests.support.events import Client
from tools.emulation.signed_model import SignedModel
from tools.emulation.strict_script import by_turn, calls, says
from tools.page import serving

SERVICES = {"bedrock": "bedrock", "bedrock-mantle": "bedrock-mantle"}
TEMPORARY = {"AWS_ACCESS_KEY_ID": "ASIA1", "AWS_SECRET_ACCESS_KEY": "secret/1+", "AWS_SESSION_TOKEN": "token=="}
HELD = {"ASIA1": ("secret/1+", "token==")}


@pytest.fixture(params=SERVICES)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(provider: str) -> Iterator[SignedModel]:
    with SignedModel(SERVICES[provider]) as running:
        running.secrets = dict(HELD)
        yield running


def told(provider: str, model: SignedModel, **more: str) -> dict[str, str]:
    named = {"MODEL_PROVIDER": provider, "MODEL_NAME": "openai.gpt-oss-120b-1:0", "MODEL_BASE_URL": model.base_url}
    # Neither may go before the role: a key of OpenAI's, and a bearer token of Bedrock's.
    return named | {"OPENAI_API_KEY": "sk-other", "AWS_BEARER_TOKEN_BEDROCK": "other"} | TEMPORARY | more


def say(environment: Any, message: str, session_id: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = environment.invoke(
        {"session_id": session_id or uuid.uuid4().hex, "message": message}
    ).answer
    return answer


def test_a_turn_is_signed_with_the_roles_temporary_credentials(stage: Stage, provider: str, model: SignedModel) -> None:
    """Without a key, a turn with a tool is answered by either endpoint; each request carries the session's token."""
    model.script = by_turn(calls("calculate", expression="6 * 7"), says("It is 42."))
    with stage.environment(**told(provider, model)) as environment:
        answer = say(environment, "What is 6 * 7?")
    assert (answer.get("answer"), answer["tools"]) == ("It is 42.", ["calculate"]), (answer, model.refused)
    assert model.refused == []
    assert model.accepted == ["ASIA1"] * 2
    assert {seen.interface for seen in model.seen} == {"chat" if provider == "bedrock" else "responses"}


def test_a_streamed_turn_is_signed_too(stage: Stage, provider: str, model: SignedModel, tmp_path: Path) -> None:
    with serving(stage.variables | told(provider, model), tmp_path / "log") as url:
        events = Client(url, {}).send(uuid.uuid4().hex, "Hello")
    assert events[-1][1]["answer"] == "You said: Hello"
    assert [seen.body["stream"] for seen in model.seen] == [True]
    assert model.refused == []


ROTATING = """
import app, os

def handler(event, context):
    os.environ.update(event.pop("rotate", {}))
    return app.handler(event, context)
"""


def test_rotated_credentials_are_used_at_the_next_request(
    stage: Stage, provider: str, model: SignedModel, tmp_path: Path
) -> None:
    """A warm environment whose credentials were replaced goes on with the new ones."""
    from tools.emulation import rie

    (tmp_path / "rotating.py").write_text(ROTATING)
    variables = stage.variables | told(provider, model)
    folders = [tmp_path, rie.FUNCTION, rie.built_layer()]
    with rie.Emulator("rotating.handler", folders, variables, timeout_seconds=60) as environment:
        assert say(environment, "Hello")["status"] == 200
        model.secrets = {"ASIA2": ("another secret", "another token")}
        refused = say(environment, "Hello")
        assert (refused["status"], refused["code"]) == (502, "key_rejected")
        rotate = {
            "AWS_ACCESS_KEY_ID": "ASIA2",
            "AWS_SECRET_ACCESS_KEY": "another secret",
            "AWS_SESSION_TOKEN": "another token",
        }
        event = {"session_id": uuid.uuid4().hex, "message": "Hello", "rotate": rotate}
        assert environment.invoke(event).answer["status"] == 200
    assert model.accepted == ["ASIA1", "ASIA2"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not match"),
        ({"AWS_SESSION_TOKEN": "expired"}, "expired"),
        ({"AWS_SESSION_TOKEN": ""}, "expired"),
        ({"AWS_ACCESS_KEY_ID": "ASIA9"}, "invalid"),
        ({"AWS_REGION": "eu-central-1"}, "scoped"),
    ],
)
def test_the_endpoint_that_this_is_tested_with_checks_signatures(
    stage: Stage, provider: str, model: SignedModel, changes: dict[str, str], reason: str
) -> None:
    """A request that is signed wrongly is refused, and the caller is told of no detail."""
    with stage.environment(**told(provider, model, **changes)) as environment:
        refused = say(environment, "Hello")
    assert (refused["status"], refused["code"]) == (502, "key_rejected"), model.refused
    assert all(reason in why for why in model.refused)
    assert model.accepted == []
