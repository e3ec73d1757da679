"""Durable runs behind the service's routes: started, followed, decided on and killed; effects and model calls counted.

The function that starts them and the durable one each run in Lambda's runtime client; AWS's testing package keeps the
executions (``tools/emulation/durable.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openai_agents_session.turn_journal import INTERRUPTED
from tests.support.agent import until
from tests.support.turns import TurnStage, ask, kinds, new_id, outputs, said
from tools.emulation import strict_faults
from tools.emulation.durable import FUNCTION, DurableLambda
from tools.emulation.rie import Emulator
from tools.emulation.strict_script import Script, by_turn, calls, calls_with, each, refuses, says

SECONDS = 60
WHOLE = ["user", "function_call", "function_call_output", "message"]
ADA, MALLORY = "ada@example.com", "mallory@example.com"


@pytest.fixture(scope="module")
def lambda_(turns: TurnStage) -> Iterator[DurableLambda]:
    """Lambda's durable side with the durable function."""

    def environment() -> Emulator:
        return turns.environment(handler="durable_handler.handler", **running.variables)

    with DurableLambda(environment) as running:
        yield running


@pytest.fixture(scope="module")
def pair(turns: TurnStage, lambda_: DurableLambda) -> Iterator[tuple[Emulator, Emulator]]:
    """Two environments of the function that starts durable runs, which have served a turn."""
    with turns.warm(**lambda_.variables) as one, turns.warm(**lambda_.variables) as other:
        assert isinstance(one, Emulator)
        assert isinstance(other, Emulator)
        yield one, other


@pytest.fixture
def durable(turns: TurnStage, lambda_: DurableLambda) -> Iterator[DurableLambda]:
    """The same, for one test."""
    turns.reset()
    yield lambda_
    lambda_.told = lambda name, action: None
    lambda_.denied = None
    lambda_.forget()


@pytest.fixture
def front(pair: tuple[Emulator, Emulator], durable: DurableLambda) -> Emulator:
    """The function that starts durable runs, for one test."""
    return pair[0]


def durably(session_id: str, message: str, **more: Any) -> dict[str, Any]:
    """A message for a durable run."""
    return ask(session_id, message, durable=True, **{"idempotency_key": "k", **more})


def came_to(front: Emulator, request: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
    """What a durable run came to: its answer, an error, or what it waits for."""
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(answer=front.invoke(request).answer)
        return "durable" not in found["answer"]

    assert until(seconds, over), found
    answer: dict[str, Any] = found["answer"]
    return answer


def history(front: Emulator, session_id: str, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = front.invoke({"session_id": session_id, "action": "history", **more}).answer
    return answer


def waiting(front: Emulator, session_id: str, order: str = "A-17", **more: Any) -> dict[str, Any]:
    """A durable run that waits for approval: what names it in a decision."""
    answer = came_to(front, durably(session_id, f"Refund {order}.", **more))
    assert answer["status"] == 202, answer
    assert (answer["pending"]["status"], answer["pending"]["durable"]) == ("pending", True)
    assert history(front, session_id, **more)["state"] == "waiting"
    return {"session_id": session_id, "run_id": answer["pending"]["run_id"], **more}


def approved(front: Emulator, durable: DurableLambda, session_id: str) -> dict[str, Any]:
    """A run that was approved a moment ago, whose next environment is not there yet: what names it in a decision."""
    run = waiting(front, session_id)
    durable.kill()  # so that the next environment takes a while to start
    answer = front.invoke(run | {"action": "approve"}).answer
    assert (answer["status"], answer["durable"]) == (202, "running")
    return run


def idle(front: Emulator, session_id: str, **more: Any) -> dict[str, Any]:
    """The history once nothing runs any more."""
    assert until(SECONDS, lambda: history(front, session_id, **more)["state"] == "idle")
    return history(front, session_id, **more)


PAYS = by_turn(calls("pay", amount=3), says("Paid."))
REFUNDS = by_turn(calls("refund", order="A-17"), says("Done."))


def test_a_durable_run_is_started_at_once_and_its_answer_is_told_when_it_is_asked_for(
    front: Emulator, turns: TurnStage
) -> None:
    """A start is told as one; the answer comes with the same request, and is that of a turn like any."""
    turns.model.script = PAYS
    request = durably(session_id := new_id(), "Pay 3.")
    assert front.invoke(request).answer == {"status": 202, "session_id": session_id, "durable": "started"}
    answer = came_to(front, request)
    assert (answer["status"], answer["answer"], answer["tools"]) == (200, "Paid.", ["pay"])
    assert came_to(front, request) == answer
    assert turns.effects.of("pay") == 1
    assert len(turns.model.seen) == 2
    assert kinds(history(front, session_id)["items"]) == WHOLE
    turns.assert_goes_on(front, session_id)


def test_the_same_request_from_two_at_once_starts_one_execution(
    pair: tuple[Emulator, Emulator], durable: DurableLambda, turns: TurnStage
) -> None:
    """A request that is delivered twice at once is one turn in one execution."""
    turns.model.script = PAYS
    begun: list[str] = []
    answered = threading.Event()

    def told(name: str, action: str) -> None:
        if action == "START":
            begun.append(name)
        answered.wait(SECONDS)  # or the run could be over before the slower one has asked

    durable.told = told
    request = durably(session_id := new_id(), "Pay 3.")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda environment: environment.invoke(request).answer["status"], pair))
    answered.set()
    assert answers == [202, 202]
    assert came_to(pair[1], request)["answer"] == "Paid."
    assert begun.count("agent") == 1
    assert turns.effects.of("pay") == 1
    assert kinds(history(pair[0], session_id)["items"]) == WHOLE


def test_a_name_that_was_used_for_another_message_is_refused(front: Emulator, turns: TurnStage) -> None:
    """A name is one request's, before its turn is known and after; it is no plain turn's either."""
    request = durably(session_id := new_id(), "Hello.")
    other = durably(session_id, "Goodbye.")
    assert front.invoke(request).answer["status"] == 202
    assert front.invoke(other).answer["status"] == 422
    assert came_to(front, request)["status"] == 200
    assert front.invoke(other).answer["status"] == 422
    assert front.invoke(ask(session_id, "Hello.", idempotency_key="k")).answer["status"] == 422
    assert len(turns.model.seen) == 1


def test_a_session_that_is_busy_is_waited_for(front: Emulator, turns: TurnStage) -> None:
    """Two durable runs of one session are both answered, one after the other, each its own message."""
    turns.model.script = by_turn(calls("slow", seconds=1), says("Done."))
    session_id = new_id()
    requests = [durably(session_id, f"Do {name}.", idempotency_key=name) for name in ("a", "b")]
    for request in requests:
        assert front.invoke(request).answer["status"] == 202
    assert [came_to(front, request)["answer"] for request in requests] == ["Done.", "Done."]
    items = history(front, session_id)["items"]
    assert kinds(items) == WHOLE * 2
    assert sorted(said(items)) == ["Do a.", "Do b."]
    assert turns.effects.of("slow") == 2


def test_the_history_shows_what_a_run_has_done_so_far(front: Emulator, turns: TurnStage) -> None:
    """While a run works, its history grows and its state is running."""
    turns.model.script = by_turn(calls("pay", amount=1), calls("pay", amount=2), says("Paid."))
    seen: list[dict[str, Any]] = []
    request = durably(session_id := new_id(), "Pay 1 and 2.")
    for number in (1, 2):
        turns.effects.on(number, "after", lambda: seen.append(history(front, session_id)))
    front.invoke(request)
    turns.effects.wait_for(2)
    assert came_to(front, request)["answer"] == "Paid."
    assert [(found["state"], found["durable"]) for found in seen] == [("running", True)] * 2
    grown = [kinds(found["items"]) for found in (*seen, history(front, session_id))]
    assert grown[0][:1] == ["user"]
    assert len(grown[0]) < len(grown[1]) < len(grown[2]) == 6


@pytest.mark.parametrize(
    ("action", "refunds", "answered"), [("approve", 1, "refunded A-17"), ("reject", 0, "not approved")]
)
def test_a_run_that_waits_goes_on_once_when_it_is_decided_on(
    action: str, refunds: int, answered: str, pair: tuple[Emulator, Emulator], durable: DurableLambda, turns: TurnStage
) -> None:
    """A decision is taken once, whoever sends it again; an approved tool runs once, a rejected one never."""
    one, other = pair
    turns.model.script = REFUNDS
    run = waiting(one, session_id := new_id())
    assert turns.effects.of("refund") == 0
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda environment: environment.invoke(run | {"action": action}).answer, pair))
    assert [answer["durable"] for answer in answers if answer["status"] == 202] in (["running"], ["running"] * 2)
    assert {answer["status"] for answer in answers} <= {202, 409}, answers
    assert not [answer for answer in answers if answer.get("code") == "run_ended"], answers
    answer = came_to(other, durably(session_id, "Refund A-17."))
    assert (answer["status"], answer["answer"]) == (200, "Done.")
    items = history(one, session_id)["items"]
    assert kinds(items) == WHOLE
    assert answered in outputs(items)[0]
    assert turns.effects.of("refund") == refunds
    assert one.invoke(run | {"action": action}).answer["status"] == 409
    turns.assert_goes_on(one, session_id)


def test_a_decision_that_is_sent_again_while_the_run_goes_on_is_taken_as_sent(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """The same decision, before the run's new environment is there, is no error; the opposite one is refused."""
    turns.model.script = REFUNDS
    run = approved(front, durable, session_id := new_id())
    again, opposite = (front.invoke(run | {"action": action}).answer for action in ("approve", "reject"))
    assert (again["status"], again["durable"]) == (202, "running")
    assert opposite["status"] == 409
    assert came_to(front, durably(session_id, "Refund A-17."))["answer"] == "Done."
    assert turns.effects.of("refund") == 1


@pytest.mark.parametrize("is_decided", [False, True], ids=["before a decision", "after it"])
def test_a_run_whose_execution_has_ended_is_told_as_such_and_can_be_discarded(
    front: Emulator, durable: DurableLambda, turns: TurnStage, is_decided: bool
) -> None:
    """Who decides on a run that nobody will carry out, or asks for its answer, is told so; to discard it frees the
    session."""
    turns.model.script = REFUNDS
    session_id = new_id()
    run = approved(front, durable, session_id) if is_decided else waiting(front, session_id)
    durable.forget()
    asked, decision = durably(session_id, "Refund A-17."), run | {"action": "approve"}
    for request in (asked, decision) if is_decided else (decision, decision, asked):
        answer = front.invoke(request).answer
        assert (answer["status"], answer["code"], answer["run_id"]) == (409, "run_ended", run["run_id"])
        assert "Exception" not in answer["error"]
    waits = front.invoke({"session_id": session_id, "action": "approvals"}).answer["pending"]
    assert waits["status"] == "ended"
    assert front.invoke(run | {"action": "discard"}).answer["discarded"]
    assert turns.effects.of("refund") == 0
    turns.assert_goes_on(front, session_id)


def test_a_decision_that_cannot_be_sent_is_told_as_such_and_is_sent_later(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """A decision that Lambda refuses is not told as taken; the same one, sent when it may be, is, and once."""
    turns.model.script = REFUNDS
    decision = waiting(front, session_id := new_id()) | {"action": "approve"}
    durable.denied = "callbacks"
    for _ in range(2):
        answer = front.invoke(decision).answer
        assert (answer["status"], answer["code"]) == (503, "not_sent")
    assert turns.effects.of("refund") == 0
    durable.denied = None
    assert front.invoke(decision).answer["durable"] == "running"
    assert came_to(front, durably(session_id, "Refund A-17."))["answer"] == "Done."
    assert turns.effects.of("refund") == 1


def test_lambda_that_cannot_be_reached_is_an_error_with_a_code(front: Emulator, turns: TurnStage) -> None:
    """Who starts or decides while Lambda is out of reach is told so; nothing is said or done, and the run waits."""
    turns.model.script = REFUNDS
    run = waiting(front, waits := new_id())
    with turns.environment(DURABLE_FUNCTION=FUNCTION, AWS_ENDPOINT_URL_LAMBDA="http://127.0.0.1:9") as lost:
        started = lost.invoke(durably(session_id := new_id(), "Hello.")).answer
        decided = lost.invoke(run | {"action": "approve"}).answer
    assert (started["status"], started["code"]) == (502, "not_started")
    assert (decided["status"], decided["code"]) == (503, "not_sent")
    assert history(front, session_id)["items"] == []
    assert turns.effects.of("refund") == 0
    assert kinds(history(front, waits)["items"]) == ["user", "function_call"]


def test_a_run_that_is_discarded_does_nothing_and_its_execution_ends(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """To discard a run frees the session at once, and its execution ends."""
    turns.model.script = REFUNDS
    run = waiting(front, session_id := new_id())
    assert front.invoke(run | {"action": "discard"}).answer["discarded"]
    turns.assert_goes_on(front, session_id)
    assert front.invoke(run | {"action": "approve"}).answer["status"] == 409
    assert until(SECONDS, lambda: durable.running == 0)
    assert turns.effects.of("refund") == 0
    assert len(outputs(history(front, session_id)["items"])) == 1


def test_a_session_whose_run_waits_takes_no_message(front: Emulator, turns: TurnStage) -> None:
    """While a run waits, another message is refused, plain or durable, and is told what waits."""
    turns.model.script = REFUNDS
    run = waiting(front, session_id := new_id())
    plain = front.invoke(ask(session_id, "Hello.")).answer
    assert (plain["status"], plain["pending"]["run_id"]) == (409, run["run_id"])
    other = front.invoke(durably(session_id, "Hello.", idempotency_key="other")).answer
    assert (other["status"], other.get("pending", {}).get("run_id")) == (409, run["run_id"])
    assert kinds(history(front, session_id)["items"]) == ["user", "function_call"]


def test_a_run_of_an_owner_is_nobody_elses(front: Emulator, turns: TurnStage) -> None:
    """Nobody but its owner sees a durable run, decides on it, or is told that it exists."""
    turns.model.script = REFUNDS
    run = waiting(front, session_id := new_id(), owner=ADA)
    for who in ({"owner": MALLORY}, {}):
        theirs = {"session_id": session_id, **who}
        assert history(front, **theirs)["items"] == []
        assert front.invoke(theirs | {"action": "approvals"}).answer["pending"] is None
        for action in ("approve", "reject", "discard"):
            named = theirs | {"action": action, "run_id": run["run_id"]}
            assert front.invoke(named).answer["status"] == 409
    turns.model.script = by_turn(says("Hello, Mallory."))
    hers = came_to(front, durably(session_id, "Hello.", owner=MALLORY))
    assert hers["answer"] == "Hello, Mallory."  # in a conversation of the same name
    assert turns.effects.of("refund") == 0
    turns.model.script = REFUNDS
    front.invoke(run | {"action": "approve"})
    assert came_to(front, durably(session_id, "Refund A-17.", owner=ADA))["answer"] == "Done."
    assert turns.effects.of("refund") == 1


def test_a_clear_ends_the_run_that_waits(front: Emulator, durable: DurableLambda, turns: TurnStage) -> None:
    """A cleared session is empty and stays so: the run that waited in it does nothing more, and its execution ends."""
    turns.model.script = REFUNDS
    run = waiting(front, session_id := new_id())
    assert front.invoke({"session_id": session_id, "action": "clear"}).answer["cleared"]
    assert front.invoke(run | {"action": "approve"}).answer["status"] == 409
    assert until(SECONDS, lambda: durable.running == 0)
    assert history(front, session_id)["items"] == []
    assert front.invoke(durably(session_id, "Refund A-17.")).answer["status"] == 410
    assert turns.effects.of("refund") == 0
    turns.assert_goes_on(front, session_id)


def test_a_clear_while_a_run_works_ends_it(front: Emulator, durable: DurableLambda, turns: TurnStage) -> None:
    """A run whose session is cleared under it writes nothing more."""
    turns.model.script = by_turn(calls("pay", amount=1), calls("pay", amount=2), says("Paid."))
    request = durably(session_id := new_id(), "Pay 1 and 2.")
    turns.effects.on(1, "after", lambda: front.invoke({"session_id": session_id, "action": "clear"}))
    front.invoke(request)
    assert until(SECONDS, lambda: turns.effects.of("pay") and durable.running == 0)
    assert history(front, session_id)["items"] == []
    assert turns.effects.of("pay") == 1
    assert front.invoke(request).answer["status"] == 410
    turns.assert_goes_on(front, session_id)


@pytest.mark.parametrize("is_decided", [False, True], ids=["at first", "after a decision"])
def test_a_stop_ends_a_run_for_good(
    front: Emulator, durable: DurableLambda, turns: TurnStage, is_decided: bool
) -> None:
    """A run that is stopped while it works does not take the session again, and is told as given up."""
    turns.model.script = (
        REFUNDS if is_decided else by_turn(calls("pay", amount=1), calls("pay", amount=2), says("Paid."))
    )
    session_id, tool = new_id(), "refund" if is_decided else "pay"
    request = durably(session_id, "Refund A-17." if is_decided else "Pay 1 and 2.")
    seen: list[Any] = []

    def stop() -> None:
        stopped = {"session_id": session_id, "action": "stop"}
        seen.append((history(front, session_id)["durable_run"], front.invoke(stopped).answer["stopped"]))

    turns.effects.on(1, "after", stop)
    if is_decided:
        front.invoke(waiting(front, session_id) | {"action": "approve"})
    else:
        front.invoke(request)
    assert until(SECONDS, lambda: seen and durable.running == 0)
    assert seen == [(True, True)]
    assert turns.effects.of(tool) == 1
    told = history(front, session_id)
    assert (told["state"], told["durable_run"]) == ("idle", False)
    assert front.invoke(request).answer["code"] == "abandoned"
    turns.assert_goes_on(front, session_id)


def test_a_stop_between_a_decision_and_what_follows_ends_the_run(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """A run that is stopped when it was decided on, and before its next environment is there, does nothing more."""
    turns.model.script = REFUNDS
    approved(front, durable, session_id := new_id())
    assert front.invoke({"session_id": session_id, "action": "stop"}).answer["stopped"]
    assert until(SECONDS, lambda: durable.running == 0)
    assert turns.effects.of("refund") == 0
    assert front.invoke(durably(session_id, "Refund A-17.")).answer["code"] == "abandoned"
    turns.assert_goes_on(front, session_id)


def test_a_stop_under_a_name_that_was_used_stops(front: Emulator, durable: DurableLambda, turns: TurnStage) -> None:
    """A stop is about whatever runs: the name of an earlier turn does not make it that turn's."""
    turns.model.script = by_turn(says("Hello."))
    front.invoke(ask(session_id := new_id(), "Hello.", idempotency_key="used"))
    assert said(history(front, session_id)["items"]) == ["Hello."]
    turns.model.script = by_turn(calls("pay", amount=1), calls("pay", amount=2), says("Paid."))
    stopped: list[Any] = []
    stop = {"session_id": session_id, "action": "stop", "idempotency_key": "used"}
    turns.effects.on(1, "after", lambda: stopped.append(front.invoke(stop).answer["stopped"]))
    request = durably(session_id, "Pay 1 and 2.")
    front.invoke(request)
    assert until(SECONDS, lambda: stopped and durable.running == 0)
    assert stopped == [True]
    assert turns.effects.of("pay") == 1
    assert front.invoke(request).answer["code"] == "abandoned"


def test_what_is_rewound_after_a_decision_stays_away(front: Emulator, durable: DurableLambda, turns: TurnStage) -> None:
    """A run whose call was rewound does nothing and appends nothing, though it was approved; the session goes on."""
    turns.model.script = REFUNDS
    approved(front, durable, session_id := new_id())
    assert front.invoke({"session_id": session_id, "action": "rewind", "keep": 1}).answer["removed"] == 1
    assert until(SECONDS, lambda: durable.running == 0)
    assert turns.effects.of("refund") == 0
    assert kinds(history(front, session_id)["items"]) == ["user"]
    assert kinds(turns.assert_goes_on(front, session_id)) == ["user", "user", "message"]


def test_a_request_whose_turn_was_rewound_is_not_told_anothers_answer(front: Emulator, turns: TurnStage) -> None:
    """A message that was rewound while its run waited is told as cleared, whatever was answered at its place since."""
    turns.model.script = REFUNDS
    waiting(front, session_id := new_id())
    assert front.invoke({"session_id": session_id, "action": "rewind", "keep": 0}).answer["removed"] == 2
    turns.model.script = by_turn(says("Hello."))
    assert front.invoke(ask(session_id, "Hello.")).answer["answer"] == "Hello."
    answer = front.invoke(durably(session_id, "Refund A-17.")).answer
    assert (answer["status"], answer["code"], answer.get("answer")) == (410, "cleared", None)


def test_a_refusal_of_the_model_is_an_answer(front: Emulator, durable: DurableLambda, turns: TurnStage) -> None:
    """A model that refuses ends its turn as in a plain one, and its execution succeeds."""
    turns.model.script = each(refuses())
    plain = front.invoke(ask(new_id(), "Do harm.")).answer
    answer = came_to(front, durably(session_id := new_id(), "Do harm."))
    assert (answer["status"], answer["code"], answer["answer"]) == (plain["status"], "refused", plain["answer"])
    assert plain["code"] == "refused"
    assert until(SECONDS, lambda: durable.running == 0)
    assert durable.statuses == ["SUCCEEDED"]
    turns.assert_goes_on(front, session_id)


REFUSED_KEY = strict_faults.Raw(401, b'{"error": {"message": "T-7742 is no key", "code": "invalid_api_key"}}')
UNWANTED = strict_faults.Raw(400, b'{"error": {"message": "T-7742", "code": "T-7742"}}')


@pytest.mark.parametrize(
    ("message", "script", "told", "logged", "ended"),
    [
        ("FORBIDDEN", says("Hello."), (422, "input_blocked"), "input_blocked", "SUCCEEDED"),
        ("Tell me.", says("SECRET"), (422, "output_blocked"), "output_blocked", "SUCCEEDED"),
        ("Do it.", calls("look_up", key="x"), (422, "max_turns"), "max_turns", "SUCCEEDED"),
        ("long " * 3000, says("Hello."), (413, "context_full"), "context_full", "SUCCEEDED"),
        ("Hello.", REFUSED_KEY, (500, "run_failed"), "key_rejected", "FAILED"),
        ("Hello.", UNWANTED, (500, "run_failed"), "model_failed", "FAILED"),
    ],
)
def test_why_a_run_fails_is_told_and_logged_and_wakes_somebody_who_can_mend_it(
    front: Emulator,
    durable: DurableLambda,
    turns: TurnStage,
    message: str,
    script: Any,
    told: Any,
    logged: str,
    ended: str,
) -> None:
    """An execution whose end nobody on duty can mend succeeds: an alarm watches those that fail."""
    turns.model.script, turns.model.most_tokens = each(script), 1500
    answer = came_to(front, durably(session_id := new_id(), message))
    assert (answer["status"], answer["code"]) == told
    assert until(SECONDS, lambda: durable.running == 0)
    assert durable.statuses == [ended]
    lines = [line for line in durable.environments.log.splitlines() if session_id in line and '"code"' in line]
    assert [f'"code":"{logged}"' in line for line in lines] == [True]
    turns.reset()
    turns.assert_goes_on(front, session_id)


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_no_text_of_anybody_is_logged_at_any_level(turns: TurnStage, level: str) -> None:
    """With ``LogContent=false``, neither what is said nor what a tool, a model or its provider says."""
    quiet = {"LOG_LEVEL": level, "POWERTOOLS_LOG_LEVEL": level, "LOG_CONTENT": "false"}

    def environment() -> Emulator:
        return turns.environment(handler="durable_handler.handler", **running.variables, **quiet)

    scripts: list[tuple[str, Script]] = [
        ("T-7731", by_turn(calls("look_up", key="T-7734"), says("T-7732"))),
        ("T-7735 FORBIDDEN", each(says("T-7732"))),
        ("T-7731", each(refuses("T-7736"))),
        ("T-7731", each(says("SECRET T-7738"))),
        ("T-7731", each(UNWANTED)),
        ("T-7731", each(REFUSED_KEY)),
        ("T-7731", each(calls("no_such_tool", key="T-7734"))),
        ("T-7731", by_turn(calls("fail", text="T-7739"), says("T-7732"))),
        ("T-7731", by_turn(calls_with("pay", '{"amount": "T-7740"}'), says("T-7732"))),
        ("T-7731", each(calls("refund", order="T-7734"))),
        ("T-7741 BROKEN", each(says("T-7732"))),
    ]
    with DurableLambda(environment) as running, turns.environment(**running.variables, **quiet) as front:
        assert isinstance(front, Emulator)
        for message, script in scripts:
            turns.reset()
            turns.model.script = script
            came_to(front, durably(new_id(), message))
        log = front.log + running.environments.log
    assert [line for line in log.splitlines() if "T-77" in line or "sk-test" in line] == []


@pytest.mark.parametrize("content", [False, True], ids=["without content", "with content"])
def test_what_a_provider_says_is_logged_where_content_is(turns: TurnStage, content: bool) -> None:
    """The text of an error that is tried again, or ends a run, is in the durable function's log with LOG_CONTENT alone;
    its kind always is."""
    turns.reset()
    body = b'{"error": {"message": "E-7741", "code": null}}'
    texts = {status: strict_faults.Raw(status, body) for status in (400, 503)}

    def environment() -> Emulator:
        variables = {"LOG_CONTENT": str(content).lower(), **logged.variables}
        return turns.environment(handler="durable_handler.handler", **variables)

    with DurableLambda(environment) as logged, turns.environment(**logged.variables) as one:
        turns.model.script = each(*[texts[503]] * 3, says("Q-7742"))  # the client itself tries three times
        assert came_to(one, durably(new_id(), "Q-7742"))["answer"] == "Q-7742"
        assert "Q-7742" not in logged.environments.log
        assert "E-7741" not in logged.environments.log
        turns.model.script = each(texts[400])
        assert came_to(one, durably(new_id(), "Q-7742"))["code"] == "run_failed"
        assert until(SECONDS, lambda: "BadRequestError" in logged.environments.log or content)
        assert until(SECONDS if content else 0, lambda: "E-7741" in logged.environments.log) == content
        assert "Q-7742" not in logged.environments.log


def test_a_message_that_is_blocked_late_leaves_what_was_done_for_it(front: Emulator, turns: TurnStage) -> None:
    """A tool that had its effect before a guardrail blocked the message stays in the history, as in a plain turn."""
    turns.model.script = PAYS
    message = "LATE FORBIDDEN"
    plain = front.invoke(ask(blocked := new_id(), message)).answer
    assert turns.effects.of("pay") == 1
    answer = came_to(front, durably(session_id := new_id(), message))
    assert turns.effects.of("pay") == 2
    assert (answer["status"], answer["code"]) == (plain["status"], plain["code"])
    found = [history(front, each_id)["items"] for each_id in (blocked, session_id)]
    assert [kinds(items) for items in found] == [WHOLE[:3]] * 2
    assert [outputs(items) for items in found] == [["paid 3"]] * 2
    turns.assert_goes_on(front, session_id)


def test_a_run_that_is_killed_goes_on_in_another_environment(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """Killed when an answer is kept and in a tool, a run ends once: kept answers are not asked for again, a tool that
    was interrupted is told as such and not run again, and usage is counted once."""
    turns.model.script = by_turn(calls("look_up", key="a"), calls("pay", amount=3), says("Paid."))

    def kill_once(name: str, action: str) -> None:
        if name.endswith("/model 1") and action == "SUCCEED":
            durable.told = lambda name, action: None
            durable.kill()

    durable.told = kill_once
    turns.effects.on(2, "after", durable.kill)
    before = len(durable.environments.started)
    request = durably(session_id := new_id(), "Look a up, then pay 3.", owner=ADA)
    front.invoke(request)
    answer = came_to(front, request)
    assert (answer["status"], answer["answer"], answer["tools"]) == (200, "Paid.", ["look_up", "pay"])
    assert len(durable.environments.started) - before in (2, 3)  # the first one may have been there
    assert [effect.tool for effect in turns.effects.happened] == ["look_up", "pay"]
    assert len(turns.model.seen) == 3
    found = idle(front, session_id, owner=ADA)
    assert kinds(found["items"]) == ["user", *["function_call", "function_call_output"] * 2, "message"]
    assert outputs(found["items"]) == ["a is 42", INTERRUPTED]
    (listed,) = (
        each
        for each in front.invoke({"action": "list", "owner": ADA}).answer["sessions"]
        if each["session_id"] == session_id
    )
    used = {"requests": 3, "input_tokens": 30, "output_tokens": 15, "total_tokens": 45}
    for usage in (answer["usage"]["turn"], answer["usage"]["session"], found["turns"][0]["usage"], listed["usage"]):
        assert {name: usage[name] for name in used} == used


def test_a_run_whose_function_fails_again_and_again_is_told_as_ended(turns: TurnStage) -> None:
    """An execution that ends without its turn is no run that goes on for ever: whoever asks is told so."""
    turns.reset()

    def broken() -> Emulator:
        return turns.environment(handler="nonsense.handler")

    with DurableLambda(broken) as failing, turns.environment(**failing.variables) as environment:
        answer = came_to(environment, durably(session_id := new_id(), "Hello."))
        assert (answer["status"], answer["code"]) == (409, "run_ended")
        assert history(environment, session_id)["items"] == []
        plain = environment.invoke(ask(session_id, "Hello.")).answer
        assert plain["answer"] == "You said: Hello."


def test_a_run_that_waited_while_its_agent_was_changed_is_told_as_failed(turns: TurnStage) -> None:
    """A deploy that a run does not survive ends its turn: who asks again is told so, not of a run that waits since."""
    turns.reset()
    turns.model.script = REFUNDS
    version: dict[str, str] = {}

    def environment() -> Emulator:
        return turns.environment(handler="durable_handler.handler", **version, **durable.variables)

    with DurableLambda(environment) as durable, turns.environment(**durable.variables) as one:
        run = waiting(one, session_id := new_id())
        version["AGENT_WITHOUT"] = "block"
        durable.kill()
        assert one.invoke(run | {"action": "approve"}).answer["status"] == 202
        assert until(SECONDS, lambda: durable.statuses == ["FAILED"])
        request = durably(session_id, "Refund A-17.")
        assert one.invoke(request).answer["code"] == "run_failed"
        assert one.invoke({"session_id": session_id, "action": "approvals"}).answer["pending"] is None
        other = one.invoke(ask(session_id, "Refund B-18.")).answer
        assert (other["status"], other["pending"]["status"]) == (202, "pending")
        assert one.invoke(request).answer["code"] == "run_failed"
        assert turns.effects.of("refund") == 0


def test_a_run_whose_execution_ended_in_the_middle_is_told_as_ended(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """A turn that its execution left open is told as such once nobody works on it, and the session goes on."""
    turns.model.script = PAYS
    request = durably(session_id := new_id(), "Pay 3.")
    front.invoke(request)
    turns.effects.wait_for(1)
    durable.stop()
    assert front.invoke(request).answer["durable"] == "running"  # as far as can be known, until its time is over
    with turns.environment() as plain:  # which knows of no durable runs: it frees the session, and gives none up
        assert plain.invoke({"session_id": session_id, "action": "stop"}).answer["stopped"]
    answer = came_to(front, request)
    assert (answer["status"], answer["code"]) == (409, "run_ended")
    assert front.invoke({"session_id": session_id, "action": "stop"}).answer["stopped"]
    assert front.invoke(request).answer["code"] == "abandoned"
    assert turns.effects.of("pay") == 1
    turns.assert_goes_on(front, session_id)


def test_what_an_ended_run_had_begun_is_not_done_again_when_it_is_continued(
    front: Emulator, durable: DurableLambda, turns: TurnStage
) -> None:
    """A step is in the history before its tools run: who continues sees the call, and does not make it again."""
    turns.model.script = PAYS
    front.invoke(durably(session_id := new_id(), "Pay 3."))
    turns.effects.wait_for(1)
    durable.stop()
    with turns.environment() as plain:
        assert plain.invoke({"session_id": session_id, "action": "stop"}).answer["stopped"]
        answer = plain.invoke({"session_id": session_id, "action": "continue"}).answer
    assert answer["answer"] == "Paid."
    assert turns.effects.of("pay") == 1
    items = history(front, session_id)["items"]
    assert kinds(items) == WHOLE
    assert outputs(items) == [INTERRUPTED]


def test_without_a_durable_function_a_durable_message_is_refused(turns: TurnStage) -> None:
    """Where there is no durable function, a request for one is told so, and nothing is said in the session."""
    turns.reset()
    with turns.environment() as environment:
        answer = environment.invoke(durably(session_id := new_id(), "Hello.")).answer
        assert (answer["status"], answer["code"]) == (400, "no_durable")
        assert history(environment, session_id)["durable"] is False
        assert history(environment, session_id)["items"] == []
    assert turns.model.seen == []
