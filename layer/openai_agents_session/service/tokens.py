"""Who a token is about: for the function that streams, in front of which there is no authorizer that knows tokens.

The rules are those of an HTTP API's JWT authorizer: signed by a key of the issuer's, not expired, of this issuer, and
for one of the audiences (``aud``, or ``client_id`` where there is none). The claims are then what that authorizer
gives.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jwt

from .errors import RequestError

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""Those with a public key: a token that is signed with a shared secret says nothing."""

LEEWAY_SECONDS = 30
TIMEOUT_SECONDS = 5
TOKEN_HEADER = "x-agent-token"  # noqa: S105 - a header's name
"""Where the token is if something in front of the function signs requests, for which it needs ``Authorization``."""


class Tokens:
    """Verifies tokens of an issuer.

    Args:
        issuer: Its URL, as tokens have it.
        audiences: For whom a token may be.
    """

    def __init__(self, issuer: str, audiences: tuple[str, ...]) -> None:
        self._issuer = issuer
        self._audiences = audiences

    @cached_property
    def provider(self) -> Mapping[str, Any]:
        """What the issuer says about itself (OpenID Connect Discovery).

        Raises:
            OSError: It does not answer.
        """
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the operator's own URL
            found: Mapping[str, Any] = json.load(answer)
        return found

    @cached_property
    def _keys(self) -> jwt.PyJWKClient:
        return jwt.PyJWKClient(str(self.provider["jwks_uri"]), timeout=TIMEOUT_SECONDS)

    @property
    def sign_in(self) -> dict[str, str]:
        """What a page needs to sign people in."""
        names = ("authorization_endpoint", "token_endpoint")
        return {"client_id": self._audiences[0]} | {name: str(self.provider[name]) for name in names}

    def claims(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """The claims of a request's token.

        Args:
            headers: The request's, their names in lower case.

        Raises:
            RequestError: There is no token, or it is not valid; or the issuer does not answer.
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        token = headers.get(TOKEN_HEADER) or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not token:
            raise RequestError(401, "a token is needed: Authorization: Bearer ...", code="no_token")
        try:
            key = self._keys.get_signing_key_from_jwt(token)
            claims = self._decoded(token, key)
        except (OSError, jwt.PyJWKClientConnectionError) as error:
            raise RequestError(503, "the tokens' issuer does not answer", retry_after=1) from error
        except (jwt.PyJWTError, ValueError) as error:
            raise RequestError(401, "the token is not valid, or has expired", code="token_refused") from error
        if not self._is_for_us(claims):
            raise RequestError(401, "the token is for another application", code="token_refused")
        return claims

    def _decoded(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        options: Any = {"require": ["exp", "iss"], "verify_aud": False}
        decoded: dict[str, Any] = jwt.decode(
            token, key, algorithms=list(ALGORITHMS), issuer=self._issuer, leeway=LEEWAY_SECONDS, options=options
        )
        return decoded

    def _is_for_us(self, claims: Mapping[str, Any]) -> bool:
        meant = claims["aud"] if "aud" in claims else claims.get("client_id")
        named = meant if isinstance(meant, list) else [meant]
        return any(name in self._audiences for name in named)
