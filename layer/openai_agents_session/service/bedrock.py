"""Amazon Bedrock's models by the function's role: no key, each request is signed.

=====================  ========================================  =========================  ===========================
provider               endpoint                                  interface                  the role needs
=====================  ========================================  =========================  ===========================
``bedrock``            ``bedrock-runtime.{region}``              chat completions           ``bedrock:InvokeModel``,
                                                                                            ``...WithResponseStream``
``bedrock-mantle``     ``bedrock-mantle.{region}``               Responses                  ``bedrock-mantle:``
                                                                                            ``CreateInference``
=====================  ========================================  =========================  ===========================

The client is OpenAI's, which signs a request, its retries included, right before it is sent.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from botocore.credentials import Credentials
from botocore.session import Session
from openai import AsyncOpenAI
from openai.providers import bedrock

Endpoint = Literal["runtime", "mantle"]


class RoleCredentials:
    """The credentials of the function's role as they are now: an environment's are renewed, and may be rotated."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def __call__(self) -> Any:
        """The credentials; None if there are none."""
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN") or None)
        # Elsewhere, such as in an environment that was restored from a snapshot, botocore knows where they are.
        self._session = self._session or Session()
        return self._session.get_credentials()

    def forget(self) -> bool:
        """Load them anew at the next request, since they were refused."""
        self._session = None
        return True


def client(endpoint: Endpoint, credentials: RoleCredentials, base_url: str | None, http_client: Any) -> AsyncOpenAI:
    """A client of one of Bedrock's endpoints, in the function's region.

    Args:
        endpoint: Which one.
        credentials: Asked at every request.
        base_url: Another place than AWS's own.
        http_client: What sends the requests.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    # A bearer token in the environment would go before the role: api_key=None keeps it out.
    provider = bedrock(
        endpoint=endpoint, region=region, base_url=base_url, api_key=None, credential_provider=credentials
    )
    return AsyncOpenAI(provider=provider, http_client=http_client)
