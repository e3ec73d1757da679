"""Who the caller is, and that nobody's sessions can be reached by another's id."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.identity import caller, checked_owner, stored_id
from openai_agents_session.service.request import Request


def event(**authorizer: Any) -> dict[str, Any]:
    return {
        "requestContext": {"authorizer": authorizer},
        "headers": {"owner": "mallory"},
        "body": '{"owner": "mallory"}',
    }


@pytest.mark.parametrize(
    ("authorizer", "owner"),
    [
        ({"iam": {"userId": "AIDA1", "userArn": "arn:aws:iam::1:user/ada"}}, "iam:AIDA1"),
        ({"iam": {"userId": "AROA1:ada", "userArn": "arn:aws:sts::1:assumed-role/r/ada"}}, "iam:AROA1"),
        ({"iam": {"userId": "AROA1:mallory:ada"}}, "iam:AROA1"),
        ({"iam": {"userId": "AROA1:x", "cognitoIdentity": {"identityId": "eu-1:7"}}}, "cognito:eu-1:7"),
        ({"iam": {"userId": "AROA1:x", "cognitoIdentity": None}}, "iam:AROA1"),
        ({"jwt": {"claims": {"iss": "https://a/", "sub": "7"}}}, "jwt:https://a/ 7"),
        ({"jwt": {"claims": {"sub": "7"}}}, "jwt: 7"),
        ({"jwt": {"claims": {"iss": "https://a/", "sub": ""}}}, None),
        ({"jwt": {"claims": {"iss": "https://a/", "sub": ["7"]}}}, None),
        ({"jwt": {"claims": None}}, None),
        ({"iam": {"userId": None}}, None),
        ({"iam": "AIDA1"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_caller_is_whom_the_authorizer_verified(authorizer: dict[str, Any], owner: str | None) -> None:
    assert caller(event(**authorizer)) == owner


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


def test_an_owner_may_be_required() -> None:
    nobodys, adas = Request("history", "s"), Request("history", "s", owner="ada")
    assert checked_owner(nobodys, required=False) is None
    assert checked_owner(adas, required=True) == "ada"
    with pytest.raises(RequestError) as refusal:
        checked_owner(nobodys, required=True)
    assert refusal.value.status == 401


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
