"""An environment is killed before and after every request to the store and every tool of a turn; the turn is ended by
whoever comes next, and every tool has had its effect at most once.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from openai_agents_session.turns import INTERRUPTED
from tests.support.agent import until
from tests.support.turns import (
    STREAMED,
    WARM_UP,
    TurnStage,
    ask,
    go_on,
    history,
    invoke_when_free,
    outputs,
    said,
    turn_stage,
    warm_up,
)
from tools.emulation import faults, rie
from tools.emulation.effects import When
from tools.emulation.proxy import FaultProxy
from tools.emulation.rie import Emulator, FunctionError, processes_of
from tools.emulation.strict_script import Asked, by_turn, calls, says

FollowUp = Literal["continue", "the same message", "the same key"]
FOLLOW_UPS: tuple[FollowUp, ...] = ("continue", "the same message", "the same key")
SAMPLE = 10
TIMEOUT_SECONDS = 8
ANSWER = "All is paid."
LARGE = "".join(f"{number} is {hashlib.sha256(str(number).encode()).hexdigest()}. " for number in range(9_000))
"""680 KB that deflate to more than the 400 KB of an item."""
WHEN: tuple[Literal["before", "after"], ...] = ("before", "after")
NOTHING_TO_CONTINUE = 409


@dataclass(frozen=True)
class Moment:
    """When an environment dies.

    Attributes:
        what: At a request to the store, or at a tool.
        number: Which one of the turn, from 1.
        when: Before it has arrived, or after it was done and before the answer.
    """

    what: Literal["store", "tool"]
    number: int
    when: When | Literal["lost"]


@dataclass(frozen=True)
class Trial:
    """A turn that dies, and how somebody goes on with it."""

    moment: Moment
    follow_up: FollowUp

    @property
    def session_id(self) -> str:
        return f"{self.moment.what}-{self.moment.number}-{self.moment.when}-{self.follow_up.replace(' ', '-')}"

    @property
    def request(self) -> dict[str, Any]:
        return ask(self.session_id, f"Pay three, {self.session_id}.", idempotency_key="k")

    @property
    def next_request(self) -> dict[str, Any]:
        if self.follow_up == "continue":
            return go_on(self.session_id)
        return self.request if self.follow_up == "the same key" else ask(self.session_id, self.request["message"])


@dataclass(frozen=True)
class Table:
    """The turns' stage behind a fault proxy."""

    turns: TurnStage
    direct: TurnStage
    proxy: FaultProxy


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    with turn_stage() as direct:
        async with FaultProxy(direct.stage.endpoint_url, metered=False) as proxy:
            variables = direct.stage.variables | {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
            stage = type(direct.stage)(proxy.url, variables, direct.stage.client)
            yield Table(TurnStage(stage, direct.model, direct.effects), direct, proxy)


def mark(message: str) -> str:
    """What the ids of the calls that a message leads to end with."""
    return hashlib.sha256(message.encode()).hexdigest()[:12]


def three_payments(asked: Asked) -> Any:
    """Three tools at once, then the answer; nothing of it while an environment is warmed up."""
    if asked.said == WARM_UP:
        return says("Warm.")
    ids = [f"call_{name}_{mark(asked.said)}" for name in "abc"]
    step = calls("pay", ids[0], amount=1) + calls("pay", ids[1], amount=2) + calls("look_up", ids[2], key="x")
    return by_turn(step, says(ANSWER))(asked)


def large_answer(asked: Asked) -> Any:
    """A tool, then an answer that no item holds."""
    if asked.said == WARM_UP:
        return says("Warm.")
    return by_turn(calls("pay", f"call_{mark(asked.said)}", amount=1), says(LARGE))(asked)


async def count_requests(table: Table, answered: str = ANSWER, effects: int = 3) -> int:
    """How many requests to the store a turn makes that nothing happens to."""
    with table.turns.environment(turn_seconds=60) as environment:
        await asyncio.to_thread(warm_up, environment)
        table.proxy.reset()
        table.direct.effects.reset()
        request = ask("undisturbed", "Pay three, undisturbed.", idempotency_key="k")
        answer = (await asyncio.to_thread(environment.invoke, request)).answer
        assert (answer["status"], answer["answer"]) == (200, answered), answer
        assert len(table.direct.effects.happened) == effects
        return len(table.proxy.records)


async def die(table: Table, trial: Trial, *, streamed: bool = False) -> None:
    """Take a turn in an environment of its own, which is killed at the trial's moment."""
    moment = trial.moment
    begin = table.turns.streaming if streamed else table.turns.environment
    with begin(turn_seconds=TIMEOUT_SECONDS) as environment:
        await asyncio.to_thread(warm_up, environment)
        died = threading.Event()

        def kill() -> None:
            environment.kill()
            died.set()

        table.proxy.reset()
        if moment.what == "store":
            fault = faults.kill_before if moment.when == "before" else faults.kill_after
            table.proxy.on(moment.number, fault(kill))
        else:
            assert moment.when != "lost"
            table.direct.effects.on(moment.number, moment.when, kill)
        with pytest.raises((OSError, FunctionError, ValueError)):
            await asyncio.to_thread(environment.invoke, trial.request)
        assert await asyncio.to_thread(died.wait, 10), f"nothing died at {moment}"
    await asyncio.sleep(0.2)  # what the dead process had sent has arrived
    table.proxy.reset()


def violations(table: Table, trial: Trial, environment: Emulator) -> list[str]:
    """Go on with a turn that died; what is then not as it has to be."""
    table.direct.model.script = three_payments
    answer = invoke_when_free(environment, trial.next_request)
    message, session_id = trial.request["message"], trial.session_id
    items = history(environment, session_id)
    wrong = []
    nothing_left = trial.follow_up == "continue" and answer["status"] == NOTHING_TO_CONTINUE
    if nothing_left:
        if items and items[-1].get("role") != "assistant":
            wrong.append(f"nothing to continue after {items[-1]}")
    elif (answer["status"], answer.get("answer")) != (200, ANSWER):
        wrong.append(f"answered {answer}")
    happened = [effect.call_id for effect in table.direct.effects.happened if effect.call_id.endswith(mark(message))]
    if len(set(happened)) < len(happened):
        wrong.append(f"effects happened twice: {happened}")
    if said(items).count(message) > 1:
        wrong.append("the message is stored twice")
    if happened and len(outputs(items)) != 3:
        wrong.append(f"effects {happened} are not in the history: {outputs(items)}")
    if len({item["call_id"] for item in items if item.get("type") == "function_call"}) > 3:
        wrong.append("the model's step is stored twice")
    try:
        table.direct.assert_goes_on(environment, session_id)
    except AssertionError as error:
        wrong.append(f"it cannot go on: {str(error)[:300]}")
    return [f"{session_id}: {text}" for text in wrong]


def chosen(trials: list[Trial], *, exhaustive: bool) -> list[Trial]:
    """All trials, or a sample in which every kind of moment and of going on occurs."""
    if exhaustive:
        return trials
    step = max(1, len(trials) // SAMPLE) | 1  # odd, and so not a multiple of the ways to go on unless of three
    return trials[:: step if step % 3 else step + 2]


async def test_what_is_killed_is_dead_and_has_no_effects_any_more(table: Table) -> None:
    with table.direct.environment() as environment:
        await asyncio.to_thread(warm_up, environment)
        session = environment.process_id
        assert len(processes_of(session)) == 2  # the emulator and the function's runtime
        table.direct.model.script = by_turn(calls("pay", amount=1), calls("pay", amount=2), says(ANSWER))
        table.direct.effects.on(1, "after", environment.kill)
        with pytest.raises((OSError, FunctionError, ValueError)):
            await asyncio.to_thread(environment.invoke, ask("dead", "Pay."))
        environment.kill()  # the caller may hear of it before the kill is done: this waits for it
        assert processes_of(session) == []
        await asyncio.sleep(1)
        assert len(table.direct.effects.happened) == 1
        assert len(table.direct.model.seen) == 2  # the warm-up's and the first


def test_nothing_of_an_environment_lives_on_that_starts_what_was_killed_again() -> None:
    again = "while :; do sleep 60 & wait; done"
    parent = subprocess.Popen(["/bin/sh", "-c", again], start_new_session=True)
    assert until(10, lambda: len(processes_of(parent.pid)) == 2)
    rie._kill_session(parent)
    assert processes_of(parent.pid) == []


@pytest.mark.timeout(3600)
@STREAMED
async def test_a_turn_that_is_killed_anywhere_has_every_effect_at_most_once(
    table: Table, request: pytest.FixtureRequest, record_property: Any, streamed: bool
) -> None:
    table.direct.model.script = three_payments
    requests = await count_requests(table)
    table.direct.effects.reset()
    moments = [Moment("store", number, when) for number in range(1, requests + 1) for when in ("before", "after")]
    moments += [Moment("tool", number, when) for number in (1, 2, 3) for when in ("before", "after")]
    trials = [Trial(moment, follow_up) for moment in moments for follow_up in FOLLOW_UPS]
    sample = chosen(trials, exhaustive=request.config.getoption("--exhaustive"))
    record_property("sample", f"{len(sample)} of {len(trials)} trials")
    for trial in sample:
        await die(table, trial, streamed=streamed)
    wrong: list[str] = []
    with table.direct.environment(turn_seconds=60) as environment:
        await asyncio.to_thread(warm_up, environment)
        for trial in sample:
            wrong += await asyncio.to_thread(violations, table, trial, environment)
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
async def test_an_answer_of_the_store_that_is_lost_changes_nothing(table: Table) -> None:
    table.direct.model.script = three_payments
    requests = await count_requests(table)
    table.direct.effects.reset()
    wrong: list[str] = []
    with table.turns.environment(turn_seconds=60) as one, table.direct.environment(turn_seconds=60) as other:
        await asyncio.to_thread(warm_up, one)
        await asyncio.to_thread(warm_up, other)
        for number in range(1, requests + 1):
            trial = Trial(Moment("store", number, "lost"), "the same key")
            table.direct.model.script = three_payments
            table.proxy.reset()
            table.proxy.on(number, faults.drop_response)
            await asyncio.to_thread(invoke_when_free, one, trial.request)
            table.proxy.reset()
            wrong += await asyncio.to_thread(violations, table, trial, other)
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(1200)
async def test_a_large_answer_whose_environment_is_killed_is_given_again_under_its_key(
    table: Table, request: pytest.FixtureRequest, record_property: Any
) -> None:
    table.direct.model.script = large_answer
    requests = await count_requests(table, LARGE, effects=1)
    table.direct.effects.reset()
    trials = [
        Trial(Moment("store", number, when), "the same key") for number in range(1, requests + 1) for when in WHEN
    ]
    exhaustive = request.config.getoption("--exhaustive")
    sample = trials if exhaustive else trials[-6:]  # the parts of the answer, and the head that ends the turn
    record_property("sample", f"{len(sample)} of {len(trials)} trials")
    for trial in sample:
        await die(table, trial)
    with table.direct.environment(turn_seconds=60) as environment:
        await asyncio.to_thread(warm_up, environment)
        for trial in sample:
            table.direct.model.script = large_answer
            answers = [await asyncio.to_thread(invoke_when_free, environment, trial.request) for _ in range(2)]
            assert answers[0] == answers[1], trial
            assert (answers[0]["status"], answers[0].get("answer")) == (200, LARGE), trial
            items = await asyncio.to_thread(history, environment, trial.session_id)
            assert said(items) == [trial.request["message"]]
            assert outputs(items) in (["paid 1"], [INTERRUPTED]), trial
            await asyncio.to_thread(table.direct.assert_goes_on, environment, trial.session_id)
    paid = [effect.call_id for effect in table.direct.effects.happened]
    assert len(set(paid)) == len(paid)
