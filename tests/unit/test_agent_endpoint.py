"""A model behind any endpoint gives an answer or one clear error, whole and streamed; a refused key is read anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import (
    Agent,
    AgentsException,
    Model,
    ModelResponse,
    Runner,
    SQLiteSession,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI, AuthenticationError, OpenAIError
from openai.types.responses import Response

from openai_agents_session import turns
from openai_agents_session.service.endpoint import (
    TURN_RESERVE_SECONDS,
    EndpointError,
    EndpointModel,
    ModelTimeoutError,
    NoAnswerError,
)
from openai_agents_session.service.models import http_client
from tools.emulation import strict_faults
from tools.emulation.strict_model import StrictModel
from tools.emulation.strict_script import Reply, by_turn, calls_with, each, says, thinks

HIGH, LOW = "\ud83d", "\ude00"
Ask = Callable[..., Any]


set_tracing_disabled(True)


@function_tool
def look_up(key: str = "") -> str:
    """Look something up."""
    return f"{key} is 42"


@asynccontextmanager
async def agent_of(model: StrictModel, interface: str, keys: list[str] | None = None) -> AsyncIterator[Agent[None]]:
    stored = keys or ["sk-good"]

    async def key() -> str:
        return stored[0]

    def forget() -> bool:
        return bool(stored.pop(0)) if len(stored) > 1 else False

    kinds: Any = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
    async with AsyncOpenAI(api_key=key, base_url=model.base_url, max_retries=0, http_client=http_client()) as client:
        yield Agent(name="test", model=EndpointModel(kinds[interface]("m", client), forget), tools=[look_up])


@pytest.fixture(params=["responses", "chat"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


async def answered(agent: Agent[None], *, streamed: bool, session: Any = None) -> tuple[str, str]:
    """The answer, and the text that the pieces of a stream make."""
    if not streamed:
        answer = str((await Runner.run(agent, "Hello", session=session)).final_output)
        return answer, answer
    result = Runner.run_streamed(agent, "Hello", session=session)
    pieces = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    return str(result.final_output), "".join(pieces)


FAULTS = ["HTML", "HTML_502", "CUT_JSON", "EMPTY", "LIST", "NULL", "ERROR_200", "SERVER_ERROR"]
BROKEN = strict_faults.Broken(events=2)


@pytest.mark.parametrize("fault", [*(getattr(strict_faults, name) for name in FAULTS), BROKEN], ids=[*FAULTS, "BROKEN"])
async def test_what_is_no_answer_is_an_error_of_the_sdk_or_the_client(
    model: StrictModel, interface: str, streamed: bool, fault: Any
) -> None:
    model.script = lambda _: fault
    async with agent_of(model, interface) as agent:
        with pytest.raises((AgentsException, OpenAIError)):
            await answered(agent, streamed=streamed)


@pytest.mark.parametrize("reply", [says("Half of this."), calls_with("look_up", '{"key": "x"}')], ids=["text", "call"])
@pytest.mark.parametrize("events", range(1, 4))
async def test_a_stream_that_ends_before_its_answer_does_is_an_error(
    model: StrictModel, interface: str, events: int, reply: Reply
) -> None:
    model.script = lambda _: strict_faults.Broken(reply, events, cleanly=True)
    async with agent_of(model, interface) as agent:
        with pytest.raises((AgentsException, OpenAIError)):
            await answered(agent, streamed=True)


@pytest.mark.parametrize("fault", [strict_faults.Hang(), strict_faults.Broken(events=2, hangs=True)])
async def test_a_model_that_hangs_is_given_up_before_its_turn_is_stopped(
    model: StrictModel, interface: str, streamed: bool, fault: Any
) -> None:
    model.script = lambda _: fault
    loop = asyncio.get_running_loop()
    stop = turns._stop.set(loop.time() + TURN_RESERVE_SECONDS + 0.3)
    try:
        async with agent_of(model, interface) as agent:
            with pytest.raises(ModelTimeoutError):
                await answered(agent, streamed=streamed)
        assert 0 < (turns.seconds_left() or 0) <= TURN_RESERVE_SECONDS
    finally:
        turns._stop.reset(stop)


async def test_a_model_may_take_its_time_outside_of_a_turn(model: StrictModel, interface: str, streamed: bool) -> None:
    model.script = lambda _: says("At last.").late(0.6)
    async with agent_of(model, interface) as agent:
        assert await answered(agent, streamed=streamed) == ("At last.", "At last.")


@pytest.mark.parametrize("reply", [thinks(), Reply(())], ids=["reasoning alone", "nothing"])
async def test_an_answer_that_says_nothing_is_an_error_and_is_not_stored(
    model: StrictModel, interface: str, streamed: bool, reply: Reply
) -> None:
    model.script = lambda _: reply
    session = SQLiteSession("test")
    async with agent_of(model, interface) as agent:
        with pytest.raises(AgentsException):
            await answered(agent, streamed=streamed, session=session)
    items = await session.get_items()
    session.close()
    assert [item.get("role") for item in items] == ["user"]


async def test_nothing_said_whole_has_an_error_of_its_own(model: StrictModel) -> None:
    model.script = lambda _: thinks()
    async with agent_of(model, "responses") as agent:
        with pytest.raises(NoAnswerError):
            await answered(agent, streamed=False)


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("A 😀.", ("A ", HIGH, LOW, "."), "A 😀."),
        ("A 😀.", (f"A {HIGH}", f"{LOW}."), "A 😀."),
        (f"A {HIGH}.", ("A ", HIGH, "."), "A \ufffd."),
        (f"A {LOW}.", (f"A {LOW}", "."), "A \ufffd."),
        (f"A {HIGH}", ("A ", HIGH), "A \ufffd"),
    ],
)
async def test_text_is_unicode_however_it_is_divided(
    model: StrictModel, interface: str, streamed: bool, text: str, pieces: tuple[str, ...], expected: str
) -> None:
    model.script = lambda _: says(text, *pieces)
    async with agent_of(model, interface) as agent:
        answer, shown = await answered(agent, streamed=streamed)
    assert answer == expected
    assert shown in (expected, expected.removesuffix("\ufffd"))


@pytest.mark.parametrize("arguments", [f'{{"key": "{HIGH}"}}', '{"key": "\\ud83d"}', "{broken", "", "[1]"])
async def test_arguments_of_any_kind_lead_to_a_valid_next_request(
    model: StrictModel, interface: str, streamed: bool, arguments: str
) -> None:
    model.script = by_turn(calls_with("look_up", arguments), says("Done."))
    async with agent_of(model, interface) as agent:
        assert (await answered(agent, streamed=streamed))[0] == "Done."
    assert model.refusals == []


async def test_a_refused_key_is_read_anew_once(model: StrictModel, interface: str, streamed: bool) -> None:
    model.keys = {"sk-new"}
    async with agent_of(model, interface, ["sk-old", "sk-new"]) as agent:
        assert (await answered(agent, streamed=streamed))[0] == "You said: Hello"
    async with agent_of(model, interface, ["sk-old", "sk-older", "sk-new"]) as agent:
        with pytest.raises(AuthenticationError):
            await answered(agent, streamed=streamed)


async def test_an_answer_as_it_should_be_is_passed_on_as_it_is(
    model: StrictModel, interface: str, streamed: bool
) -> None:
    model.script = each(says("Hello 😀 to you."))
    async with agent_of(model, interface) as agent:
        assert await answered(agent, streamed=streamed) == ("Hello 😀 to you.", "Hello 😀 to you.")


class Strange(Model):
    """Answers, as the client makes it, with an annotation that it does not know beside half a surrogate pair."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        text = {"type": "output_text", "text": f"Yes. {HIGH}", "annotations": [{"type": "novel", "of": 1}]}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
        return ModelResponse(Response.construct(output=[message]).output, Usage(), None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_text_is_mended_beside_what_the_client_does_not_know() -> None:
    """What a provider has that is newer than the client is no error, also where its text is not Unicode."""
    result = await Runner.run(Agent(name="test", model=EndpointModel(Strange())), "Hello")
    assert result.final_output == "Yes. \ufffd"
    (answer,) = result.raw_responses[0].to_input_items()
    assert answer["content"][0]["annotations"] == [{"type": "novel", "of": 1}]  # type: ignore[typeddict-item,index]


async def test_whatever_is_wrong_with_an_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that cannot be read after the client has read it is an error of the endpoint's, too."""

    def broken(_: Any) -> Any:
        raise ValueError("what was said")

    monkeypatch.setattr("openai_agents_session.service.endpoint._cleaned", broken)
    with pytest.raises(EndpointError, match="ValueError"):
        await Runner.run(Agent(name="test", model=EndpointModel(Strange())), "Hello")
