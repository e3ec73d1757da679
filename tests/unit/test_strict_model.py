"""The strict endpoint accepts what the real ones accept, refuses what they refuse, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from agents import Agent, ModelRefusalError, Runner, SQLiteSession, function_tool, set_tracing_disabled
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import APIConnectionError, AsyncOpenAI, BadRequestError

from tools.emulation import strict_errors, strict_faults
from tools.emulation.strict_model import StrictModel
from tools.emulation.strict_script import Asked, Reply, by_turn, calls, calls_with, each, refuses, says, thinks

HALF = "\ud83d"


set_tracing_disabled(True)


def ask(model: StrictModel, path: str, key: str = "sk-good", **body: Any) -> httpx2.Response:
    content = json.dumps({"model": "m", **body}).encode()
    with httpx2.Client(timeout=10, verify=False) as client:
        return client.post(model.base_url + path, content=content, headers={"authorization": f"Bearer {key}"})


def respond(model: StrictModel, *items: Any, **body: Any) -> httpx2.Response:
    return ask(model, "/responses", input=list(items), **body)


def complete(model: StrictModel, *messages: Any, **body: Any) -> httpx2.Response:
    return ask(model, "/chat/completions", messages=list(messages), **body)


def call(call_id: str = "call_1", **changes: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "pay", "arguments": "{}"} | changes


def output(call_id: str = "call_1", **changes: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "paid"} | changes


def assistant(**changes: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "Hi", "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content} | changes


USER = {"role": "user", "content": "Hello"}
REASONING = {"type": "reasoning", "summary": []}


def refused(response: httpx2.Response) -> tuple[int, Any, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return response.status_code, error["param"], error["code"]


@pytest.mark.parametrize(
    ("items", "param", "code"),
    [
        pytest.param([], "input", "missing_required_parameter", id="nothing"),
        pytest.param(["Hello"], "input[0]", "invalid_type", id="an item that is no object"),
        pytest.param([{"type": "thought"}], "input[0].type", "invalid_value", id="an unknown kind"),
        pytest.param([{"role": "robot", "content": "x"}], "input[0].role", "invalid_value", id="an unknown role"),
        pytest.param(
            [{"role": "tool", "content": "x"}], "input[0].role", "invalid_value", id="chat's role for outputs"
        ),
        pytest.param([{"role": "user"}], "input[0].content", "missing_required_parameter", id="no content"),
        pytest.param(
            [USER | {"provider_data": {}}], "input[0].provider_data", "unknown_parameter", id="a foreign member"
        ),
        pytest.param(
            [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}],
            "input[0].content[0]",
            "invalid_value",
            id="the content of another role",
        ),
        pytest.param([USER, call()], "input", None, id="a call without its output"),
        pytest.param([USER, output()], "input", None, id="an output without its call"),
        pytest.param([USER, output(), call()], "input", None, id="an output before its call"),
        pytest.param([USER, call(), call(), output()], "input", None, id="a call twice"),
        pytest.param([USER, call(), output(), output()], "input", None, id="an output twice"),
        pytest.param([USER, assistant(), assistant()], "input", None, id="an id twice"),
        pytest.param([USER, assistant(id="offline_1")], "input[1].id", "invalid_value", id="another provider's id"),
        pytest.param([USER, assistant(id="__fake_id__")], "input[1].id", "invalid_value", id="the SDK's placeholder"),
        pytest.param([USER, assistant(id="msg 1")], "input[1].id", "invalid_value", id="an id with a space"),
        pytest.param([USER, assistant(id="msg_" + "x" * 61)], "input[1].id", "string_above_max_length", id="a long id"),
        pytest.param([USER, call(id="msg_2"), output()], "input[1].id", "invalid_value", id="a message's id on a call"),
        pytest.param([USER, call(call_id=""), output("")], "input[1].call_id", "empty_string", id="an empty call id"),
        pytest.param(
            [USER, call("c" * 65), output("c" * 65)], "input[1].call_id", "string_above_max_length", id="a long call id"
        ),
        pytest.param([USER, call(arguments="{"), output()], "input[1].arguments", "invalid_value", id="no JSON"),
        pytest.param([USER, call(arguments="[1]"), output()], "input[1].arguments", "invalid_value", id="no object"),
        pytest.param([USER, call(), output(output={"x": 1})], "input[2].output", "invalid_type", id="an output object"),
        pytest.param([USER, REASONING], "input[1].id", "missing_required_parameter", id="reasoning without an id"),
        pytest.param([USER, REASONING | {"id": "msg_1"}], "input[1].id", "invalid_value", id="reasoning by another id"),
    ],
)
def test_the_responses_api_refuses_a_history_that_is_not_valid(
    model: StrictModel, items: list[Any], param: str, code: str | None
) -> None:
    assert refused(respond(model, *items)) == (400, param, code)
    assert [error.param for error in model.refusals] == [param]


def test_reasoning_that_was_never_answered_is_not_found(model: StrictModel) -> None:
    assert refused(respond(model, USER, REASONING | {"id": "rs_unknown"}, assistant())) == (404, "input", None)


def test_reasoning_and_what_followed_it_come_back_together_or_are_refused(model: StrictModel) -> None:
    model.script = lambda _: thinks() + calls("pay", "call_1")
    reasoning, paid = respond(model, USER).json()["output"]
    assert respond(model, USER, reasoning, paid, output()).status_code == 200
    alone = respond(model, USER, reasoning)
    assert "without its required following item" in alone.json()["error"]["message"]
    assert respond(model, USER, reasoning, USER).status_code == 400
    assert respond(model, USER, reasoning, assistant(id="msg_other")).status_code == 400
    without = respond(model, USER, paid, output())
    assert "without its required 'reasoning' item" in without.json()["error"]["message"]
    assert respond(model, USER, {k: v for k, v in paid.items() if k != "id"}, output()).status_code == 200


def test_encrypted_reasoning_has_to_be_as_it_was_answered(model: StrictModel) -> None:
    model.script = lambda _: thinks() + says("Hi")
    reasoning, message = respond(model, USER).json()["output"]
    changed = reasoning | {"encrypted_content": "gAAAAA"}
    assert refused(respond(model, USER, changed, message)) == (400, None, "invalid_encrypted_content")


def test_an_item_that_comes_back_changed_is_noted(model: StrictModel) -> None:
    model.script = lambda _: says("Hi")
    [message] = respond(model, USER).json()["output"]
    assert respond(model, USER, message).status_code == 200
    assert model.issued.rewritten == []
    message["content"][0]["text"] = "Something else"
    assert respond(model, USER, message).status_code == 200
    assert model.issued.rewritten == [message["id"]]


def tool_call(call_id: str = "call_1", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "pay", "arguments": arguments}}


def calling(*calls_made: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls_made)}


def tool(call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "paid"}


@pytest.mark.parametrize(
    ("messages", "param", "code"),
    [
        pytest.param([], "messages", "empty_array", id="nothing"),
        pytest.param([{"role": "robot", "content": "x"}], "messages[0].role", "invalid_value", id="an unknown role"),
        pytest.param([{"role": "user"}], "messages[0].content", "missing_required_parameter", id="no content"),
        pytest.param([USER | {"id": "msg_1"}], "messages[0].id", "unknown_parameter", id="a foreign member"),
        pytest.param([{"role": "assistant"}], "messages[0].content", "invalid_type", id="an assistant without words"),
        pytest.param([USER, calling(), USER], "messages[1].tool_calls", "empty_array", id="an empty list of calls"),
        pytest.param([USER, calling(tool_call())], "messages.[2].role", None, id="a call without its output"),
        pytest.param(
            [USER, calling(tool_call("a"), tool_call("b")), tool("a"), USER],
            "messages.[3].role",
            None,
            id="half of them",
        ),
        pytest.param([USER, tool()], "messages.[1].role", None, id="an output without its call"),
        pytest.param(
            [USER, calling(tool_call()), USER, tool()], "messages.[2].role", None, id="an output that is late"
        ),
        pytest.param([USER, calling(tool_call()), tool(), tool()], "messages.[3].role", None, id="an output twice"),
        pytest.param(
            [USER, calling(tool_call()), tool(), calling(tool_call()), tool()],
            "messages.[3].tool_calls",
            None,
            id="twice",
        ),
        pytest.param(
            [USER, calling(tool_call("c" * 41)), tool("c" * 41)],
            "messages[1].tool_calls[0].id",
            "string_above_max_length",
            id="a long call id",
        ),
        pytest.param(
            [USER, calling(tool_call(arguments="{")), tool()],
            "messages[1].tool_calls[0].function.arguments",
            "invalid_value",
            id="no JSON",
        ),
    ],
)
def test_chat_completions_refuse_a_history_that_is_not_valid(
    model: StrictModel, messages: list[Any], param: str, code: str | None
) -> None:
    assert refused(complete(model, *messages)) == (400, param, code)


def test_half_of_a_surrogate_pair_is_refused_wherever_it_stands(model: StrictModel) -> None:
    assert refused(respond(model, {"role": "user", "content": f"x{HALF}"})) == (400, None, None)
    assert refused(complete(model, USER, calling(tool_call(arguments=f'{{"a": "{HALF}"}}')), tool())) == (
        400,
        None,
        None,
    )
    assert complete(model, {"role": "user", "content": "a whole pair: 😀"}).status_code == 200


def test_a_wrong_key_is_401_and_the_key_is_not_repeated(model: StrictModel) -> None:
    model.keys = {"sk-good"}
    response = ask(model, "/responses", key="sk-wrong-and-secret", input="Hello")
    assert refused(response) == (401, None, "invalid_api_key")
    assert "wrong-and" not in response.text
    assert ask(model, "/responses", input="Hello").status_code == 200
    assert [seen.key for seen in model.seen] == ["sk-wrong-and-secret", "sk-good"]


def test_a_history_over_the_context_window_is_refused_as_each_interface_does(model: StrictModel) -> None:
    model.most_tokens = 50
    long = {"role": "user", "content": "word " * 100}
    assert refused(respond(model, long)) == (400, "input", "context_length_exceeded")
    assert refused(complete(model, long)) == (400, "messages", "context_length_exceeded")
    assert complete(model, USER).status_code == 200
    model.late_refusal = True
    streamed = respond(model, long, stream=True)
    assert streamed.status_code == 200
    assert "context_length_exceeded" in streamed.text


def test_an_answer_can_be_empty(model: StrictModel) -> None:
    model.script = lambda _: Reply(())
    assert respond(model, USER).json()["output"] == []
    assert complete(model, USER).json()["choices"][0]["message"]["content"] is None


def test_a_rate_limit_says_when_to_come_again(model: StrictModel) -> None:
    model.script = each(strict_errors.rate_limited("7"), strict_errors.quota_used_up())
    limited = complete(model, USER)
    assert refused(limited) == (429, None, "rate_limit_exceeded")
    assert limited.headers["retry-after"] == "7"
    assert refused(complete(model, USER)) == (429, None, "insufficient_quota")


@pytest.mark.parametrize("name", ["HTML", "HTML_502", "CUT_JSON", "EMPTY", "LIST", "NULL", "ERROR_200", "SERVER_ERROR"])
def test_it_answers_what_no_model_answers(model: StrictModel, name: str) -> None:
    fault: strict_faults.Raw = getattr(strict_faults, name)
    model.script = lambda _: fault
    response = respond(model, USER)
    assert (response.status_code, response.content) == (fault.status, fault.body)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_can_break_off_in_the_middle(model: StrictModel, stream: bool) -> None:
    model.script = lambda _: strict_faults.Broken()
    with pytest.raises(httpx2.RemoteProtocolError):
        respond(model, USER, stream=stream)
    model.script = lambda _: strict_faults.Broken(events=3, cleanly=True)
    if stream:
        assert "response.completed" not in respond(model, USER, stream=True).text


def test_the_first_byte_can_be_late_and_what_hangs_ends_with_the_test(model: StrictModel) -> None:
    model.script = lambda _: says("Hello").late(0.2)
    began = time.monotonic()
    assert respond(model, USER).status_code == 200
    assert time.monotonic() - began >= 0.2
    model.script = lambda _: strict_faults.Hang()
    threading.Timer(0.2, model.reset).start()
    with pytest.raises(httpx2.RemoteProtocolError):
        respond(model, USER)


@asynccontextmanager
async def agent_of(model: StrictModel, interface: str, paid: list[str]) -> AsyncIterator[Agent[None]]:
    @function_tool
    def pay(amount: int) -> str:
        paid.append(f"paid {amount}")
        return paid[-1]

    async with AsyncOpenAI(api_key="sk-good", base_url=model.base_url, max_retries=0) as client:
        kinds: Any = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
        yield Agent(name="test", model=kinds[interface]("m", client), tools=[pay])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("interface", ["responses", "chat"])
async def test_the_sdks_own_histories_are_accepted(model: StrictModel, interface: str, streamed: bool) -> None:
    paid: list[str] = []
    session = SQLiteSession("test")
    async with agent_of(model, interface, paid) as agent:
        for turn in ("first", "second"):
            parallel = calls("pay", f"call_a_{turn}", amount=1) + calls("pay", f"call_b_{turn}", amount=2)
            model.script = by_turn(thinks() + says("Let me see. ") + parallel, says("Both are paid 😀."))
            result: Any
            if streamed:
                result = Runner.run_streamed(agent, "Pay", session=session)
                deltas = [e.data.delta async for e in result.stream_events() if is_text(e)]
                assert "".join(deltas) == "Let me see. Both are paid 😀."
            else:
                result = await Runner.run(agent, "Pay", session=session)
            assert result.final_output == "Both are paid 😀."
            # The SDK asks a compatible endpoint for the usage of a stream only where its settings say so.
            assert result.context_wrapper.usage.output_tokens == (0 if streamed and interface == "chat" else 10)
    session.close()
    assert sorted(paid) == ["paid 1", "paid 1", "paid 2", "paid 2"]
    assert model.refusals == []
    assert model.issued.rewritten == []


def is_text(event: Any) -> bool:
    return event.type == "raw_response_event" and event.data.type == "response.output_text.delta"


async def test_a_script_knows_the_step_of_a_turn_whatever_the_interface(model: StrictModel) -> None:
    model.script = by_turn(calls("pay", "call_1"), says("Paid."))
    assert respond(model, USER).json()["output"][0]["type"] == "function_call"
    assert respond(model, USER, call(), output()).json()["output"][0]["type"] == "message"
    again = complete(model, USER, calling(tool_call()), tool(), {"role": "assistant", "content": "Paid."}, USER)
    assert "tool_calls" in again.json()["choices"][0]["message"]
    assert Asked("chat", 1, False, [{"role": "user", "text": "x"}, {"output": "a", "text": "y"}], {}).outputs == ["y"]


@pytest.mark.parametrize("interface", ["responses", "chat"])
async def test_refusals_and_arguments_that_are_no_json_reach_the_sdk(model: StrictModel, interface: str) -> None:
    async with agent_of(model, interface, []) as agent:
        model.script = lambda _: refuses("No.")
        with pytest.raises(ModelRefusalError, match="No"):
            await Runner.run(agent, "x")
        model.script = by_turn(calls_with("pay", "{broken"), says("Never said."))
        with pytest.raises(BadRequestError, match="JSON object"):
            await Runner.run(agent, "x")


async def test_a_broken_stream_reaches_the_sdk_as_an_error(model: StrictModel) -> None:
    model.script = lambda _: strict_faults.Broken()
    async with agent_of(model, "responses", []) as agent:
        result = Runner.run_streamed(agent, "x")
        with pytest.raises((APIConnectionError, httpx2.HTTPError)):
            [event async for event in result.stream_events()]
