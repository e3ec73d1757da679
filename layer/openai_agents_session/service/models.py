"""The models that an agent can think with, by the name of their provider."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from agents import Model
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from .endpoint import EndpointError, EndpointModel
from .keys import ApiKey
from .settings import Settings

if TYPE_CHECKING:
    from .bedrock import Endpoint, RoleCredentials

LONGEST_RETRY_WAIT_SECONDS = 3.0

_END = re.compile(rb'data: ?(?:\[DONE\]|.*"finish_reason": ?")')
"""What an end looks like. Quotation marks in what a model says are escaped, and cannot be mistaken for it."""

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


def bedrock_model(settings: Settings) -> Model:
    """One of Bedrock's runtime endpoint, by chat completions: the interface that all of its open models have."""
    client, credentials = _bedrock_client("runtime", settings)
    return EndpointModel(OpenAIChatCompletionsModel(settings.model_name, client), credentials.forget)


def mantle_model(settings: Settings) -> Model:
    """One of Bedrock's mantle endpoint, by the Responses API."""
    client, credentials = _bedrock_client("mantle", settings)
    return EndpointModel(OpenAIResponsesModel(settings.model_name, client), credentials.forget)


PROVIDERS: Mapping[str, MakeModel] = {
    "openai": openai_model,
    "compatible": compatible_model,
    "bedrock": bedrock_model,
    "bedrock-mantle": mantle_model,
}


def _bedrock_client(endpoint: Endpoint, settings: Settings) -> tuple[AsyncOpenAI, RoleCredentials]:
    from .bedrock import RoleCredentials, client  # loads botocore's signers, which other providers do without

    credentials = RoleCredentials()
    return client(endpoint, credentials, settings.base_url, http_client()), credentials


def _client(settings: Settings) -> tuple[AsyncOpenAI, ApiKey]:
    key = ApiKey(settings)
    return AsyncOpenAI(api_key=key, base_url=settings.base_url, http_client=http_client()), key


def http_client() -> DefaultAsyncHttpxClient:
    """A client that neither waits long for a retry nor takes a part of an answer for the whole."""
    return DefaultAsyncHttpxClient(event_hooks={"response": [_retry_soon_or_not, _watch_its_end]})


async def _retry_soon_or_not(response: Any) -> None:
    """The client obeys a Retry-After of up to two minutes, in which the caller would rather be told."""
    with contextlib.suppress(ValueError):
        if float(response.headers.get("retry-after", "0")) > LONGEST_RETRY_WAIT_SECONDS:
            response.headers["x-should-retry"] = "false"


async def _watch_its_end(response: Any) -> None:
    """The SDK takes a stream of chat completions for whole wherever it ends, unless it comes from OpenAI itself."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream") and response.url.path.endswith("/chat/completions"):
        pieces = response.aiter_bytes
        response.aiter_bytes = lambda *size: whole(pieces(*size))


async def whole(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a stream of chat completions, which says by itself that it has come to its end.

    It does so by a finish reason, as the interface has it, or by its last line, where an endpoint gives no reason.

    Args:
        pieces: The bytes of its server-sent events, cut anywhere.

    Raises:
        EndpointError: They have ended, and the answer has not.
    """
    ended, rest = False, b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        ended = ended or any(_END.match(line) for line in lines)
        yield piece
    if not ended and not _END.match(rest):
        raise EndpointError("the stream ended before the answer did")
