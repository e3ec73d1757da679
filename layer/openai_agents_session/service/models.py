"""The models that an agent can think with, by the name of their provider."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from agents import Model
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from .endpoint import EndpointModel
from .keys import ApiKey
from .settings import Settings

LONGEST_RETRY_WAIT_SECONDS = 3.0

MakeModel = Callable[[Settings], Model]


def build_model(settings: Settings, others: Mapping[str, MakeModel] | None = None) -> Model:
    """The model that the settings ask for.

    Args:
        settings: They name the provider.
        others: What makes the models of providers that are not known here, by name.

    Raises:
        ValueError: Nobody knows the provider.
    """
    known = {**PROVIDERS, **(others or {})}
    if settings.provider not in known:
        raise ValueError(f"MODEL_PROVIDER must be one of {', '.join(known)}, not {settings.provider!r}")
    return known[settings.provider](settings)


def openai_model(settings: Settings) -> Model:
    """OpenAI's, by the Responses API."""
    client, key = _client(settings)
    return EndpointModel(OpenAIResponsesModel(settings.model_name, client), key.forget)


def compatible_model(settings: Settings) -> Model:
    """Any endpoint's that speaks OpenAI's chat API."""
    if not settings.base_url:
        raise ValueError("MODEL_BASE_URL must name the endpoint when MODEL_PROVIDER is compatible")
    client, key = _client(settings)
    return EndpointModel(OpenAIChatCompletionsModel(settings.model_name, client), key.forget)


PROVIDERS: Mapping[str, MakeModel] = {"openai": openai_model, "compatible": compatible_model}


def _client(settings: Settings) -> tuple[AsyncOpenAI, ApiKey]:
    key = ApiKey(settings)
    return AsyncOpenAI(api_key=key, base_url=settings.base_url, http_client=http_client()), key


def http_client() -> DefaultAsyncHttpxClient:
    """A client whose pauses before it tries again are short."""
    return DefaultAsyncHttpxClient(event_hooks={"response": [_retry_soon_or_not]})


async def _retry_soon_or_not(response: Any) -> None:
    """The client obeys a Retry-After of up to two minutes, in which the caller would rather be told."""
    with contextlib.suppress(ValueError):
        if float(response.headers.get("retry-after", "0")) > LONGEST_RETRY_WAIT_SECONDS:
            response.headers["x-should-retry"] = "false"
