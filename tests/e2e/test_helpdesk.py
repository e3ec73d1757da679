"""The second sample: two agents on the layer in ten lines, with all that an agent of the SDK's may have."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Stage
from tools.emulation import rie
from tools.emulation.rie import ROOT, Emulator
from tools.emulation.sam import sam
from tools.layers import functions
from tools.layers.assemble import Target

HELPDESK = ROOT / "functions" / "helpdesk"
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40).decode()


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function as `sam build` makes it, with its package."""
    folder: Path = tmp_path_factory.mktemp("helpdesk")
    functions.make(HELPDESK, folder, Target(arch=rie.architecture(), python=rie.python_version()))
    return folder


@pytest.fixture(scope="module")
def desk(stage: Stage, function: Path) -> Iterator[Emulator]:
    with Emulator("helpdesk.handler", [function, rie.built_layer()], stage.variables, timeout_seconds=60) as running:
        yield running


def say(desk: Emulator, session_id: str, message: Any, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = desk.invoke({"session_id": session_id, "owner": "ada", "message": message, **more}).answer
    return answer


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex


def test_it_is_made_a_service_in_ten_lines() -> None:
    """A team writes no more than ten lines to attach an agent to the layer."""
    assert len((HELPDESK / "helpdesk.py").read_text().splitlines()) <= 10


def test_an_mcp_server_that_needs_a_package_answers_in_every_invocation(desk: Emulator, session_id: str) -> None:
    """An MCP server is started once and serves the turns of later invocations."""
    for question in ("How do I reset my password?", "How do I return a parcel?"):
        answer = say(desk, session_id, question)
        assert (answer["status"], answer["tools"]) == (200, ["find_article"]), desk.log
        assert answer["answer"].startswith("How to re")


def test_a_handoff_lasts_also_in_another_environment(
    stage: Stage, desk: Emulator, function: Path, session_id: str
) -> None:
    """The agent that the conversation was handed over to answers the turns after it."""
    first = say(desk, session_id, "My invoice is wrong.")
    assert first["output"] == {"subject": "My invoice is wrong.", "images": 0}
    assert json.loads(first["answer"]) == first["output"]
    variables = stage.variables
    with Emulator("helpdesk.handler", [function, rie.built_layer()], variables, timeout_seconds=60) as other:
        assert say(other, session_id, "And who are you?")["output"]["subject"] == "And who are you?"


def test_an_answer_that_is_given_again_is_the_same(desk: Emulator, session_id: str) -> None:
    """A structured answer has one form, also when its delivery is repeated."""
    first, again = (say(desk, session_id, "Why this invoice?", idempotency_key="k") for _ in range(2))
    assert first == again
    assert first["output"]["subject"] == "Why this invoice?"


def test_a_tool_knows_who_asks_and_has_a_key_of_its_call(desk: Emulator, session_id: str) -> None:
    """A tool gets the owner, and a key that is the call's alone."""
    say(desk, session_id, "My invoice is wrong.")
    said = [say(desk, session_id, f"Please dispute {amount}.")["output"]["subject"] for amount in (5, 6)]
    assert all(subject.endswith("euros is open for ada.") for subject in said)
    assert said[0].split()[1] != said[1].split()[1]


def test_an_image_in_a_message_reaches_the_model_and_the_history(desk: Emulator, session_id: str) -> None:
    """A message may be content parts of the SDK's."""
    parts = [
        {"type": "input_text", "text": "This invoice is wrong."},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
    ]
    assert say(desk, session_id, parts)["output"] == {"subject": "This invoice is wrong.", "images": 1}
    history = desk.invoke({"session_id": session_id, "owner": "ada", "action": "history"}).answer["items"]
    assert history[0]["content"] == parts


def test_an_image_as_large_as_lambda_takes_is_kept(desk: Emulator, session_id: str) -> None:
    """A message of nearly 6 MB is served, and a history that holds it can still be read."""
    image = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(4_400_000)).decode()
    parts = [{"type": "input_text", "text": "See the invoice."}, {"type": "input_image", "image_url": image}]
    assert say(desk, session_id, parts)["output"]["images"] == 1
    items = desk.invoke({"session_id": session_id, "owner": "ada", "action": "history"}).answer["items"]
    assert items[0]["content"][0] == parts[0]
    assert "left out" in items[0]["content"][1]["image_url"]
    assert say(desk, session_id, "And now?")["status"] == 200


def test_the_first_agents_guardrail_also_guards_the_agent_that_took_over(desk: Emulator, session_id: str) -> None:
    """After a handoff no message comes past the guardrail of the agent that conversations begin with."""
    card = "Pay invoice with 4111 1111 1111 1111, please."
    for message in ("My invoice is wrong.", "Thank you."):
        refused = say(desk, session_id, card)
        assert (refused["status"], refused["code"]) == (422, "input_blocked")
        assert say(desk, session_id, message)["status"] == 200
    history = desk.invoke({"session_id": session_id, "owner": "ada", "action": "history"}).answer
    assert "4111" not in json.dumps(history)


def test_sam_builds_it_with_its_package_and_without_what_the_layer_has(tmp_path: Path) -> None:
    """`sam build` in the sample's folder makes what Lambda runs."""
    built = tmp_path / "build"
    template = str(HELPDESK / "template.yaml")
    printed = sam("build", "--build-in-source", "--template-file", template, "--build-dir", str(built))
    assert "Build Succeeded" in printed
    shipped = {path.name for path in (built / "HelpdeskFunction").iterdir()}
    assert {"helpdesk.py", "desk.py", "articles.py", "rules.py", "rapidfuzz"} <= shipped
    assert not {"template.yaml", "Makefile", "requirements.txt", "agents", "mcp"} & shipped


def test_its_template_is_valid() -> None:
    """The sample's own template passes SAM's checks."""
    assert "is a valid SAM Template" in sam("validate", "--lint", "--template-file", str(HELPDESK / "template.yaml"))
