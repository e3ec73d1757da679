"""Whose session it is: the caller as the authorizer knows it, and the id under which that caller's sessions are stored.

Two walls stand between callers. A session is stored under its public id together with a digest of its owner, so that
another caller who names the same id has, and finds, a session of their own: on every route the answer is that of a
session that does not exist. And the stored session is bound to its owner on first write, which the library checks at
every operation.

====================================  ==================================================================
verified by                           owner
====================================  ==================================================================
a JWT authorizer, a user pool         ``jwt:`` issuer and ``sub``, or the first claim of OWNER_CLAIMS that is there
IAM: user, root                       ``iam:`` its unique id; the root user's is the account's
IAM: a role                           ``iam:`` the role's unique id, whoever assumed it
IAM: a role of AWS's SSO              ``iam:`` the role's id and the session's name, which AWS gives: the person
IAM: ``GetFederationToken``           ``iam:`` the account and the federated user's name
IAM by a Cognito identity             ``cognito:`` the identity's id
a Lambda authorizer                   ``lambda:`` its ``principalId``, or an ``owner`` of its context
nothing of these, but an authorizer   nobody: 401
====================================  ==================================================================

Another table is `AgentService(owner_of=)`. Encodings are injective: two callers never get one owner.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import RequestError
from .request import Request
from .settings import ServiceSettings
from .shapes import Shape

OwnerOf = Callable[[Mapping[str, Any]], str | None]
"""Says who sends an HTTP event; None: nobody who is known."""

OWNER_CLAIMS = ("sub",)

_SCOPED = re.compile(r"@[0-9a-f]{32}\Z")
_SSO_ROLE = re.compile(r":assumed-role/AWSReservedSSO_[^/]+/")
_FEDERATED = re.compile(r":federated-user/(.+)\Z")


def caller(event: Mapping[str, Any], claims: Sequence[str] = OWNER_CLAIMS) -> str | None:
    """Who sends an HTTP event, from what its authorizer verified and nothing else.

    Args:
        event: The event.
        claims: The claims of a token that may name a person, in their order: the first that is there does.

    Returns:
        The owner; None without an authorizer, or if what it verified is nobody's alone.
    """
    context = _mapping(event.get("requestContext"))
    authorizer = _mapping(context.get("authorizer"))
    return (
        _of_token(token_claims(event), claims)
        or _of_iam(_mapping(authorizer.get("iam")) or _rest_identity(context))
        or _of_lambda(authorizer)
    )


def token_claims(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims of the token that an authorizer verified; none if there is no token."""
    authorizer = _mapping(_mapping(event.get("requestContext")).get("authorizer"))
    return _mapping(_mapping(authorizer.get("jwt")).get("claims")) or _mapping(authorizer.get("claims"))


def is_authorized(event: Mapping[str, Any]) -> bool:
    """Whether an authorizer verified anything of an HTTP event."""
    context = _mapping(event.get("requestContext"))
    return context.get("authorizer") is not None or bool(_rest_identity(context))


def _of_token(found: Mapping[str, Any], claims: Sequence[str]) -> str | None:
    for claim in claims:
        if claim in found:
            value = found[claim]
            if not _is_name(value):
                return None  # a claim that is there and empty names nobody: the next one may be somebody else's to set
            # The form of release 1.0.0 where it is injective; an issuer or subject with a space is written as JSON.
            issuer = str(found.get("iss") or "")
            plain = claim == "sub" and " " not in issuer + value and not issuer.startswith("[")
            return f"jwt:{issuer} {value}" if plain else f"jwt:{_encoded(issuer, claim, value)}"
    return None


def _of_iam(iam: Mapping[str, Any]) -> str | None:
    identity = _mapping(iam.get("cognitoIdentity")).get("identityId")
    if _is_name(identity):
        return f"cognito:{identity}"
    user, arn = iam.get("userId"), str(iam.get("userArn") or "")
    if not _is_name(user) or not isinstance(user, str):
        return None
    principal, _, session = user.partition(":")
    if not _is_name(principal):
        return None
    if federated := _FEDERATED.search(arn):
        return f"iam:{_encoded(principal, 'federated-user', federated[1])}"
    if _SSO_ROLE.search(arn):
        return f"iam:{_encoded(principal, 'sso', session)}" if _is_name(session) else None
    return f"iam:{principal}"


def _rest_identity(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a REST API knows of a caller who signs, in the names of the HTTP API."""
    identity = _mapping(context.get("identity"))
    if _is_name(identity.get("cognitoIdentityId")):
        return {"cognitoIdentity": {"identityId": identity["cognitoIdentityId"]}}
    if _is_name(identity.get("userArn")):
        # `caller` and `user` are the principal's unique id, that of a role with its session's name.
        return {"userId": identity.get("caller") or identity.get("user"), "userArn": identity["userArn"]}
    return {}


def _of_lambda(authorizer: Mapping[str, Any]) -> str | None:
    """By a Lambda authorizer: what it says who the caller is."""
    context = _mapping(authorizer.get("lambda")) or authorizer
    for name in ("owner", "principalId"):
        if _is_name(context.get(name)):
            return f"lambda:{_encoded(name, context[name])}"
    return None


def checked_owner(request: Request, event: Any, shape: Shape, settings: ServiceSettings) -> str | None:
    """The owner for whom a request is served; None to work on sessions that belong to nobody.

    Raises:
        RequestError: There has to be an owner and none is known; or the caller may not do this.
    """
    if not shape.is_http:
        if request.owner is None and settings.owner_required:
            raise RequestError(401, "whose session is it? State its owner")
        return request.owner
    if request.owner is None and (settings.owner_required or is_authorized(event) or not settings.allow_anonymous):
        raise RequestError(401, "who is it? The authorizer says nothing that is the caller's alone")
    supervises = is_supervisor(event, request.owner, settings.supervisors)
    if request.on_behalf_of not in (None, request.owner):
        if not supervises:
            raise RequestError(403, "to decide for somebody else is for supervisors")
        return request.on_behalf_of
    if request.action == "approve" and settings.supervisors and not supervises:
        raise RequestError(403, "a supervisor has to approve this", code="supervisor_required")
    return request.owner


def is_supervisor(event: Mapping[str, Any], owner: str | None, supervisors: str) -> bool:
    """Whether a caller may decide on other people's runs.

    Args:
        event: The caller's request.
        owner: The caller.
        supervisors: ``claim=value``: a claim of the token that is this value, or a list with it, such as
            ``cognito:groups=approvers``; or ``owner=`` and the owner, for a role. Empty: there are none.
    """
    name, _, wanted = supervisors.partition("=")
    if not name or not wanted:
        return False
    if name == "owner":
        return owner == wanted
    authorizer = _mapping(_mapping(event.get("requestContext")).get("authorizer"))
    found = token_claims(event) or _mapping(authorizer.get("lambda"))
    return wanted in _members(found.get(name))


def _members(claim: Any) -> list[Any]:
    """The members of a claim. An HTTP API writes a list as "[a b]", a REST API as "a,b"."""
    if isinstance(claim, list):
        return claim
    if not isinstance(claim, str):
        return [str(claim).lower()] if isinstance(claim, bool | int) else []
    if claim.startswith("[") and claim.endswith("]"):
        return claim[1:-1].split(" ")
    return [claim, *claim.split(",")]


def stored_id(session_id: str, owner: str | None) -> str:
    """The id under which an owner's session is stored.

    Raises:
        RequestError: A caller without an owner names an id of the form that owners' sessions are stored under.
    """
    if owner is not None:
        return f"{session_id}@{hashlib.sha256(owner.encode()).hexdigest()[:32]}"
    if _SCOPED.search(session_id):
        raise RequestError(400, 'session_id must not end in "@" and 32 hex digits: that form is reserved')
    return session_id


def public_id(stored: str, owner: str | None) -> str:
    """The id by which an owner knows a session that is stored under another."""
    return stored if owner is None else _SCOPED.sub("", stored)


def _encoded(*parts: str) -> str:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
