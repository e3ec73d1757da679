"""A model endpoint as Bedrock's: what the strict model serves, to requests that AWS's Signature Version 4 signs.

with SignedModel("bedrock") as model:
    model.secrets = {"ASIA1": ("secret", "token")}       # rotate: give others
    ...                               # MODEL_PROVIDER=bedrock, MODEL_BASE_URL=model.base_url, AWS_ACCESS_KEY_ID=ASIA1
    assert model.refused == []

The signature is computed here from AWS's description of the algorithm, and not by the library that clients sign with.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote

from tools.emulation.server import read_body, write
from tools.emulation.strict_model import StrictModel

PREFIX = "/openai"
MAX_SKEW = timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<date>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})\Z"
)


class SignedModel(StrictModel):
    """A model server that lets nobody in but holders of its credentials.

    Args:
        service: The service's name in the signature, ``bedrock`` or ``bedrock-mantle``.
        region: The region in it.

    Attributes:
        secrets: Secret and session token (empty for long-lived keys) by access key.
        refused: Why requests were refused.
        accepted: The access keys of those that were not.
    """

    def __init__(self, service: str, region: str = "us-east-1") -> None:
        super().__init__()
        self._scope = (region, service)
        self.secrets: dict[str, tuple[str, str]] = {}
        self.refused: list[str] = []
        self.accepted: list[str] = []

    @property
    def base_url(self) -> str:
        """For MODEL_BASE_URL."""
        return f"{self.url}{PREFIX}/v1"

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = read_body(request)
        reason, key = refusal(request, body, self._scope, self.secrets)
        if reason:
            self.refused.append(reason)
            write(request, 403, json.dumps({"message": reason}).encode(), {"content-type": "application/json"})
            return
        self.accepted.append(key)
        request.rfile = io.BytesIO(body)
        request.path = request.path.removeprefix(PREFIX)
        super()._serve(request)


def refusal(
    request: BaseHTTPRequestHandler, body: bytes, scope: tuple[str, str], secrets: Mapping[str, tuple[str, str]]
) -> tuple[str, str]:
    """Why a request is refused, or by whose key it is signed.

    Args:
        request: The request.
        body: Its body.
        scope: Region and service that it has to be signed for.
        secrets: Secret and session token (empty for long-lived keys) by access key.

    Returns:
        The reason, empty if there is none, and the access key.
    """
    found = _AUTHORIZATION.match(request.headers.get("authorization", ""))
    if found is None:
        return "Missing Authentication Token", ""
    key, names = found["key"], found["headers"].split(";")
    if key not in secrets:
        return "The security token included in the request is invalid", key
    secret, token = secrets[key]
    return _why(request, body, found, scope, names, secret, token), key


def _why(
    request: BaseHTTPRequestHandler,
    body: bytes,
    found: re.Match[str],
    scope: tuple[str, str],
    names: list[str],
    secret: str,
    token: str,
) -> str:
    if (found["region"], found["service"]) != scope:
        return f"Credential should be scoped to {scope}"
    if token != (request.headers.get("x-amz-security-token") or "") or (token and _TOKEN not in names):
        return "The security token included in the request is expired"
    stamp = request.headers.get("x-amz-date", "")
    if abs(datetime.strptime(f"{stamp}+0000", "%Y%m%dT%H%M%SZ%z") - datetime.now(UTC)) > MAX_SKEW:
        return "Signature expired"
    if not {"host", "x-amz-date"} <= set(names):
        return "host and x-amz-date must be signed"
    if not hmac.compare_digest(found["signature"], _signature(request, body, found, secret)):
        return "The request signature we calculated does not match the signature you provided"
    return ""


_TOKEN = "x-amz-security-token"  # noqa: S105 - a header's name


def _signature(request: BaseHTTPRequestHandler, body: bytes, found: re.Match[str], secret: str) -> str:
    names = found["headers"].split(";")
    headers = "".join(f"{name}:{' '.join((request.headers.get(name) or '').split())}\n" for name in names)
    path, _, query = request.path.partition("?")
    canonical = [request.command, quote(path), query, headers, found["headers"], hashlib.sha256(body).hexdigest()]
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, hashed])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
