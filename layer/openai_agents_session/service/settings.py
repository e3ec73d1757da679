"""What the function is told through environment variables, read at the first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

DEFAULT_PROVIDER = "openai"
DEFAULT_MODEL = "gpt-5-mini"


@dataclass(frozen=True)
class Settings:
    """Which model answers.

    Attributes:
        provider: Whose model it is, by a name that `models.build_model` knows, such as "openai".
        model_name: The model's name at its provider.
        base_url: Where a compatible endpoint listens.
        api_key_secret: Name or ARN of the Secrets Manager secret that holds the API key as plain text.
        api_key_parameter: Name or ARN of the SSM parameter (SecureString) that holds it.
    """

    provider: str
    model_name: str = DEFAULT_MODEL
    base_url: str | None = None
    api_key_secret: str | None = None
    api_key_parameter: str | None = None

    @property
    def model(self) -> str:
        """What answers are said to come from."""
        return "offline" if self.provider == "offline" else self.model_name

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from environment variables (the process's own by default); empty ones count as unset."""
        variables = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        return cls(
            provider=variables.get("MODEL_PROVIDER", DEFAULT_PROVIDER),
            model_name=variables.get("MODEL_NAME", DEFAULT_MODEL),
            base_url=variables.get("MODEL_BASE_URL"),
            api_key_secret=variables.get("OPENAI_API_KEY_SECRET"),
            api_key_parameter=variables.get("OPENAI_API_KEY_PARAMETER"),
        )


@dataclass(frozen=True)
class ServiceSettings:
    """How the function serves.

    Attributes:
        owner_required: Whether every request must have an owner. Otherwise those without work on sessions of nobody's.
        lease_wait_seconds: How long a turn waits for another of the same session before it is refused.
        log_content: Whether what is said may be logged.
        history_limit: How many of the newest items the model reads; None for all.
        allow_anonymous: Whether HTTP without an authorizer is served, on sessions of nobody's: for local runs.
        owner_claims: The claims of a token that name its owner, in their order; see `identity`.
        durable_function: ARN of an alias or a version of the function for turns that outlive their invocation, if
            there is one.
        supervisors: Who may approve other people's calls; see `identity.is_supervisor`. Empty: whoever asked approves.
    """

    owner_required: bool = False
    lease_wait_seconds: float = 5.0
    log_content: bool = False
    history_limit: int | None = None
    allow_anonymous: bool = False
    owner_claims: tuple[str, ...] = ("sub",)
    supervisors: str = ""
    durable_function: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from environment variables (the process's own by default); empty ones count as unset.

        Raises:
            ValueError: A variable is wrong; the message names it.
        """
        variables = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
        return cls(
            owner_required=_flag(variables, "OWNER_REQUIRED"),
            lease_wait_seconds=_seconds(variables, "LEASE_WAIT_SECONDS", 5),
            log_content=_flag(variables, "LOG_CONTENT"),
            history_limit=_items(variables, "HISTORY_LIMIT"),
            allow_anonymous=_flag(variables, "ALLOW_ANONYMOUS"),
            owner_claims=_names(variables, "OWNER_CLAIMS", ("sub",)),
            supervisors=_claim(variables, "SUPERVISORS"),
            durable_function=variables.get("DURABLE_FUNCTION"),
        )


def _flag(variables: Mapping[str, str], name: str) -> bool:
    value = variables.get(name, "false").lower()
    if value not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return value == "true"


def _seconds(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 7 * 86_400:
        raise ValueError(f"{name} must be a number of seconds, not {text!r}")
    return seconds


def _items(variables: Mapping[str, str], name: str) -> int | None:
    text = variables.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{name} must be a number of items, 0 for all, not {text!r}")
    return int(text) or None


def _names(variables: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(part.strip() for part in variables.get(name, "").split(",") if part.strip())
    return names or default


def _claim(variables: Mapping[str, str], name: str) -> str:
    text = variables.get(name, "")
    claim, _, value = text.partition("=")
    if text and not (claim and value):
        raise ValueError(f"{name} must be a claim and its value, such as cognito:groups=approvers, not {text!r}")
    return text
