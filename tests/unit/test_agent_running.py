"""How an agent is made and run: who speaks next, in what form it answers, what it is run with, what its tools know."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from agents import Agent, AgentOutputSchema, ModelSettings, RunConfig, function_tool, handoff
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext
from pydantic import BaseModel

from openai_agents_session.service import AgentService, running
from openai_agents_session.service.answers import as_text, structured
from openai_agents_session.service.context import TurnContext
from openai_agents_session.service.errors import RequestError
from openai_agents_session.service.handoffs import agents_from, last_agent
from openai_agents_session.service.settings import Settings
from openai_agents_session.service.setup import Setup, resolved


class Time:
    """An invocation with so many seconds left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


CONTEXT = TurnContext("ada", "owner", "turn", Time(30))


class Point(BaseModel):
    x: int
    y: int


billing = Agent[Any](name="Billing", output_type=Point)
refunds = Agent[Any](name="Refunds")
desk = Agent[Any](name="Desk", handoffs=[billing, handoff(refunds, tool_name_override="to_refunds")])
billing.handoffs = [desk]


def call(name: str, call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": "{}"}


def output(call_id: str, said: Any) -> dict[str, Any]:
    text = said if isinstance(said, str) else json.dumps(said)
    return {"type": "function_call_output", "call_id": call_id, "output": text}


TO_BILLING = [call("transfer_to_billing", "1"), output("1", {"assistant": "Billing"})]
TO_REFUNDS = [call("to_refunds", "2"), output("2", {"assistant": "Refunds"})]
BACK = [call("transfer_to_desk", "3"), output("3", {"assistant": "Desk"})]


def test_the_agents_of_a_service_are_those_that_can_be_reached() -> None:
    """Agents that hand over to each other are each found once."""
    assert [agent.name for agent in agents_from(desk)] == ["Desk", "Billing", "Refunds"]


@pytest.mark.parametrize(
    ("items", "agent"),
    [
        ([], desk),
        ([{"role": "user", "content": "Hello"}], desk),
        (TO_BILLING, billing),
        (TO_REFUNDS, refunds),
        ([*TO_BILLING, *BACK], desk),
        ([*TO_BILLING, *BACK, *TO_REFUNDS], refunds),
        ([TO_BILLING[0], output("1", "Multiple handoffs detected, ignoring this one.")], desk),
        ([TO_BILLING[0], output("1", "interrupted")], desk),
        ([call("look_up", "1"), output("1", {"assistant": "Billing"})], desk),
        ([call("transfer_to_gone", "1"), output("1", {"assistant": "Gone"})], desk),
        ([output("1", {"assistant": "Billing"})], desk),
        ([TO_BILLING[0], output("1", {"assistant": 7})], desk),
        ([TO_BILLING[0], output("1", "[]")], desk),
    ],
)
def test_the_agent_that_was_handed_over_to_last_speaks_next(items: list[Any], agent: Agent[Any]) -> None:
    """A handoff that took place decides who speaks; what only looks like one, or leads nowhere, does not."""
    assert last_agent(items, desk) is agent


@pytest.mark.parametrize(
    ("output_type", "text", "answer"),
    [
        (None, "Hello", {"answer": "Hello"}),
        (str, '{"x": 1}', {"answer": '{"x": 1}'}),
        (Point, '{"x": 1, "y": 2}', {"answer": '{"x":1,"y":2}', "output": {"x": 1, "y": 2}}),
        (list[Point], '{"response": [{"x": 1, "y": 2}]}', {"answer": '[{"x":1,"y":2}]', "output": [{"x": 1, "y": 2}]}),
        (
            AgentOutputSchema(dict[str, int], strict_json_schema=False),
            '{"a": 1}',
            {"answer": '{"a":1}', "output": {"a": 1}},
        ),
        (Point, "I cannot do that.", {"answer": "I cannot do that."}),
        (Point, '{"x": 1}', {"answer": '{"x": 1}'}),
    ],
    ids=str,
)
def test_an_answer_with_a_type_is_its_json(output_type: Any, text: str, answer: dict[str, Any]) -> None:
    """A structured answer is JSON, text and value, never the form that Python prints."""
    assert structured(Agent(name="A", output_type=output_type), text) == answer


@pytest.mark.parametrize(
    ("said", "text"), [("Hello", "Hello"), ({"a": 1}, '{"a":1}'), (Point(x=1, y=2), '{"x":1,"y":2}')]
)
def test_a_final_output_of_any_type_is_text(said: Any, text: str) -> None:
    assert as_text(said) == text


def test_a_function_may_be_named_and_is_imported_when_it_is_needed() -> None:
    assert resolved("json:dumps") is json.dumps
    for name in ("json", "json:", ":dumps", "json:missing"):
        with pytest.raises(ValueError, match=r"json|dumps"):
            resolved(name)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"build_agent": Agent(name="Clerk")}, "build_agent must be a function"),
        ({"build_agent": "agent"}, "build_agent must be a function"),
        ({"build_agent": "agent:"}, "build_agent must be a function"),
        ({"build_agent": "a:b", "run_config": RunConfig()}, "run_config must be a function"),
        ({"build_agent": "a:b", "without_effects": "calculate"}, "names of tools, such as {'calculate'}"),
    ],
)
def test_a_service_of_the_wrong_things_is_refused_where_it_is_made(given: dict[str, Any], told: str) -> None:
    """Not at the first turn, when somebody waits."""
    with pytest.raises(TypeError, match=re.escape(told)):
        AgentService(**given)


def test_a_calls_key_is_its_own() -> None:
    """Calls of other sessions, owners or turns have other keys, and the same call has the same."""
    contexts = [TurnContext(s, o, t, Time(1)) for s in ("a", "b") for o in (None, "None", "x") for t in ("t", "u")]
    keys = {context.idempotency_key(call_id) for context in contexts for call_id in ("1", "2")}
    assert len(keys) == 24
    assert CONTEXT.idempotency_key("1") == TurnContext("ada", "owner", "turn", Time(1)).idempotency_key("1")
    assert (CONTEXT.remaining_seconds, TurnContext("a", None, "t", Time(-1)).remaining_seconds) == (30, 0)


class Journal:
    """What a run asks of a turn's journal, in memory."""

    session_id = "ada"
    session_settings = None

    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    async def get_items(self, limit: int | None = None) -> list[Any]:
        return self.items[-limit:] if limit else list(self.items)

    async def add_items(self, items: list[Any]) -> None:
        self.items += items

    async def nothing(self, *_: Any) -> None: ...

    step = output = pop_item = clear_session = nothing

    def answered(self, _: Any, **__: Any) -> None: ...


async def turn_of(setup: Setup, *items: Any) -> running.Turn:
    journal: Any = Journal(*items, {"role": "user", "content": "Hello"})
    return await running.take_turn(running.Work(setup, Settings("none", "m"), CONTEXT), journal)


async def test_a_tool_knows_the_turn_that_it_runs_in() -> None:
    """A tool gets the turn's context, and its call's id from the SDK; a team may make another context of it."""
    seen: list[Any] = []

    @function_tool
    def look(context: ToolContext[Any]) -> str:
        """Look."""
        seen.append((context.context, context.tool_call_id))
        return "seen"

    def build(_: Settings) -> Agent[Any]:
        model = ScriptedModel([[function_call("look", {}, call_id="c1")], [assistant_message("Done.")]])
        return Agent(name="A", model=model, tools=[look])

    await turn_of(Setup(build))
    await turn_of(Setup(build, context_of=lambda turn: {"who": turn.owner}))
    assert seen == [(CONTEXT, "c1"), ({"who": "owner"}, "c1")]


async def test_a_run_has_the_settings_that_a_team_gives_it() -> None:
    """Model settings and filters of RunConfig reach the run; max_turns ends it, with a code of its own."""
    asked: list[Any] = []

    class Model(ScriptedModel):
        async def get_response(self, *request: Any, **options: Any) -> Any:
            asked.append(options.get("model_settings") or request[2])
            return await super().get_response(*request, **options)

    @function_tool
    def again() -> str:
        """Do it again."""
        return "again"

    def build(_: Settings) -> Agent[Any]:
        steps: list[Any] = [[function_call("again", {}, call_id=f"c{number}")] for number in range(9)]
        return Agent(name="A", model=Model(steps), tools=[again])

    def config(_: Settings) -> RunConfig:
        return RunConfig(model_settings=ModelSettings(temperature=0.25))

    with pytest.raises(RequestError) as refusal:
        await turn_of(Setup(build, config, max_turns=3))
    assert (refusal.value.status, refusal.value.details["code"]) == (422, "max_turns")
    assert [settings.temperature for settings in asked] == [0.25] * 3


@pytest.mark.parametrize(("lasts", "answer"), [(True, "I am Billing."), (False, "I am Desk.")])
async def test_whether_a_handoff_lasts_is_for_the_team_to_say(lasts: bool, answer: str) -> None:
    """A turn begins with the agent that was handed over to last, unless the service is told otherwise."""

    def build(_: Settings) -> Agent[Any]:
        taking_over = Agent[Any](name="Billing", model=ScriptedModel([[assistant_message("I am Billing.")]]))
        return Agent(name="Desk", model=ScriptedModel([[assistant_message("I am Desk.")]]), handoffs=[taking_over])

    turn = await turn_of(Setup(build, handoffs_last=lasts), *TO_BILLING)
    assert turn.answer == {"answer": answer}
