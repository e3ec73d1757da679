"""An issuer of tokens, as OpenID Connect has it: its discovery document, its keys, and tokens signed with them.

with Issuer() as issuer:
    token = issuer.token(sub="ada", aud="page")
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa


class Issuer:
    """An issuer on a free port of 127.0.0.1.

    Attributes:
        key_id: The id of its key.
    """

    key_id = "key-1"

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def url(self) -> str:
        """The issuer, as tokens name it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def token(self, **claims: Any) -> str:
        """A token of this issuer that is good for an hour; claims that are None are left out."""
        given = {"iss": self.url, "iat": time.time(), "exp": time.time() + 3600} | claims
        content = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(content, self._key, "RS256", headers={"kid": self.key_id})

    def documents(self) -> dict[str, Any]:
        """What it answers to, by path."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {
            "/.well-known/openid-configuration": {name: f"{self.url}{path}" for name, path in endpoints.items()},
            "/keys": {"keys": [key | {"kid": self.key_id, "use": "sig", "alg": "RS256"}]},
        }

    def __enter__(self) -> Self:
        """Start to listen."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = issuer.documents().get(self.path)
                body = json.dumps(found).encode()
                self.send_response(200 if found else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
