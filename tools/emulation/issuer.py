"""An issuer of tokens, as OpenID Connect has it: its discovery document, its keys, and tokens signed with them.

with Issuer() as issuer:
    token = issuer.token(sub="ada", aud="page")
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.emulation.server import LocalServer, read_body, write


class Issuer(LocalServer):
    """An issuer on a free port of 127.0.0.1.

    Attributes:
        key_id: The id of its key.
        user: Who signs in next.
    """

    key_id = "key-1"
    takes_get = True

    def __init__(self) -> None:
        super().__init__()
        self.user = "ada"
        self._codes: dict[str, Mapping[str, str]] = {}
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, **claims: Any) -> str:
        """A token of this issuer that is good for an hour; claims that are None are left out."""
        given = {"iss": self.url, "iat": time.time(), "exp": time.time() + 3600} | claims
        content = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(content, self._key, "RS256", headers={"kid": self.key_id})

    def authorized(self, asked: Mapping[str, str]) -> str:
        """Where somebody who signs in goes: back, with a code for the application that asked."""
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchanged(self, asked: Mapping[str, str]) -> dict[str, str] | None:
        """The token for a code, if who brings it is who asked for it (PKCE)."""
        known = self._codes.pop(asked.get("code", ""), None)
        hashed = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        same = known and all(known[name] == asked.get(name) for name in ("client_id", "redirect_uri"))
        if not known or not same or known["code_challenge"] != challenge:
            return None
        return {"id_token": self.token(sub=self.user, aud=known["client_id"])}

    def documents(self) -> dict[str, Any]:
        """What it answers to, by path."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {
            "/.well-known/openid-configuration": {name: f"{self.url}{path}" for name, path in endpoints.items()},
            "/keys": {"keys": [key | {"kid": self.key_id, "use": "sig", "alg": "RS256"}]},
        }

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        if request.command == "POST":
            given = self.exchanged(dict(parse_qsl(read_body(request).decode())))
            self._answer(request, 200 if given else 400, given or {"error": "invalid_grant"})
        elif path == "/authorize":
            self._answer(request, 302, {}, location=self.authorized(dict(parse_qsl(query))))
        else:
            found = self.documents().get(path)
            self._answer(request, 200 if found else 404, found or {})

    def _answer(self, request: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
        sent = {"content-type": "application/json", "access-control-allow-origin": "*", **headers}
        write(request, status, json.dumps(body).encode(), sent)
