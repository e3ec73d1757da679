"""A model as its endpoint may be: it is sent what it can take, and what comes back is an answer or one clear error.

    history --> sendable --> [ the SDK's model ] --> Unicode --> an answer, or NoAnswerError
                                   |
                                   +-- a key that is refused: read anew, once
                                   |-- no answer in time: ModelTimeoutError
                                   '-- anything but an answer: EndpointError

What a provider's client makes of HTML, cut JSON, or an error with status 200 differs from one model class to the next,
and from whole answers to streams: attribute errors, validation errors, or an empty answer. Here they become one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agents import AgentsException, Model, ModelResponse, ModelSettings
from openai import AuthenticationError, OpenAIError, PermissionDeniedError

from ..turns import seconds_left
from .keys import KeyUnavailableError
from .sendable import clean, clean_arguments, sendable, unicode

if TYPE_CHECKING:
    from agents.items import TResponseInputItem, TResponseOutputItem, TResponseStreamEvent

Forget = Callable[[], bool]

TURN_RESERVE_SECONDS = 0.5
"""What is left of the turn, when a model is given up, for ending it in order."""

_FINAL = ("response.completed", "response.incomplete")
_DELTAS = ("response.output_text.delta", "response.refusal.delta")


class EndpointError(AgentsException):
    """The endpoint gave no answer of the form that its interface documents."""


class ModelTimeoutError(AgentsException):
    """The model has not answered before the turn has to end."""


class NoAnswerError(AgentsException):
    """The model answered, but neither said nor did anything."""


class EndpointModel(Model):
    """A model that the SDK can rely on.

    Args:
        model: The SDK's.
        forget_key: Forgets the key that was read; False if there is nothing to read anew.
    """

    def __init__(self, model: Model, forget_key: Forget = lambda: False) -> None:
        self._model = model
        self._forget_key = forget_key

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        *rest: Any,
        **options: Any,
    ) -> ModelResponse:
        """Ask the model."""
        items = _sendable(input)
        async with _in_time():
            with _understood():
                response = await self._asked_twice(system_instructions, items, *rest, **options)
                response.output = [_cleaned(item) for item in response.output]
                _check(response.output)
        return response

    async def _asked_twice(self, *request: Any, **options: Any) -> ModelResponse:
        try:
            return await self._model.get_response(*request, **options)
        except (AuthenticationError, PermissionDeniedError):
            if not self._forget_key():
                raise
            return await self._model.get_response(*request, **options)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        *rest: Any,
        **options: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Ask the model, and follow its answer."""
        rest, options = _with_usage(rest, options)
        request = (system_instructions, _sendable(input), *rest)
        pieces = Pieces()
        began = False
        for last_attempt in (False, True):
            try:
                with _understood():
                    async for event in _each_in_time(self._model.stream_response(*request, **options)):
                        began = True
                        for ready in pieces.take(event):
                            yield ready
                break
            except (AuthenticationError, PermissionDeniedError):
                if began or last_attempt or not self._forget_key():
                    raise
        if not pieces.ended:
            raise EndpointError("the stream ended before the answer did")


def _with_usage(rest: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that ask for what a stream has used, unless the agent's settings say otherwise.

    The SDK asks OpenAI alone. An endpoint that refuses to be asked needs ``ModelSettings(include_usage=False)``.
    """

    def asking(settings: Any) -> Any:
        is_open = isinstance(settings, ModelSettings) and settings.include_usage is None
        return replace(settings, include_usage=True) if is_open else settings

    return tuple(map(asking, rest)), {name: asking(value) for name, value in options.items()}


class Pieces:
    """The events of a stream, their text made Unicode: a piece that ends within a surrogate pair waits for the next.

    Attributes:
        ended: Whether the answer came to its end.
    """

    def __init__(self) -> None:
        self.ended = False
        self._half = ""

    def take(self, event: Any) -> list[Any]:
        """The events to pass on now that this one has come.

        Raises:
            NoAnswerError: It ends an answer that is none.
        """
        if event.type in _DELTAS:
            text = self._half + event.delta
            self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
            ready = unicode(text[: len(text) - len(self._half)])
            return [event.model_copy(update={"delta": ready})] if ready else []
        if event.type in _FINAL:
            event.response.output = [_cleaned(item) for item in event.response.output]
            _check(event.response.output)
            self.ended = True
        elif event.type == "response.output_item.done":
            event.item = _cleaned(event.item)
        return [event]


def _sendable(given: str | list[TResponseInputItem]) -> str | list[TResponseInputItem]:
    return unicode(given) if isinstance(given, str) else sendable(given)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Stop waiting for a model a little before the turn is stopped: the turn then ends with an error that says so."""
    left = seconds_left()
    try:
        async with asyncio.timeout(None if left is None else left - TURN_RESERVE_SECONDS) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ModelTimeoutError("the model has not answered in the turn's time") from error


async def _each_in_time(events: AsyncIterator[TResponseStreamEvent]) -> AsyncIterator[TResponseStreamEvent]:
    while True:
        async with _in_time():  # not around the loop: what is done with an event is no part of it
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
        yield event


@contextmanager
def _understood() -> Iterator[None]:
    """Let the errors of the SDK and the client through; whatever else is raised, the endpoint answered nonsense."""
    try:
        yield
    except (AgentsException, OpenAIError, KeyUnavailableError):
        raise
    except Exception as error:
        raise EndpointError(f"the endpoint's answer could not be read: {type(error).__name__}") from error


def _cleaned(item: TResponseOutputItem) -> TResponseOutputItem:
    """An item of an answer, all its text Unicode."""
    content = item.model_dump(exclude_unset=True, warnings=False)
    cleaned = clean(content)
    if isinstance(cleaned.get("arguments"), str):
        cleaned["arguments"] = clean_arguments(cleaned["arguments"])
    # As the client makes it: what it does not know is no error.
    return item if cleaned == content else type(item).construct(**cleaned)


def _check(output: list[TResponseOutputItem]) -> None:
    if all(item.type == "reasoning" for item in output):
        raise NoAnswerError("the model answered nothing")
