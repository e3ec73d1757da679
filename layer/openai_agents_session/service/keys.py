"""The key of the model's endpoint, from where the settings say: read when it is asked for, and anew when it is refused.

People store keys as plain text, with the newline that an editor adds, in quotes, or as the JSON object that the console
of Secrets Manager makes of them: ``{"OPENAI_API_KEY": "sk-…"}``. All are understood.
"""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider
    from botocore.config import Config

    from .settings import Settings

MAX_AGE_SECONDS = 300
STORE_SECONDS = 2.0
"""How long the key's store may take to accept a connection, and to answer; it is asked twice."""
NAMES = ("OPENAI_API_KEY", "api_key", "apiKey", "key")
"""The members that hold the key in a secret that is a JSON object of several."""


class KeyUnavailableError(Exception):
    """There is no key: it was not found, may not be read, or is none. Tells nothing that is secret."""


class ApiKey:
    """The key that a client asks for at every request.

    Args:
        settings: Where it is.
    """

    # One that waits for a store which hangs holds no thread that anything else needs.
    _thread = ThreadPoolExecutor(1, thread_name_prefix="key")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fresh = False

    async def __call__(self) -> str:
        """The key.

        Raises:
            KeyUnavailableError: There is none.
        """
        loop = asyncio.get_running_loop()
        key = await loop.run_in_executor(self._thread, read_api_key, self._settings, self._fresh)
        self._fresh = False
        return key

    def forget(self) -> bool:
        """Read it anew at the next request, since it was refused; False if it is in no store."""
        self._fresh = bool(self._settings.api_key_secret or self._settings.api_key_parameter)
        return self._fresh


def read_api_key(settings: Settings, fresh: bool = False) -> str:
    """The key, from where the settings say; a local run may have it in OPENAI_API_KEY instead.

    Args:
        settings: Where it is.
        fresh: Whether one that was read before does not count.

    Raises:
        KeyUnavailableError: There is none to be found.
    """
    stored = _stored(settings, fresh)
    if stored is not None:
        return key_in(stored)
    if key := os.environ.get("OPENAI_API_KEY"):
        return key
    if settings.provider == "compatible":
        return "none"  # many local endpoints ask for no key, and the client for any
    raise KeyUnavailableError("neither OPENAI_API_KEY_SECRET nor OPENAI_API_KEY_PARAMETER says where the API key is")


def _stored(settings: Settings, fresh: bool) -> str | None:
    from aws_lambda_powertools.utilities.parameters import GetParameterError

    options: dict[str, Any] = {"max_age": MAX_AGE_SECONDS, "force_fetch": fresh}
    try:
        if settings.api_key_secret:
            return str(_secrets().get(settings.api_key_secret, **options))
        if settings.api_key_parameter:
            return str(_parameters().get(settings.api_key_parameter, decrypt=True, **options))
    except GetParameterError as error:
        raise KeyUnavailableError("the API key could not be read from its store") from error
    return None


@cache
def _secrets() -> SecretsProvider:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

    return SecretsProvider(boto_config=_impatient())


@cache
def _parameters() -> SSMProvider:
    from aws_lambda_powertools.utilities.parameters import SSMProvider

    return SSMProvider(boto_config=_impatient())


def _impatient() -> Config:
    """A store that hangs would hold the thread for minutes: later turns would wait for the key in vain."""
    from botocore.config import Config

    seconds = STORE_SECONDS
    return Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 2, "mode": "standard"})


def key_in(stored: str) -> str:
    """The key in what is stored.

    Raises:
        KeyUnavailableError: There is none in it, or more than one.
    """
    text = stored.strip()
    if text[:1] not in ('"', "{", "["):
        return _checked(text)
    try:
        content = json.loads(text)
    except ValueError:
        return _checked(text.strip('"'))
    if isinstance(content, str):
        return _checked(content.strip())
    members = content if isinstance(content, dict) else {}
    named = [members[name] for name in NAMES if name in members] or (
        list(members.values()) if len(members) == 1 else []
    )
    return _checked(named[0].strip() if named and isinstance(named[0], str) else "")


def _checked(key: str) -> str:
    """A key that can stand in an HTTP header."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise KeyUnavailableError(f"what is stored as the API key is none; a JSON object has it under {NAMES[0]}")
    return key
