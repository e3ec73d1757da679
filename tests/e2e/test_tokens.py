"""Signed-in users in a browser: the streaming function verifies their tokens itself."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.agent import Stage
from tests.support.events import Client
from tools.emulation.issuer import Issuer
from tools.page import serving

OURS, THEIRS = "page", "another application"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def client(stage: Stage, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The server as on Lambda, where nobody but the function knows tokens."""
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": "streaming",
        "JWT_ISSUER": issuer.url,
        "JWT_AUDIENCE": f"other,{OURS}",
        "SERVE_PAGE": "true",
        "SUPERVISORS": "cognito:groups=approvers",
    }
    with serving(stage.variables | variables, tmp_path_factory.mktemp("tokens") / "log") as url:
        yield Client(url, {})


PLAIN = {"accept": "application/json"}


def bearer(issuer: Issuer, **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(**({'sub': 'ada', 'aud': OURS} | claims))}"}


def path() -> str:
    return f"/sessions/{uuid.uuid4().hex}"


def test_a_signed_in_user_streams_and_the_agent_knows_who_it_is(client: Client, issuer: Issuer) -> None:
    """A user's turn is streamed, and the session is that user's alone."""
    mine = path()
    with client.ask(
        "POST", mine, {"message": "My name is Ada."}, accept="text/event-stream", **bearer(issuer)
    ) as answer:
        assert answer.status == 200
        assert list(answer.events())[-1][0] == "done"
    with client.ask("GET", mine, **bearer(issuer)) as answer:
        assert len(answer.json()["items"]) == 2
    with client.ask("GET", mine, **bearer(issuer, sub="bob")) as answer:
        assert answer.json()["items"] == []


def test_a_token_may_come_beside_a_signature(client: Client, issuer: Issuer) -> None:
    """What signs requests needs Authorization for itself; the token then has a header of its own."""
    signed = {"authorization": "AWS4-HMAC-SHA256 x", "x-agent-token": issuer.token(sub="ada", aud=OURS)}
    with client.ask("GET", path(), **signed) as answer:
        assert answer.status == 200


def test_an_access_token_names_its_application_otherwise(client: Client, issuer: Issuer) -> None:
    """A token without an audience is for the application of its client_id, as an HTTP API has it."""
    token = issuer.token(sub="ada", client_id=OURS)
    with client.ask("GET", path(), authorization=f"Bearer {token}") as answer:
        assert answer.status == 200


def refused_tokens(issuer: Issuer) -> dict[str, str]:
    now = time.time()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"sub": "ada", "aud": OURS, "iss": issuer.url, "exp": now + 60}
    return {
        "none": "",
        "no token": "x",
        "expired": issuer.token(sub="ada", aud=OURS, exp=now - 3600),
        "of another application": issuer.token(sub="ada", aud=THEIRS),
        "for nobody": issuer.token(sub="ada"),
        "an empty audience": issuer.token(sub="ada", aud="", client_id=OURS),
        "of another issuer": issuer.token(sub="ada", aud=OURS, iss="https://elsewhere.example.com"),
        "without an end": issuer.token(sub="ada", aud=OURS, exp=None),
        "by another key": jwt.encode(claims, key, "RS256", headers={"kid": issuer.key_id}),
        "by an unknown key": jwt.encode(claims, key, "RS256", headers={"kid": "unknown"}),
        "with a shared secret": jwt.encode(claims, "s" * 32, "HS256", headers={"kid": issuer.key_id}),
        "unsigned": jwt.encode(claims, None, "none", headers={"kid": issuer.key_id}),
        "without a subject": issuer.token(aud=OURS),
        "with an empty subject": issuer.token(sub="", aud=OURS),
    }


def test_nobody_gets_an_answer_without_a_token_of_ours(client: Client, issuer: Issuer) -> None:
    """A token that is missing, forged, expired or meant for others gets 401 on every route."""
    for name, token in refused_tokens(issuer).items():
        headers = {"authorization": f"Bearer {token}"} if token else {}
        for method, route, content in (
            ("GET", "", None),
            ("POST", "", {"message": "Hello"}),
            ("DELETE", "", None),
            ("GET", "/approvals", None),
            ("POST", "/approvals", {"decision": "approve", "run_id": "r"}),
        ):
            with client.ask(method, path() + route, content, **headers) as answer:
                assert answer.status == 401, (name, method, route)


def test_the_adapters_word_does_not_count_where_tokens_do(client: Client) -> None:
    """A caller whom the adapter names, but who has no token, is nobody."""
    context = {"authorizer": {"jwt": {"claims": {"sub": "ada", "iss": "x"}}, "iam": {"userId": "AIDA1"}}}
    with client.ask("GET", path(), x_amzn_request_context=json.dumps(context)) as answer:
        assert answer.status == 401


def test_a_supervisor_approves_what_another_asked_for(client: Client, issuer: Issuer) -> None:
    """Who asked may not approve; a member of the group may, for the session's owner, and nobody else."""
    mine = path()
    with client.ask(
        "POST", mine, {"message": "Please refund 25 euros for order A-17."}, **PLAIN, **bearer(issuer)
    ) as answer:
        run_id = answer.json()["pending"]["run_id"]
    decision = {"decision": "approve", "run_id": run_id}
    owner = f"jwt:{issuer.url} ada"
    with client.ask("POST", f"{mine}/approvals", decision, **PLAIN, **bearer(issuer)) as answer:
        assert (answer.status, answer.json()["code"]) == (403, "supervisor_required")
    with client.ask("POST", f"{mine}/approvals", decision | {"owner": owner}, **bearer(issuer, sub="bob")) as answer:
        assert answer.status == 403
    boss = bearer(issuer, sub="eve", **{"cognito:groups": ["approvers"]})
    with client.ask("POST", f"{mine}/approvals", decision | {"owner": owner}, **PLAIN, **boss) as answer:
        assert answer.status == 200
        assert "Refunded 25.00 euros" in answer.json()["answer"]


def test_the_page_is_told_how_to_sign_in_and_may_ask_the_issuer_for_a_token(client: Client, issuer: Issuer) -> None:
    with client.ask("GET", "/sign-in") as answer:
        assert answer.json() == {
            "client_id": "other",
            "authorization_endpoint": f"{issuer.url}/authorize",
            "token_endpoint": f"{issuer.url}/token",
        }
    with client.ask("GET", "/") as answer:
        assert f"connect-src 'self' {issuer.url};" in answer.headers["content-security-policy"]


def test_a_local_server_answers_only_under_a_local_name(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A page of another site whose name leads to this machine gets nothing (DNS rebinding)."""
    with serving(stage.variables | {"SERVE_PAGE": "true"}, tmp_path_factory.mktemp("host") / "log") as url:
        local = Client(url, {})
        for host, status in (("evil.example.com", 400), ("localhost:8642", 200), ("127.0.0.1", 200)):
            with local.ask("GET", path(), host=host) as answer:
                assert answer.status == status
