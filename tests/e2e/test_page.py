"""The chat page in a real browser, on the streaming server with the built layer."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.common.exceptions import NoAlertPresentException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support import browser
from tests.support.agent import agent_stage, until
from tests.support.events import Client, path_of
from tools.emulation.issuer import Issuer
from tools.emulation.model import calls, says, tool_then_answer
from tools.emulation.streaming_model import StreamingModel
from tools.page import serving

SECONDS = 20

if (reason := browser.missing()) and os.environ.get("CI") != "true":  # in CI the fixture fails
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def shared_model() -> Iterator[StreamingModel]:
    with StreamingModel() as model:
        yield model


@pytest.fixture(scope="module")
def url(shared_model: StreamingModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with agent_stage() as stage:
        model = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": shared_model.base_url}
        variables = stage.variables | model | {"SERVE_PAGE": "true", "LEASE_WAIT_SECONDS": "2"}
        with serving(variables, tmp_path_factory.mktemp("page") / "log") as running:
            yield running


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser.browser() as running:
        yield running


@pytest.fixture
def model(shared_model: StreamingModel) -> Iterator[StreamingModel]:
    yield shared_model
    shared_model.let_go()
    shared_model.reply = StreamingModel().reply
    shared_model.refuse = False


class Page:
    """What a person sees and does."""

    def __init__(self, driver: Chrome, url: str, session_id: str) -> None:
        self.driver = driver
        self.client = Client(url, {})
        self.session_id = session_id
        self.address = f"{url}/#{path_of(session_id).removeprefix('/sessions/')}"

    def open(self) -> None:
        self.driver.get("about:blank")  # another hash alone would not load the page
        self.driver.get(self.address)
        self.settles()

    def settles(self) -> None:
        assert self.until(lambda: self.hint.startswith(("Enter sends", "Decide"))), self.hint

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        def check() -> Any:
            try:
                return condition()
            except StaleElementReferenceException:
                return None

        return until(seconds, check)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    @property
    def hint(self) -> str:
        return self.driver.find_element(By.ID, "hint").text

    @property
    def said(self) -> list[str]:
        return self.texts("#log .user .text, #log .assistant .text")

    @property
    def status(self) -> str:
        """What a screen reader is told."""
        return str(self.driver.find_element(By.ID, "status").get_attribute("textContent"))

    def send(self, text: str) -> None:
        self.driver.find_element(By.ID, "message").send_keys(text, Keys.ENTER)

    def press(self, label: str) -> None:
        [button] = [button for button in self.all("button") if button.text == label]
        button.click()

    def sees(self, text: str, selector: str = "#log") -> None:
        assert self.until(lambda: any(text in seen for seen in self.texts(selector))), self.texts(selector)


@pytest.fixture
def page(driver: Chrome, url: str, model: StreamingModel) -> Iterator[Page]:
    driver.get_log("browser")
    page = Page(driver, url, f"ada/{uuid.uuid4().hex} ü")
    page.open()
    yield page
    model.let_go()
    for handle in driver.window_handles[1:]:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(driver.window_handles[0])


def complaints(page: Page) -> list[str]:
    """What the browser wrote to its console, but for the statuses of answers that were meant to be refused."""
    return [line["message"] for line in page.driver.get_log("browser") if "status of 4" not in line["message"]]


def test_an_answer_is_seen_as_it_is_spoken(page: Page, model: StreamingModel) -> None:
    model.reply = lambda _: says("one two three")
    model.hold()
    page.send("Count.")
    assert page.until(lambda: page.said == ["Count."])
    for words, text in ((1, "one"), (1, "one two")):
        model.let(words)
        assert page.until(lambda text=text: page.said[1:] == [text]), page.said
        assert page.all(".assistant.live")
    model.let_go()
    page.settles()
    assert page.said == ["Count.", "one two three"]
    assert not page.all(".live")
    assert page.status == "Agent: one two three"
    assert complaints(page) == []


def test_a_tool_is_shown_with_what_it_was_given_and_returned(page: Page, model: StreamingModel) -> None:
    model.reply = tool_then_answer("calculate", expression="6 * 7")
    page.send("What is 6 * 7?")
    page.sees("It is 42.")
    assert page.texts(".tool b") == ["calculate"]
    assert page.texts(".tool .state") == ["done"]
    page.all(".tool summary")[0].send_keys(Keys.ENTER)
    assert page.texts(".tool pre") == ['{\n  "expression": "6 * 7"\n}', "42"]


def wants_a_refund(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["role"] == "tool":
        return says(f"Done: {messages[-1]['content']}")
    return calls("issue_refund", f"call_{len(messages)}", order="A-1", amount=19.9)


@pytest.mark.parametrize(
    ("button", "outcome", "state"),
    [("Approve", "Refunded 19.90 euros", "done"), ("Reject", "not approved", "rejected")],
)
def test_a_call_is_decided_on_and_the_run_goes_on(
    page: Page, model: StreamingModel, button: str, outcome: str, state: str
) -> None:
    model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    page.sees('"order": "A-1"', ".ask pre")
    assert page.texts(".tool .state") == ["waits for approval"]
    assert not page.driver.find_element(By.ID, "send").is_enabled()
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)  # a second Enter, meant for the message
    page.open()  # the decision outlives a reload
    page.sees("May the agent call issue_refund?", ".ask")
    page.press(button)
    page.sees(outcome, ".assistant")
    page.settles()
    assert page.all(".ask") == []
    assert page.texts(".tool .state") == [state]
    assert page.client.get(path_of(page.session_id, "/approvals"))["pending"] is None


def wants_two_refunds(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["content"] != "Refund both.":
        return says(f"You said: {messages[-1]['content']}")
    first, second = (calls("issue_refund", f"call_{order}", order=order, amount=1) for order in ("A-1", "A-2"))
    return first | {"tool_calls": first["tool_calls"] + second["tool_calls"]}


def test_a_run_that_waits_is_discarded_and_the_conversation_goes_on(page: Page, model: StreamingModel) -> None:
    model.reply = wants_two_refunds
    page.send("Refund both.")
    assert page.until(lambda: len(page.all(".ask")) == 2)
    page.open()  # it can be discarded after a reload, too
    page.press("Discard")
    page.sees("The request was discarded", ".note")
    page.settles()
    assert page.all(".ask") == []
    assert page.texts(".tool .state") == ["discarded"] * 2
    assert page.client.get(path_of(page.session_id, "/approvals"))["pending"] is None
    page.send("Never mind.")
    page.sees("You said: Never mind.", ".assistant")
    outputs = [item["output"] for item in page.client.history(page.session_id) if "output" in item]
    assert len(outputs) == 2
    assert all("has not run" in output for output in outputs)
    assert complaints(page) == []


def test_a_run_that_was_decided_on_elsewhere_is_not_discarded(page: Page, model: StreamingModel) -> None:
    model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    run_id = page.client.get(path_of(page.session_id, "/approvals"))["pending"]["run_id"]
    with page.client.ask(
        "POST", path_of(page.session_id, "/approvals"), {"decision": "approve", "run_id": run_id}
    ) as a:
        assert len(list(a.events())) > 1
    page.press("Discard")
    page.sees("No such run waits for a decision", ".failed")
    page.press("Load what is stored")
    page.sees("Refunded 19.90 euros", ".assistant")
    assert page.all(".ask, .failed") == []


def test_a_call_that_was_decided_on_elsewhere_is_not_decided_on_again(page: Page, model: StreamingModel) -> None:
    model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    run_id = page.client.get(path_of(page.session_id, "/approvals"))["pending"]["run_id"]
    decision = {"decision": "reject", "run_id": run_id}
    with page.client.ask("POST", path_of(page.session_id, "/approvals"), decision) as answer:
        assert len(list(answer.events())) > 1
    page.press("Approve")
    page.sees(
        "No such run waits for a decision",
        ".failed",
    )
    page.press("Load what is stored")
    page.sees("not approved", ".assistant")
    assert page.all(".ask, .failed") == []


def test_a_reload_resumes_the_conversation_by_its_id(page: Page, model: StreamingModel) -> None:
    model.reply = tool_then_answer("calculate", expression="6 * 7")
    page.send("What is 6 * 7?")
    page.sees("It is 42.")
    page.settles()
    seen = page.driver.find_element(By.ID, "log").text
    page.driver.refresh()
    page.sees("It is 42.")
    page.settles()
    assert page.driver.find_element(By.ID, "log").text == seen
    assert page.driver.find_element(By.ID, "session").text == page.session_id
    model.reply = lambda messages: says(f"You said {sum(m['role'] == 'user' for m in messages)} things.")
    page.send("And now?")
    page.sees("You said 2 things.")


def test_a_new_conversation_has_an_id_of_its_own_and_the_old_one_is_a_click_away(
    page: Page, model: StreamingModel
) -> None:
    page.send("Remember the heron.")
    page.sees("You said: Remember the heron.")
    page.press("New conversation")
    assert page.until(lambda: page.said == [])
    page.settles()
    assert page.driver.find_element(By.ID, "session").text != page.session_id
    page.driver.find_element(By.LINK_TEXT, "Remember the heron.").click()
    page.sees("You said: Remember the heron.")
    assert page.driver.find_element(By.CSS_SELECTOR, "[aria-current]").text == "Remember the heron."


def test_a_second_tab_waits_and_then_is_told_that_the_conversation_is_busy(page: Page, model: StreamingModel) -> None:
    model.hold()
    page.send("first")
    assert page.until(lambda: page.hint == "The agent is at work …")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open()
    page.sees("This message has no answer yet")
    page.send("second")
    assert page.until(lambda: "busy in another window" in page.hint), page.hint
    page.sees("This conversation is busy", ".failed [role=alert]")
    assert page.driver.find_element(By.ID, "message").get_attribute("value") == "second"  # it is not lost
    model.let_go()
    page.driver.switch_to.window(first)
    page.sees("You said: first")
    page.driver.switch_to.window(page.driver.window_handles[1])
    page.press("Try again")
    page.sees("You said: second")
    assert [item["role"] for item in page.client.history(page.session_id)] == ["user", "assistant"] * 2


MARKUP = (
    "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
    "<svg/onload=alert(1)>[x](javascript:alert(1))</textarea><b>bold</b>"
)


def test_markup_is_text_whoever_writes_it(page: Page, model: StreamingModel) -> None:
    def reply(messages: list[dict[str, Any]]) -> dict[str, Any]:
        if messages[-1]["role"] == "tool":
            return says(MARKUP)
        return calls("issue_refund", f"call_{len(messages)}", order=MARKUP, amount=1)

    model.reply = reply
    page.send(MARKUP)
    page.sees("May the agent call", ".ask")
    page.press("Approve")
    page.sees("<b>bold</b>", ".assistant")
    page.settles()
    for _ in ("as it came", "as it is loaded again"):
        assert page.said == [MARKUP, MARKUP]
        assert json.loads(page.driver.execute_script("return document.querySelector('.tool pre').textContent")) == {
            "order": MARKUP,
            "amount": 1,
        }
        assert page.all("#log img, #log script, #log svg, #log b:not(.tool b), nav img, header img") == []
        assert "hacked" not in page.driver.title.replace(MARKUP[:80], "")
        with pytest.raises(NoAlertPresentException):
            _ = page.driver.switch_to.alert
        assert complaints(page) == []
        page.open()


def test_even_a_script_that_got_in_would_not_run(page: Page) -> None:
    page.driver.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        "document.body.append(script); document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=ran=true>');"
        "fetch('http://127.0.0.1:9/').catch(() => { window.refused = true; });"
    )
    assert page.until(lambda: page.driver.execute_script("return window.refused"))
    assert page.driver.execute_script("return window.ran") is None
    assert sum("Content Security Policy" in line for line in complaints(page)) >= 3


def test_a_failure_is_told_in_words_and_the_turn_can_be_continued(page: Page, model: StreamingModel) -> None:
    model.refuse = True
    page.send("Hello")
    page.sees("The model gave no answer", ".failed [role=alert]")
    model.refuse = False
    page.press("Continue")
    page.sees("You said: Hello")
    page.settles()
    assert page.said == ["Hello", "You said: Hello"]
    assert page.all(".failed") == []


def test_everything_can_be_reached_with_the_keyboard_and_has_a_name(page: Page, model: StreamingModel) -> None:
    model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    nameless = page.driver.execute_script(
        "return [...document.querySelectorAll('button, textarea, a')].filter((node) => node.offsetParent &&"
        " !node.textContent.trim() && !node.ariaLabel && !node.labels?.length).map((node) => node.outerHTML)"
    )
    assert nameless == []
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert page.driver.switch_to.active_element.get_attribute("aria-label") == "Approve issue_refund"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.sees("Refunded", ".assistant")
    assert page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "message")


def test_dark_colours_are_used_where_they_are_asked_for(page: Page) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        seen.add(page.driver.execute_script(ground))
    assert seen == {"rgb(246, 247, 247)", "rgb(16, 21, 20)"}


def test_a_lost_connection_is_told_and_the_message_is_kept(page: Page) -> None:
    page.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page.send("Hello")
    page.sees("The connection was lost", ".failed [role=alert]")
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    page.press("Try again")
    page.sees("You said: Hello")
    assert page.said == ["Hello", "You said: Hello"]


def test_people_are_signed_in_and_have_conversations_of_their_own(
    driver: Chrome, model: StreamingModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the server wants a token, the page gets one from its issuer, and the server knows who is there."""
    with agent_stage() as stage, Issuer() as issuer:
        told = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": model.base_url}
        told |= {"AWS_LAMBDA_FUNCTION_NAME": "streaming", "JWT_ISSUER": issuer.url, "JWT_AUDIENCE": "page"}
        log = tmp_path_factory.mktemp("signed-in") / "log"
        with serving(stage.variables | told | {"SERVE_PAGE": "true"}, log) as url:
            page = Page(driver, url, "shared-name")
            page.open()
            page.send("Hello")
            assert page.until(lambda: page.said == ["Hello", "You said: Hello"]), page.said
            assert "code=" not in driver.current_url
            assert driver.current_url.endswith("#shared-name")
            page.open()
            assert page.until(lambda: page.said == ["Hello", "You said: Hello"]), "a reload needs no other sign-in"
            driver.execute_script("sessionStorage.clear()")
            issuer.user = "bob"
            page.open()
            page.send("Anybody?")
            assert page.until(lambda: page.said == ["Anybody?", "You said: Anybody?"]), page.said
