"""Who the caller is, and that nobody's sessions can be reached by another's id."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.identity import caller, checked_owner, is_supervisor, stored_id
from openai_agents_session.service.request import Request
from openai_agents_session.service.settings import ServiceSettings
from openai_agents_session.service.shapes import shape_of


def event(**authorizer: Any) -> dict[str, Any]:
    return {
        "requestContext": {"authorizer": authorizer},
        "headers": {"owner": "mallory"},
        "body": '{"owner": "mallory"}',
    }


ROLE = "arn:aws:sts::1:assumed-role/Support/ada"
SSO = "arn:aws:sts::1:assumed-role/AWSReservedSSO_Support_0123456789abcdef/"
ISSUER = {"iss": "https://a/"}


@pytest.mark.parametrize(
    ("authorizer", "owner"),
    [
        ({"iam": {"userId": "AIDA1", "userArn": "arn:aws:iam::1:user/ada"}}, "iam:AIDA1"),
        ({"iam": {"userId": "AROA1:ada", "userArn": ROLE}}, "iam:AROA1"),
        ({"iam": {"userId": "AROA1:mallory:ada"}}, "iam:AROA1"),
        ({"iam": {"userId": "AROA1:ada@x.com", "userArn": f"{SSO}ada@x.com"}}, 'iam:["AROA1","sso","ada@x.com"]'),
        ({"iam": {"userId": "AROA1", "userArn": SSO}}, None),
        ({"iam": {"userId": "1", "userArn": "arn:aws:iam::1:root"}}, "iam:1"),
        (
            {"iam": {"userId": "1:bob", "userArn": "arn:aws:sts::1:federated-user/bob"}},
            'iam:["1","federated-user","bob"]',
        ),
        ({"iam": {"userId": "AROA1:x", "cognitoIdentity": {"identityId": "eu-1:7"}}}, "cognito:eu-1:7"),
        ({"iam": {"userId": "AROA1:x", "cognitoIdentity": None}}, "iam:AROA1"),
        ({"jwt": {"claims": ISSUER | {"sub": "7"}}}, "jwt:https://a/ 7"),
        ({"jwt": {"claims": {"sub": "7"}}}, "jwt: 7"),
        ({"jwt": {"claims": ISSUER | {"sub": "a b"}}}, 'jwt:["https://a/","sub","a b"]'),
        ({"jwt": {"claims": ISSUER | {"sub": ""}}}, None),
        ({"jwt": {"claims": ISSUER | {"sub": " "}}}, None),
        ({"jwt": {"claims": ISSUER | {"sub": 7}}}, None),
        ({"jwt": {"claims": ISSUER | {"sub": ["7"]}}}, None),
        ({"jwt": {"claims": ISSUER | {"client_id": "c"}}}, None),
        ({"jwt": {"claims": None}}, None),
        ({"claims": ISSUER | {"sub": "7"}}, "jwt:https://a/ 7"),
        ({"lambda": {"owner": "ada"}}, 'lambda:["owner","ada"]'),
        ({"lambda": {"role": "x"}}, None),
        ({"lambda": None}, None),
        ({"principalId": "ada", "integrationLatency": 7}, 'lambda:["principalId","ada"]'),
        ({"principalId": ""}, None),
        ({"iam": {"accessKey": "x", "callerId": None, "userArn": None, "userId": None}}, None),
        ({"iam": {"userId": None}}, None),
        ({"iam": "AIDA1"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_caller_is_whom_the_authorizer_verified(authorizer: dict[str, Any], owner: str | None) -> None:
    """Every kind of caller has an owner of its own, or none."""
    assert caller(event(**authorizer)) == owner


@pytest.mark.parametrize(
    ("identity", "owner"),
    [
        ({"userArn": "arn:aws:iam::1:user/ada", "caller": "AIDA1", "user": "AIDA1"}, "iam:AIDA1"),
        ({"userArn": ROLE, "caller": "AROA1:ada", "user": "AROA1:ada"}, "iam:AROA1"),
        ({"userArn": ROLE, "caller": "AROA1:x", "cognitoIdentityId": "eu-1:7"}, "cognito:eu-1:7"),
        ({"userArn": None, "caller": None, "sourceIp": "192.0.2.1"}, None),
    ],
)
def test_a_rest_api_names_its_callers_elsewhere(identity: dict[str, Any], owner: str | None) -> None:
    """The same principal has the same owner through a REST API as through an HTTP API."""
    assert caller({"requestContext": {"identity": identity}}) == owner


def test_claims_that_name_the_owner_have_an_order() -> None:
    """The first claim of OWNER_CLAIMS that is there names the owner; one that is empty does not make way."""
    claims = ("sub", "client_id")
    both = ISSUER | {"client_id": "c"}
    assert caller(event(jwt={"claims": both}), claims) == 'jwt:["https://a/","client_id","c"]'
    assert caller(event(jwt={"claims": both | {"sub": "7"}}), claims) == "jwt:https://a/ 7"
    assert caller(event(jwt={"claims": both | {"sub": ""}}), claims) is None


NAMES = st.text(st.sampled_from('a [",]:'), min_size=1, max_size=6)


@given(NAMES, NAMES, NAMES, NAMES)
def test_two_issuers_or_subjects_never_share_an_owner(iss1: str, sub1: str, iss2: str, sub2: str) -> None:
    """The encoding of issuer and subject is injective, whatever they hold."""
    one, other = (caller(event(jwt={"claims": {"iss": i, "sub": s}})) for i, s in ((iss1, sub1), (iss2, sub2)))
    if one is not None and other is not None:
        assert (one == other) == ((iss1, sub1) == (iss2, sub2))


@pytest.mark.parametrize(
    ("authorizer", "supervisors", "expected"),
    [
        ({"jwt": {"claims": {"cognito:groups": "[approvers users]"}}}, "cognito:groups=approvers", True),
        ({"jwt": {"claims": {"cognito:groups": "[users]"}}}, "cognito:groups=approvers", False),
        ({"jwt": {"claims": {"cognito:groups": "[non-approvers]"}}}, "cognito:groups=approvers", False),
        ({"claims": {"cognito:groups": "users,approvers"}}, "cognito:groups=approvers", True),
        ({"jwt": {"claims": {"groups": ["approvers"]}}}, "groups=approvers", True),
        ({"jwt": {"claims": {"is_supervisor": "true"}}}, "is_supervisor=true", True),
        ({"jwt": {"claims": {"is_supervisor": True}}}, "is_supervisor=true", True),
        ({"lambda": {"role": "supervisor"}}, "role=supervisor", True),
        ({"iam": {"userId": "AROA1:ada"}}, "owner=iam:AROA1", True),
        ({"iam": {"userId": "AROA2:ada"}}, "owner=iam:AROA1", False),
        ({"jwt": {"claims": {}}}, "groups=", False),
        ({"jwt": {"claims": {"": ""}}}, "", False),
    ],
    ids=str,
)
def test_a_supervisor_is_who_has_the_claim(authorizer: dict[str, Any], supervisors: str, expected: bool) -> None:
    """A claim's value, or membership of a list in any of the forms that gateways give it, makes a supervisor."""
    request = event(**authorizer)
    assert is_supervisor(request, caller(request), supervisors) is expected


@pytest.mark.parametrize("context", [None, [], {"authorizer": None}, {"authorizer": "x"}, {}])
def test_without_an_authorizer_nobody_is_the_caller(context: Any) -> None:
    assert caller({"requestContext": context}) is None


def test_a_principal_is_not_another_kinds() -> None:
    names = {
        caller(event(iam={"userId": "x"})),
        caller(event(iam={"userId": "y", "cognitoIdentity": {"identityId": "x"}})),
        caller(event(jwt={"claims": {"iss": "", "sub": "x"}})),
        caller(event(jwt={"claims": {"iss": "x", "sub": "x"}})),
    }
    assert len(names) == 4


def owner_of(request: Request, sent: Any, **settings: Any) -> str | None:
    return checked_owner(request, sent, shape_of(sent), ServiceSettings(**settings))


def test_a_direct_request_may_be_without_an_owner_unless_one_is_required() -> None:
    nobodys, adas = Request("history", "s"), Request("history", "s", owner="ada")
    assert owner_of(nobodys, {}) is None
    assert owner_of(adas, {}, owner_required=True) == "ada"
    with pytest.raises(RequestError) as refusal:
        owner_of(nobodys, {}, owner_required=True)
    assert refusal.value.status == 401


@pytest.mark.parametrize("allow_anonymous", [True, False])
@pytest.mark.parametrize("context", [{"authorizer": {}}, {"authorizer": {"lambda": None}}, {"identity": {}}, {}])
def test_http_without_a_caller_who_is_known_is_refused(context: Any, allow_anonymous: bool) -> None:
    """Who passes an authorizer has an owner or gets 401; without any authorizer, only a local run serves."""
    sent = {"requestContext": context}
    if allow_anonymous and "authorizer" not in context:
        assert owner_of(Request("history", "s"), sent, allow_anonymous=True) is None
        return
    with pytest.raises(RequestError) as refusal:
        owner_of(Request("history", "s"), sent, allow_anonymous=allow_anonymous)
    assert refusal.value.status == 401


APPROVER = "groups=approvers"


@pytest.mark.parametrize(
    ("action", "on_behalf_of", "groups", "outcome"),
    [
        ("approve", None, [], 403),
        ("approve", None, ["approvers"], "ada"),
        ("reject", None, [], "ada"),
        ("message", None, [], "ada"),
        ("approve", "bob", [], 403),
        ("approvals", "bob", [], 403),
        ("approve", "bob", ["approvers"], "bob"),
        ("approvals", "bob", ["approvers"], "bob"),
        ("discard", "ada", [], "ada"),
    ],
)
def test_who_may_decide(action: Any, on_behalf_of: str | None, groups: list[str], outcome: Any) -> None:
    """Where there are supervisors, they alone approve, also for others; whoever asked may still reject."""
    request = Request(action, "s", owner="ada", run_id="r", on_behalf_of=on_behalf_of)
    sent = event(jwt={"claims": {"groups": groups}})
    if isinstance(outcome, str):
        assert owner_of(request, sent, supervisors=APPROVER) == outcome
        return
    with pytest.raises(RequestError) as refusal:
        owner_of(request, sent, supervisors=APPROVER)
    assert refusal.value.status == outcome


IDS = st.text(min_size=1, max_size=20)


@given(IDS, IDS, IDS, IDS)
def test_two_owners_or_two_ids_never_share_a_stored_session(id1: str, owner1: str, id2: str, owner2: str) -> None:
    assert (stored_id(id1, owner1) == stored_id(id2, owner2)) == ((id1, owner1) == (id2, owner2))


@pytest.mark.parametrize("other", ["Ada", "ADA", "ada ", " ada", "ada\u200b", "a\u0301da", "@ada", "ada/", "ada\n"])
def test_an_id_is_what_it_is_to_the_letter(other: str) -> None:
    assert stored_id(other, "owner") != stored_id("ada", "owner")
    assert stored_id("ada", other) != stored_id("ada", "ada")


def test_unicode_is_not_normalized() -> None:
    composed = "é"
    assert stored_id(composed, "o") != stored_id(unicodedata.normalize("NFD", composed), "o")


def test_who_has_no_owner_cannot_name_the_stored_id_of_somebodys_session() -> None:
    with pytest.raises(RequestError):
        stored_id(stored_id("ada", "owner"), None)
    assert stored_id("ada@example.com", None) == "ada@example.com"
    assert stored_id(stored_id("ada", "owner"), "mallory") != stored_id("ada", "owner")
