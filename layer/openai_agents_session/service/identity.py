"""Whose session it is: the caller as the authorizer knows it, and the id under which that caller's sessions are stored.

Two walls stand between callers. A session is stored under its public id together with a digest of its owner, so that
another caller who names the same id has, and finds, a session of their own: on every route the answer is that of a
session that does not exist. And the stored session is bound to its owner on first write, which the library checks at
every operation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from .errors import RequestError
from .request import Request

_SCOPED = re.compile(r"@[0-9a-f]{32}\Z")


def caller(event: Mapping[str, Any]) -> str | None:
    """Who sends an HTTP event, from what its authorizer verified and nothing else; None without an authorizer.

    An IAM principal is known by the unique id of its user or role, which is never given to another, unlike names. The
    part after the colon is the session's name, which who assumes a role may choose.
    """
    authorizer = _mapping(_mapping(event.get("requestContext")).get("authorizer"))
    iam, claims = _mapping(authorizer.get("iam")), _mapping(_mapping(authorizer.get("jwt")).get("claims"))
    identity = _mapping(iam.get("cognitoIdentity")).get("identityId")
    if _is_name(identity):
        return f"cognito:{identity}"
    if _is_name(principal := str(iam.get("userId") or "").partition(":")[0]):
        return f"iam:{principal}"
    if _is_name(subject := claims.get("sub")):
        return f"jwt:{claims.get('iss', '')} {subject}"
    return None


def checked_owner(request: Request, *, required: bool) -> str | None:
    """The owner for whom a request is served; None to work on sessions that belong to nobody.

    Raises:
        RequestError: There has to be an owner and none is known.
    """
    if request.owner is None and required:
        raise RequestError(401, "whose session is it? A direct invocation states an owner, HTTP needs an authorizer")
    return request.owner


def stored_id(session_id: str, owner: str | None) -> str:
    """The id under which an owner's session is stored.

    Raises:
        RequestError: A caller without an owner names an id of the form that owners' sessions are stored under.
    """
    if owner is not None:
        return f"{session_id}@{hashlib.sha256(owner.encode()).hexdigest()[:32]}"
    if _SCOPED.search(session_id):
        raise RequestError(400, "session_id ends like the stored id of somebody's session")
    return session_id


def public_id(stored: str, owner: str | None) -> str:
    """The id by which an owner knows a session that is stored under another."""
    return stored if owner is None else _SCOPED.sub("", stored)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
