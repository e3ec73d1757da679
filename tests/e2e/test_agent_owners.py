"""A session is its owner's: whoever else names it gets, on every route, the answer of a session that does not exist."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from openai_agents_session.service.identity import stored_id
from tests.support.agent import Stage, body, event
from tools.emulation.rie import Emulator

ADA = "jwt:https://login.example.com/ 3f1c2a9e-ada"
SECRET = "the password is swordfish"
HERS = ["ada-lovelace", "a/b", "Ümläut 👩‍💻", "case", "x" * 1000, "a%2Fb", "ada@example.com"]


@pytest.fixture(scope="module")
def environment(stage: Stage) -> Iterator[Emulator]:
    """With a session of Ada's under each of her ids; in the first a run waits for approval."""
    with stage.environment(OWNER_REQUIRED="true") as running:
        for session_id in HERS:
            assert running.invoke({"session_id": session_id, "owner": ADA, "message": SECRET}).answer["status"] == 200
        assert running.invoke(event("refund", owner=ADA)).answer["status"] == 202
        yield running


def over_http(subject: str, method: str, session_id: str, suffix: str = "", content: Any = None) -> Any:
    """A request through a Function URL, whose path is as the caller sent it."""
    request = copy.deepcopy(event("http_refund"))
    request |= {"routeKey": "$default", "pathParameters": None}
    request["rawPath"] = f"/sessions/{quote(session_id, safe='')}{suffix}"
    request["requestContext"]["http"] |= {"method": method, "path": request["rawPath"]}
    request["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = subject
    request["body"] = json.dumps(content)
    del request["headers"]["idempotency-key"]
    return request


def routes(session_id: str, run_id: str) -> list[tuple[str, str, Any]]:
    """Every route there is: method, suffix, body."""
    decide = {"run_id": run_id, "call_ids": ["offline_refund_1"]}
    return [
        ("GET", "", None),
        ("GET", "/approvals", None),
        ("POST", "/approvals", decide | {"decision": "approve"}),
        ("POST", "/approvals", decide | {"decision": "reject"}),
        ("POST", "", {"continue": True}),
        ("POST", "", {"message": "What did I say first?"}),
        ("GET", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("POST", "/edit", {"position": 0, "message": "Who am I?"}),
        ("POST", "/regenerate", {}),
        ("POST", "/stop", {}),
        ("POST", "/fork", {"keep": 2}),
        ("POST", "/rewind", {"keep": 0}),
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("POST", "/edit", {"position": 0, "message": "Who am I?"}),
        ("POST", "/regenerate", {}),
        ("POST", "/fork", {"keep": 2}),
        ("POST", "/rewind", {"keep": 0}),
        ("GET", "", None),
    ]


def direct(session_id: str, run_id: str) -> list[dict[str, Any]]:
    decide = {"run_id": run_id, "call_ids": ["offline_refund_1"]}
    requests: list[dict[str, Any]] = [
        {"action": "history"},
        {"action": "approvals"},
        {"action": "approve"} | decide,
        {"action": "reject"} | decide,
        {"action": "continue"},
        {"message": "What did I say first?"},
        {"action": "history"},
        {"action": "update", "metadata": {"mine": True}},
        {"action": "edit", "position": 0, "message": "Who am I?"},
        {"action": "regenerate"},
        {"action": "stop"},
        {"action": "fork"},
        {"action": "rewind", "keep": 0},
        {"action": "clear"},
        {"action": "update", "metadata": {"mine": True}},
        {"action": "fork"},
        {"action": "history"},
    ]
    return [{"session_id": session_id} | request for request in requests]


def named(answer: Any, session_id: str) -> str:
    """An answer, with the id that was asked for taken out of it, and the times."""
    told = {name: value for name, value in body(answer).items() if name not in ("created", "updated_at")}
    if re.fullmatch(r"[0-9a-f-]{36}", str(told.get("session_id"))):
        told["session_id"] = "a copy's"
    return json.dumps(told, ensure_ascii=False, sort_keys=True).replace(f'"{session_id}"', '"ID"')


@pytest.fixture(scope="module")
def run_id(environment: Emulator) -> str:
    return str(environment.invoke(event("approvals", owner=ADA)).answer["pending"]["run_id"])


@pytest.mark.parametrize("session_id", HERS)
def test_another_caller_gets_the_answers_of_a_session_that_does_not_exist(
    environment: Emulator, session_id: str, run_id: str
) -> None:
    unknown = f"nobody-{session_id}"[:1000]
    for method, suffix, content in routes(session_id, run_id):
        hers = environment.invoke(over_http("mallory", method, session_id, suffix, content)).answer
        none = environment.invoke(over_http("mallory", method, unknown, suffix, content)).answer
        assert hers["statusCode"] == none["statusCode"], (method, suffix, hers, none)
        assert named(hers, session_id) == named(none, unknown)
        assert "swordfish" not in str(hers)
    for at_hers, at_none in zip(direct(session_id, run_id), direct(unknown, run_id), strict=True):
        hers, none = (environment.invoke(request | {"owner": "mallory"}).answer for request in (at_hers, at_none))
        assert named(hers, session_id) == named(none, unknown)
        assert "swordfish" not in str(hers)


def test_a_list_has_the_callers_own_conversations_alone(environment: Emulator) -> None:
    """Nobody's list names another's session, by whatever route it is asked for."""
    asked = over_http("mallory", "GET", "")
    asked["rawPath"] = asked["requestContext"]["http"]["path"] = "/sessions"
    answers = [environment.invoke(asked).answer, environment.invoke({"action": "list", "owner": "mallory"}).answer]
    for answer in answers:
        assert "swordfish" not in str(answer)
    listed = environment.invoke({"action": "list", "owner": ADA, "limit": 200}).answer["sessions"]
    assert {one["session_id"] for one in listed} >= set(HERS)
    assert environment.invoke({"action": "list"}).answer["status"] == 401


TRICKS = [
    stored_id("ada-lovelace", ADA),
    f"ada-lovelace@{ADA}",
    "ada-lovelace ",
    " ada-lovelace",
    "ADA-LOVELACE",
    "ada-lovelace\u0000",
    "ada-lovelace\u200b",
    "\uff41da-lovelace",
    "ada-lovelace/",
    "./ada-lovelace",
    "../sessions/ada-lovelace",
    "ada-lovelace/approvals",
    "ada-lovelace/fork",
    "ada-lovelace?owner=ada",
    "ada-lovelace#~run",
    stored_id("ada-lovelace", ADA) + "#~run",
    stored_id("ada-lovelace", ADA) + "#~0",
    "Case",
    "U\u0308mla\u0308ut 👩‍💻",
    "x" * 1001,
    "x" * 1025,
    "a/b/",
    "a%252Fb",
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick[:40])
@pytest.mark.parametrize("who", ["mallory", "ada"])
def test_no_id_leads_to_a_session_of_somebody_elses_or_to_another_of_ones_own(
    environment: Emulator, trick: str, who: str
) -> None:
    owner = ADA if who == "ada" else "mallory"
    subject = "3f1c2a9e-ada" if who == "ada" else "mallory"
    for request in (
        {"session_id": trick, "owner": owner, "action": "history"},
        {"session_id": trick, "owner": owner, "action": "approvals"},
        over_http(subject, "GET", trick),
        over_http(subject, "GET", trick, "/approvals"),
    ):
        answer = environment.invoke(request).answer
        assert "swordfish" not in str(answer)
        assert not body(answer).get("items")
        assert not body(answer).get("pending")


def test_without_an_owner_nothing_is_served_where_one_is_required(environment: Emulator, run_id: str) -> None:
    for request in direct("ada-lovelace", run_id):
        assert environment.invoke(request).answer["status"] == 401
    anonymous = over_http("x", "GET", "ada-lovelace")
    del anonymous["requestContext"]["authorizer"]
    assert environment.invoke(anonymous).answer["statusCode"] == 401
    anonymous["headers"] |= {"owner": ADA, "x-owner": ADA}
    anonymous["body"] = json.dumps({"owner": ADA})
    assert environment.invoke(anonymous).answer["statusCode"] == 401


def test_where_none_is_required_the_owners_sessions_are_still_theirs(stage: Stage, environment: Emulator) -> None:
    with stage.environment() as open_to_all:
        assert open_to_all.invoke({"session_id": "ada-lovelace", "action": "history"}).answer["items"] == []
        stored = {"session_id": stored_id("ada-lovelace", ADA), "action": "history"}
        assert open_to_all.invoke(stored).answer["status"] == 400


def test_an_iam_principal_is_an_owner_like_another(environment: Emulator) -> None:
    assert environment.invoke(event("http_iam_message")).answer["statusCode"] == 200
    as_role = event("http_iam_message")
    as_role["requestContext"]["authorizer"]["iam"]["userId"] = "AROAIOSFODNN7EXAMPLE:another session of the role"
    as_role["body"] = json.dumps({"message": "How many?"})
    assert "message 2" in body(environment.invoke(as_role).answer)["answer"]


def test_the_owner_finds_it_all_as_it_was(stage: Stage, environment: Emulator, run_id: str) -> None:
    for session_id in HERS:
        items = environment.invoke({"session_id": session_id, "owner": ADA, "action": "history"}).answer["items"]
        assert items[0]["content"] == SECRET
        assert body(environment.invoke(over_http("3f1c2a9e-ada", "GET", session_id)).answer)["items"] == items
    owners = {item["owner"]["S"] for item in stage.items() if "swordfish" in str(item)}
    assert owners == {ADA}
    waiting = environment.invoke(event("approvals", owner=ADA)).answer["pending"]
    assert (waiting["run_id"], waiting["status"]) == (run_id, "pending")
    held_up = environment.invoke(event("http_continue")).answer
    assert (held_up["statusCode"], body(held_up)["pending"]["run_id"]) == (409, run_id)
