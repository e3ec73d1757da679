"""The offline model answers from the history it is given, and the settings choose the model."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal

import pytest
from agents import Agent, Runner, SQLiteSession

from agent import build_agent
from offline import SIGNATURE, OfflineModel
from openai_agents_session.service import running
from openai_agents_session.service.context import TurnContext
from openai_agents_session.service.endpoint import EndpointError
from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.keys import KeyUnavailableError, key_in, read_api_key
from openai_agents_session.service.models import whole
from openai_agents_session.service.settings import DEFAULT_MODEL, Settings
from openai_agents_session.service.setup import Setup

OFFLINE = Settings("offline")
SETUP = Setup(build_agent)
TIME: Any = None
CONTEXT = TurnContext("ada", None, "turn", TIME)


async def take_turn(settings: Any, session: Any, message: str) -> Any:
    """A turn on any session of the SDK's: without a journal, its steps are the SDK's own appends."""

    async def nothing(*_: Any) -> None:
        pass

    await session.add_items([{"content": message, "role": "user"}])
    session.step, session.output, session.answered = nothing, nothing, lambda _, **__: None
    return await running.take_turn(running.Work(SETUP, settings, CONTEXT), session)


async def converse(*messages: str) -> list[str]:
    session = SQLiteSession("test")
    answers = [(await take_turn(OFFLINE, session, message)).answer["answer"] for message in messages]
    session.close()
    return answers


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        (["Hello"], "Hello! I answer by a few rules"),
        (["My name is Ada."], "Nice to meet you, Ada."),
        (["My name is Ada.", "Fine weather.", "What is my name?"], "Your name is Ada."),
        (["My name is Ada.", "My name is Grace.", "Who am I?"], "Your name is Grace."),
        (["What is my name?"], "You have not told me your name yet."),
        (["I like tea.", "What did I say first?"], "“I like tea.”"),
        (["one", "two", "How many messages?"], "This is message 3"),
        (["one", "two"], "message 2"),
        (["What is 2 * (3 + 4)?"], "That makes 14."),
        (["What is 2 + 3?", "And that * 10?"], "That makes 50."),
        (["What is 1 / 0?"], "error"),
        (["Mein Name ist nicht wichtig 👋"], "Hello!"),
    ],
)
async def test_it_answers_from_the_history(messages: list[str], answer: str) -> None:
    assert answer in (await converse(*messages))[-1]


async def test_every_answer_says_that_it_is_the_offline_model() -> None:
    assert all(
        SIGNATURE in answer for answer in await converse("Hello", "My name is Ada.", "3 * 4", "one", "who am I?")
    )


async def test_the_same_conversation_gives_the_same_answers() -> None:
    messages = ["My name is Ada.", "What is 2 + 3?", "that * 2", "What did I say first?"]
    assert await converse(*messages) == await converse(*messages)


async def test_it_uses_the_tool_and_the_history_holds_call_and_output() -> None:
    session = SQLiteSession("test")
    await take_turn(OFFLINE, session, "What is 6 * 7?")
    await take_turn(OFFLINE, session, "What is that + 1?")
    items: list[Any] = list(await session.get_items())
    session.close()
    calls = [item for item in items if item.get("type") == "function_call"]
    outputs = [item for item in items if item.get("type") == "function_call_output"]
    assert [json.loads(call["arguments"]) for call in calls] == [{"expression": "6 * 7"}, {"expression": "42 + 1"}]
    assert [output["output"] for output in outputs] == ["42", "43"]
    assert len({call["call_id"] for call in calls}) == 2


async def test_streamed_it_says_the_same() -> None:
    agent = Agent(name="test", model=OfflineModel(), tools=build_agent(OFFLINE).tools)
    streamed = Runner.run_streamed(agent, "What is 6 * 7?")
    deltas = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == streamed.final_output == f"That makes 42. {SIGNATURE}"


def test_an_agent_is_made_once_for_the_same_settings() -> None:
    assert running.cast_of(SETUP, Settings("offline")) is running.cast_of(SETUP, Settings("offline"))


class _Endpoint(BaseHTTPRequestHandler):
    """Speaks both of OpenAI's interfaces, and repeats the last message."""

    requests: ClassVar[list[tuple[str, str | None]]] = []

    def do_POST(self) -> None:
        self.requests.append((self.path, self.headers["authorization"]))
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = _completion(request) if self.path.endswith("/chat/completions") else _response(request)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _completion(request: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"{request['model']} heard {request['messages'][-1]['content']}"}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": request["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


def _response(request: dict[str, Any]) -> dict[str, Any]:
    text = f"{request['model']} heard {request['input'][-1]['content']}"
    return {
        "id": "1",
        "object": "response",
        "created_at": 1,
        "model": request["model"],
        "status": "completed",
        "output": [
            {
                "id": "2",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
    }


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Endpoint.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK's client is made to live as long as the process
@pytest.mark.parametrize(("provider", "path"), [("compatible", "/v1/chat/completions"), ("openai", "/v1/responses")])
async def test_a_model_with_a_network_is_asked_with_its_name_and_the_key(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, provider: Literal["compatible", "openai"], path: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    session = SQLiteSession("test")
    turn = await take_turn(Settings(provider, "small", base_url=endpoint), session, "Hello")
    session.close()
    assert (turn.answer["answer"], turn.model) == ("small heard Hello", "small")
    assert (turn.usage.input_tokens, turn.usage.output_tokens) == (5, 7)
    assert _Endpoint.requests == [(path, "Bearer sk-test")]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_model_that_cannot_be_reached_is_a_502_that_keeps_the_details_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    session = SQLiteSession("test")
    with pytest.raises(RequestError) as refusal:
        await take_turn(Settings("compatible", "small", base_url=f"http://127.0.0.1:{port}/v1"), session, "Hello")
    session.close()
    assert refusal.value.status == 502
    assert str(port) not in refusal.value.reason


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({}, Settings("openai", DEFAULT_MODEL)),
        ({"MODEL_PROVIDER": "", "MODEL_NAME": ""}, Settings("openai", DEFAULT_MODEL)),
        (
            {"MODEL_PROVIDER": "openai", "MODEL_NAME": "m", "OPENAI_API_KEY_SECRET": "s"},
            Settings("openai", "m", api_key_secret="s"),
        ),
        (
            {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": "http://x/v1", "OPENAI_API_KEY_PARAMETER": "/p"},
            Settings("compatible", DEFAULT_MODEL, base_url="http://x/v1", api_key_parameter="/p"),
        ),
    ],
)
def test_the_model_is_chosen_by_variables(variables: dict[str, str], settings: Settings) -> None:
    assert Settings.from_environ(variables) == settings


@pytest.mark.parametrize(
    ("variables", "name"),
    [({"MODEL_PROVIDER": "else"}, "MODEL_PROVIDER"), ({"MODEL_PROVIDER": "compatible"}, "MODEL_BASE_URL")],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_agent(Settings.from_environ(variables))


def test_the_key_comes_from_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider

    asked: list[tuple[str, dict[str, Any]]] = []

    def answer(provider: Any, name: str, **options: Any) -> str:
        asked.append((name, options))
        return "sk-stored\n"

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(SecretsProvider, "get", answer)
    monkeypatch.setattr(SSMProvider, "get", answer)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-shell")
    assert read_api_key(Settings("openai", api_key_secret="secret")) == "sk-stored"
    assert read_api_key(Settings("openai", api_key_parameter="/parameter")) == "sk-stored"
    assert asked == [
        ("secret", {"max_age": 300, "force_fetch": False}),
        ("/parameter", {"decrypt": True, "max_age": 300, "force_fetch": False}),
    ]
    assert read_api_key(Settings("openai")) == "sk-of-the-shell"


def test_a_missing_key_says_which_variables_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(KeyUnavailableError, match="OPENAI_API_KEY_SECRET"):
        read_api_key(Settings("openai"))
    assert read_api_key(Settings("compatible", base_url="http://x")) == "none"


@pytest.mark.parametrize(
    "stored",
    [
        "sk-good",
        "sk-good\n",
        " sk-good ",
        '"sk-good"',
        '"sk-good" \n',
        '{"OPENAI_API_KEY": "sk-good"}',
        '{"anything": "sk-good"}',
        '{"user": "ada", "api_key": " sk-good"}',
    ],
)
def test_a_key_is_found_in_every_form_that_people_store(stored: str) -> None:
    assert key_in(stored) == "sk-good"


@pytest.mark.parametrize(
    "stored", ["", " ", "{}", "[]", '["sk-good"]', '{"user": "ada", "password": "x"}', '{"key": 3}', "sk ü"]
)
def test_what_holds_no_key_is_refused_and_not_repeated(stored: str) -> None:
    with pytest.raises(KeyUnavailableError) as refusal:
        key_in(stored)
    assert "password" not in str(refusal.value)


def chunk(finish_reason: str, content: str = "Hello") -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": "STOP"}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".replace('"STOP"', finish_reason).encode()


async def read(*pieces: bytes) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return b"".join([piece async for piece in whole(stream())])


OPEN = chunk("null")


@pytest.mark.parametrize(
    "end",
    [
        chunk('"stop"'),
        chunk('"tool_calls"').replace(b" ", b""),
        b"data: [DONE]\n\n",
        b"data:[DONE]",
        b"data: [DONE]\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_is_whole_that_says_so_wherever_its_bytes_are_cut(end: bytes, size: int) -> None:
    stream = OPEN + end
    assert await read(*(stream[at : at + size] for at in range(0, len(stream), size))) == stream


@pytest.mark.parametrize("stream", [b"", OPEN, OPEN[:-20], chunk("null", '"finish_reason": "stop"\ndata: [DONE]')])
async def test_a_stream_is_not_whole_that_only_ends(stream: bytes) -> None:
    with pytest.raises(EndpointError):
        await read(stream)
