"""Long runs on the chat page, in a real browser: the real durable function, driven by AWS's testing package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from openai_agents_session.conversations import Conversation
from tests.support import browser
from tests.support.agent import Stage
from tests.support.events import path_of
from tests.support.page import OWNER, Page, barriers
from tools.emulation import rie
from tools.emulation.durable import DurableLambda
from tools.emulation.model import calls, says
from tools.emulation.rie import Emulator
from tools.emulation.streaming_model import StreamingModel
from tools.page import serving

MINUTE_LATER = "const now = Date.now; Date.now = () => now() + 61_000;"
SUM = calls("calculate", "call_sum", expression="6 * 7")
REFUND = calls("issue_refund", "call_refund", order="A-1", amount=19.9)


class Script:
    """What the model answers to a message, one after the other, each when it is let.

    Args:
        *answers: The answers.
    """

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = answers
        self._let = [threading.Event() for _ in answers]

    def let(self, *numbers: int) -> None:
        """Give the answers with these numbers, all without."""
        for number in numbers or range(len(self._let)):
            self._let[number].set()

    def __call__(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        newest = max(number for number, message in enumerate(messages) if message["role"] == "user")
        number = sum(message["role"] == "assistant" for message in messages[newest:])
        assert self._let[number].wait(60)
        return self._answers[number]


@pytest.fixture(scope="module")
def durable(stage: Stage, speaker: StreamingModel) -> Iterator[DurableLambda]:
    """The durable function."""
    told = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": speaker.base_url}

    def environment() -> Emulator:
        variables = stage.variables | told | running.variables
        return Emulator("durable_app.handler", [rie.FUNCTION, rie.built_layer()], variables, timeout_seconds=60)

    with DurableLambda(environment) as running:
        yield running


@pytest.fixture(scope="module")
def page_url(
    stage: Stage, speaker: StreamingModel, durable: DurableLambda, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The page of a service that has a durable function."""
    told = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": speaker.base_url}
    served = {"SERVE_PAGE": "true", "LOCAL_OWNER": OWNER, "LEASE_WAIT_SECONDS": "2", **durable.variables}
    with serving(stage.variables | told | served, tmp_path_factory.mktemp("page") / "log") as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left(page: Page, durable: DurableLambda) -> Iterator[None]:
    yield
    if isinstance(page.model.reply, Script):
        page.model.reply.let()
    durable.forget()


def never_starts() -> Emulator:
    raise RuntimeError("the function does not start")


def plays(page: Page, *answers: dict[str, Any]) -> Script:
    """Have the model answer these, each when it is let."""
    script = Script(*answers)
    page.model.reply = script
    return script


def chooses_long(page: Page) -> None:
    page.one("#long").click()
    assert page.one("#long input").is_selected()


def begins(page: Page, text: str) -> None:
    """Send a message as a long run, and wait until it is under way."""
    chooses_long(page)
    page.send(text)
    is_under_way(page)


def is_under_way(page: Page) -> None:
    page.sees("You can close this page", ".waits")
    assert page.hint.startswith("A long run is under way"), page.hint


def has_ended(page: Page) -> None:
    """Wait until the page says that a run has ended, and see that it offers nothing but to discard it."""
    page.sees("This run has ended without an answer", ".card [role=alert]")
    assert page.texts(".card p") == ["Discard it: issue_refund has not run."]
    assert page.texts(".card button") == ["Discard"]
    assert page.texts(".tool .state") == ["not run"]
    assert page.all(".waits, .thinking") == []
    assert page.hint == "Discard the run above first."
    assert not page.one("#stop").is_displayed()


def state(page: Page) -> dict[str, Any]:
    answer: dict[str, Any] = page.client.get(path_of(page.session_id))
    return answer


def test_a_long_run_is_shown_step_by_step_to_its_answer(page: Page) -> None:
    """The question, each step when it is done, and the answer appear by themselves; the model is asked once each."""
    script = plays(page, SUM, says("It is 42."))
    assert page.one("#long input").accessible_name == "Long run"
    page.one("#long input").send_keys(Keys.SPACE)
    assert page.hint == "It goes on when you close this page."
    page.send("What is 6 * 7?")
    is_under_way(page)
    assert page.said == ["What is 6 * 7?"]
    assert not page.one("#long input").is_selected()
    script.let(0)
    page.sees("calculate", ".tool")
    is_under_way(page)
    script.let(1)
    page.sees("It is 42.", ".assistant")
    page.settles()
    assert page.all(".waits, .card") == []
    assert page.texts(".tool .state") == ["done"]
    assert page.status == "Agent: It is 42."
    assert len(page.model.seen) == 2
    assert [item.get("role") or item["type"] for item in state(page)["items"]] == [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
    ]
    assert page.complaints() == []


def test_a_long_run_waits_for_a_decision_and_any_browser_follows_it(page: Page) -> None:
    """A reload and another browser show the run, what it asks for, and after the decision how it goes on and ends."""
    script = plays(page, REFUND, says("Refunded."))
    begins(page, "Refund it.")
    with browser.browser() as elsewhere:
        other = Page(elsewhere, page.url, page.session_id, page.model, page.stage)
        other.driver.get(other.address)
        is_under_way(other)
        page.driver.refresh()
        is_under_way(page)
        script.let(0)
        page.sees("May the agent call issue_refund?", ".ask")
        other.sees("May the agent call issue_refund?", ".ask")
        page.sees("There is no hurry: the run waits", ".ask")
        page.press("Approve issue_refund")
        is_under_way(page)
        is_under_way(other)
        assert page.all(".ask") == other.all(".ask") == []
        assert page.until(lambda: state(page)["durable_run"])  # also of the turn that the decision led to
        script.let(1)
        for each in (page, other):
            each.sees("Refunded.", ".assistant")
            each.settles()
            assert each.texts(".tool .state") == ["done"]
            assert each.all(".card") == []


def test_a_run_that_waits_is_discarded(page: Page) -> None:
    """Discard runs nothing, and the next message is answered at once."""
    plays(page, REFUND).let()
    chooses_long(page)
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    page.press("Discard the whole step")
    page.settles()
    page.model.reply = lambda _: says("Very well.")
    page.converses("Never mind.")
    assert page.said == ["Refund it.", "Never mind.", "Very well."]


@pytest.mark.parametrize("decision", ["Approve", "Reject"])
def test_a_run_that_ended_while_it_waited_is_told_to_who_decides_and_is_discarded(
    page: Page, durable: DurableLambda, axe: str, decision: str
) -> None:
    """Who decides on a run that nobody will carry out is told so, also after a reload; discarded, its call is no
    rejected one."""
    plays(page, REFUND).let()
    chooses_long(page)
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    durable.forget()
    page.press(f"{decision} issue_refund")
    has_ended(page)
    assert barriers(page, axe) == []
    page.driver.refresh()
    has_ended(page)
    page.press("Discard")
    page.sees("It was stopped, or given up.", ".note")
    page.settles()
    assert page.texts(".tool .state") == ["not run"]
    page.model.reply = lambda _: says("Very well.")
    page.converses("Never mind.")
    assert page.said == ["Refund it.", "Never mind.", "Very well."]


def test_a_decision_that_could_not_be_sent_is_sent_again(page: Page, durable: DurableLambda) -> None:
    """Where Lambda does not take a decision, an alert says so, and a button sends it again: the tool runs once."""
    plays(page, REFUND, says("Refunded.")).let()
    chooses_long(page)
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    durable.denied = "callbacks"
    try:
        page.press("Approve issue_refund")
        page.sees("could not be sent", ".failed [role=alert]")
        assert page.texts(".failed button") == ["Send it again"]
    finally:
        durable.denied = None
    page.press("Send it again")
    page.sees("Refunded.", ".assistant")
    page.settles()
    assert page.texts(".tool .state") == ["done"]
    assert page.all(".card") == []


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_a_run_that_ends_after_its_decision_is_told_by_itself(
    page: Page, durable: DurableLambda, monkeypatch: pytest.MonkeyPatch, is_reloaded: bool
) -> None:
    """Where the function fails for good after a decision was taken, any page that shows the run finds that out."""
    plays(page, REFUND).let()
    chooses_long(page)
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    is_over = threading.Event()

    def waits() -> Emulator:
        is_over.wait(60)
        return never_starts()

    monkeypatch.setattr(durable.environments, "_new", waits)
    durable.kill()
    page.press("Approve issue_refund")
    is_under_way(page)
    if is_reloaded:
        page.driver.refresh()
        is_under_way(page)
    is_over.set()
    has_ended(page)
    page.press("Discard")
    page.sees("It was stopped, or given up.", ".note")


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_stop_gives_a_long_run_up(page: Page, durable: DurableLambda, is_reloaded: bool) -> None:
    """Stopped by who began it or by another, a run ends, and the message can be answered again."""
    script = plays(page, SUM, says("It is 42."))
    begins(page, "What is 6 * 7?")
    script.let(0)
    page.sees("calculate", ".tool")
    if is_reloaded:
        page.driver.refresh()
        is_under_way(page)
    page.press("Stop")
    page.sees("It was stopped, or given up.", ".note")
    stopped = state(page)
    assert (stopped["state"], stopped["durable_run"]) == ("idle", False)
    page.model.reply = lambda _: says("Forty-two.")
    script.let()
    page.press("Answer again")
    page.sees("Forty-two.", ".assistant")
    page.settles()
    assert page.until(lambda: durable.running == 0)
    assert page.said == ["What is 6 * 7?", "Forty-two."]
    assert len(state(page)["items"]) == 2


def test_a_plain_turn_beside_long_runs_is_stopped_and_continued(page: Page) -> None:
    """Where there is a durable function, a turn that is none stays open when it is stopped, and Continue goes on."""
    page.begins_to_count()
    assert state(page)["durable_run"] is False
    page.press("Stop")
    page.sees("This message has no answer", ".note")
    assert state(page)["state"] == "unfinished"
    page.model.let_go()
    page.press("Continue")
    page.sees("one two three", ".assistant")


def test_a_run_that_fails_says_why(page: Page) -> None:
    """An alert says that the run failed; after a reload it is still said that the message has no answer, and why."""
    page.model.refuse = True
    chooses_long(page)
    page.send("Hello")
    page.sees("The run failed, and was given up", ".failed [role=alert]")
    page.driver.refresh()
    page.sees("The run failed, and was given up", ".note")
    page.model.refuse = False
    page.press("Answer again")
    page.sees("You said: Hello", ".assistant")


def loses(page: Page, when: str) -> None:
    """Lose the connection once, before or after a message has arrived; note under which keys messages are sent."""
    page.run(
        "const when = arguments[0], fetched = window.fetch; window.keys = [];"
        "window.fetch = (path, options) => {"
        "  const key = options?.headers?.['idempotency-key'], isFirst = key && !window.keys.length;"
        "  if (key) window.keys.push(key);"
        "  if (isFirst && when === 'before') return Promise.reject(new TypeError('lost'));"
        "  return fetched(path, options).then((answer) => {"
        "    if (isFirst) throw new TypeError('lost');"
        "    return answer;"
        "  });"
        "};",
        when,
    )


def test_a_message_that_did_not_arrive_is_sent_again_as_the_same_run(page: Page) -> None:
    """After a lost connection the message and the choice are back, and the key stays what it was."""
    plays(page, says("Once.")).let()
    loses(page, "before")
    chooses_long(page)
    page.send("Hello")
    page.sees("The connection was lost", ".failed [role=alert]")
    assert page.one("#message").get_attribute("value") == "Hello"
    assert page.one("#long input").is_selected()
    page.press("Try again")
    page.sees("Once.", ".assistant")
    page.settles()
    assert page.said == ["Hello", "Once."]
    keys = page.run("return window.keys")
    assert len(keys) >= 2
    assert len(set(keys)) == 1
    assert len(page.model.seen) == 1


def test_a_message_that_arrived_unknown_to_the_page_is_not_left_to_be_sent_again(page: Page) -> None:
    """When the answer to a start is lost, the run is found in the history, and the message leaves its field."""
    script = plays(page, says("Once."))
    loses(page, "after")
    chooses_long(page)
    page.send("Hello")
    is_under_way(page)
    assert page.until(lambda: page.one("#message").get_attribute("value") == "")
    assert page.all(".failed") == []
    assert not page.one("#long input").is_selected()
    script.let()
    page.sees("Once.", ".assistant")
    page.settles()
    assert page.said == ["Hello", "Once."]
    assert len(page.model.seen) == 1


def test_a_run_that_cannot_begin_gives_its_message_back(
    page: Page, durable: DurableLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the execution has ended before the turn began, an alert says so, and the message can be sent again."""
    durable.kill()
    with monkeypatch.context() as broken:
        broken.setattr(durable.environments, "_new", never_starts)
        chooses_long(page)
        page.send("Hello")
        page.sees("The long run has ended without an answer", ".failed [role=alert]")
    assert page.said == []
    assert page.one("#message").get_attribute("value") == "Hello"
    assert page.one("#long input").is_selected()
    assert page.hint == "It goes on when you close this page."
    page.one("#send").click()
    page.sees("You said: Hello", ".assistant")
    assert page.said == ["Hello", "You said: Hello"]


def test_a_run_that_does_not_begin_is_told_after_a_minute(
    page: Page, durable: DurableLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question stays, also where one looks elsewhere; the page says what can be done; Stop puts it back."""
    is_over = threading.Event()

    def waits() -> Emulator:
        is_over.wait(60)
        return never_starts()

    durable.kill()
    monkeypatch.setattr(durable.environments, "_new", waits)
    chooses_long(page)
    page.send("Hello")
    page.sees("The long run is starting", ".waits")
    page.press("New conversation")
    assert page.until(lambda: page.said == [])
    page.driver.back()
    page.sees("The long run is starting", ".waits")
    assert page.said == ["Hello"]
    assert page.all(".note") == []
    page.run(MINUTE_LATER)
    page.sees("The run has not begun", ".note [role=status]")
    assert page.said == ["Hello"]
    page.press("Stop")
    assert page.until(lambda: page.said == [] and not page.all(".waits"))
    assert page.one("#message").get_attribute("value") == "Hello"
    assert page.one("#long input").is_selected()
    is_over.set()


def test_a_run_whose_execution_has_ended_can_be_continued(
    page: Page, durable: DurableLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that nobody will go on with says so, and Continue brings the answer from what it has stored."""
    script = plays(page, SUM, says("It is 42."))
    begins(page, "What is 6 * 7?")
    script.let(0)
    page.sees("calculate", ".tool")
    monkeypatch.setattr(durable.environments, "_new", never_starts)
    durable.kill()
    page.do(lambda session: Conversation(session).stop())  # its lease would run out by itself, in a minute
    page.sees("The long run has ended without an answer", ".failed [role=alert]")
    script.let()
    page.press("Continue")
    page.sees("It is 42.", ".assistant")
    page.settles()
    assert page.said == ["What is 6 * 7?", "It is 42."]
    assert page.texts(".tool .state") == ["done"]


def test_a_run_that_stands_still_is_told_and_can_be_given_up(
    page: Page, durable: DurableLambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody works on a run any more the page says so after a minute, and Stop ends it for good."""

    script = plays(page, says("Too late."))
    begins(page, "Hello")
    monkeypatch.setattr(durable.environments, "_new", never_starts)
    durable.kill()
    page.do(lambda session: Conversation(session).stop())  # its lease would run out by itself, in a minute
    page.driver.refresh()
    is_under_way(page)
    page.run(MINUTE_LATER)
    page.sees("Nobody is at work on this run", ".note [role=status]")
    page.press("Stop")
    page.sees("It was stopped, or given up.", ".note")
    script.let()
    assert state(page)["state"] == "idle"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nobody_is_kept_out_of_a_long_run(page: Page, axe: str, width: int, scheme: str) -> None:
    """The choice, a run under way, one that waits and one that failed: axe-core finds nothing, and nothing scrolls."""
    page.resize(width, 820, scheme)
    chooses_long(page)
    page.one("#message").send_keys("Compare the last three invoices of all customers.")
    assert barriers(page, axe) == []
    script = plays(page, SUM, REFUND, says("Refused."))
    page.one("#message").send_keys(Keys.ENTER)
    is_under_way(page)
    script.let(0)
    page.sees("calculate", ".tool")
    assert barriers(page, axe) == []
    size = page.run("const root = document.documentElement; return [root.scrollWidth, root.scrollHeight]")
    assert size == [width, 820]
    script.let(1)
    page.sees("May the agent call issue_refund?", ".ask")
    assert barriers(page, axe) == []
    page.model.refuse = True
    script.let()
    page.press("Approve issue_refund")
    page.sees("The run failed, and was given up", ".failed")
    assert barriers(page, axe) == []
