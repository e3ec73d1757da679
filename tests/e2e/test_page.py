"""The chat page in a real browser, on the streaming server with the built layer: what is said, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.support.agent import agent_stage
from tests.support.events import path_of
from tests.support.page import Page
from tools.emulation.issuer import Issuer
from tools.emulation.model import calls, says, tool_then_answer
from tools.emulation.streaming_model import StreamingModel
from tools.page import serving


def wants_a_refund(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["role"] == "tool":
        return says(f"Done: {messages[-1]['content']}")
    return calls("issue_refund", f"call_{len(messages)}", order="A-1", amount=19.9)


def test_an_answer_is_seen_as_it_is_spoken(page: Page) -> None:
    """Each word is on the page before the model has said the next one."""
    page.model.reply = lambda _: says("one two three")
    page.model.hold()
    page.send("Count.")
    assert page.until(lambda: page.said == ["Count."])
    for words, text in ((1, "one"), (1, "one two")):
        page.model.let(words)
        assert page.until(lambda text=text: page.said[1:] == [text]), page.said
        assert page.all(".live .speaking")
    page.model.let_go()
    page.settles()
    assert page.said == ["Count.", "one two three"]
    assert not page.all(".live")
    assert page.status == "Agent: one two three"
    assert not page.one("#long").is_displayed()  # there is no durable function
    assert page.complaints() == []


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_separators_that_end_no_line_of_a_stream_are_text(page: Page, separator: str) -> None:
    """A text with a separator other than CR and LF arrives whole."""
    text = f"before{separator}after"
    page.model.reply = lambda _: says(text)
    page.converses("Say it.")
    assert page.run("return document.querySelector('.assistant .text').textContent.trim()").endswith("after")
    assert page.client.history(page.session_id)[1]["content"][0]["text"] == text


def test_a_tool_is_shown_with_what_it_was_given_and_returned(page: Page) -> None:
    """A tool's card opens by keyboard and shows arguments and output."""
    page.model.reply = tool_then_answer("calculate", expression="6 * 7")
    page.converses("What is 6 * 7?")
    assert page.texts(".tool b") == ["calculate"]
    assert page.texts(".tool .state") == ["done"]
    page.one(".tool summary").send_keys(Keys.ENTER)
    assert page.texts(".tool pre") == ['{\n  "expression": "6 * 7"\n}', "42"]


@pytest.mark.parametrize(
    ("button", "outcome", "state"),
    [("Approve", "Refunded 19.90 euros", "done"), ("Reject", "not approved", "rejected")],
)
def test_a_call_is_decided_on_and_the_run_goes_on(page: Page, button: str, outcome: str, state: str) -> None:
    """Nothing but the button decides, and a decision outlives a reload."""
    page.model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    page.sees('"order": "A-1"', ".ask pre")
    assert page.texts(".tool .state") == ["waits for approval"]
    assert not page.one("#send").is_enabled()
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)  # a second Enter, meant for the message
    page.open()
    page.sees("May the agent call issue_refund?", ".ask")
    page.press(f"{button} issue_refund")
    page.sees(outcome, ".assistant")
    page.settles()
    assert page.all(".ask") == []
    assert page.texts(".tool .state") == [state]
    assert page.client.get(path_of(page.session_id, "/approvals"))["pending"] is None


def test_a_waiting_run_is_discarded_and_the_conversation_goes_on(page: Page) -> None:
    """Discard runs no tool and asks no model, and the next message is answered."""
    page.model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    asked = len(page.model.seen)
    page.press("Discard the whole step")
    assert page.until(lambda: page.hint.startswith("Enter sends"))
    assert page.all(".ask") == []
    assert len(page.model.seen) == asked
    page.model.reply = lambda _: says("Very well.")
    page.converses("Never mind.")
    assert page.said[-1] == "Very well."


def test_a_call_that_was_decided_on_elsewhere_is_not_decided_on_again(page: Page) -> None:
    """A decision that comes too late is refused in words, and the page shows what was decided."""
    page.model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    run_id = page.client.get(path_of(page.session_id, "/approvals"))["pending"]["run_id"]
    decision = {"decision": "reject", "run_id": run_id}
    with page.client.ask("POST", path_of(page.session_id, "/approvals"), decision) as answer:
        assert len(list(answer.events())) > 1
    if page.all(".ask"):  # unless the page has noticed by itself
        page.press("Approve issue_refund")
        page.sees("No such run waits for a decision", ".failed")
    page.sees("not approved", ".assistant")
    assert page.all(".ask") == []


def test_a_failure_is_told_in_words_and_the_turn_can_be_continued(page: Page) -> None:
    """What failed says so in an alert, and Continue brings the answer without storing the message twice."""
    page.model.refuse = True
    page.send("Hello")
    page.sees("The model gave no answer", ".failed [role=alert]")
    page.model.refuse = False
    page.press("Continue")
    page.sees("You said: Hello")
    page.settles()
    assert page.said == ["Hello", "You said: Hello"]
    assert page.all(".failed") == []
    assert len(page.client.history(page.session_id)) == 2


def test_a_lost_connection_is_told_and_the_message_is_kept(page: Page) -> None:
    """A message that could not be sent is back in its field, and is sent once when it can be."""
    page.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page.send("Hello")
    page.sees("The connection was lost", ".failed [role=alert]")
    assert page.one("#message").get_attribute("value") == "Hello"
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    page.press("Try again")
    page.sees("You said: Hello")
    assert page.said == ["Hello", "You said: Hello"]


def test_an_answer_can_be_stopped_and_the_turn_be_continued(page: Page) -> None:
    """Stop ends the turn on the server: nothing more is stored, and the conversation is free at once."""
    page.begins_to_count()
    page.one("#message").send_keys(Keys.ESCAPE)
    page.sees("This message has no answer", ".note")
    assert page.client.get(path_of(page.session_id))["state"] == "unfinished"
    page.model.let_go()
    page.driver.implicitly_wait(0)
    assert len(page.client.history(page.session_id)) == 1
    page.press("Continue")
    page.sees("one two three", ".assistant")
    page.settles()
    assert [item["role"] for item in page.client.history(page.session_id)] == ["user", "assistant"]


def test_a_picture_and_a_file_go_with_a_message(page: Page, tmp_path: Any) -> None:
    """Attachments reach the model as content parts, are stored, and are seen again after a reload."""
    picture, notes = tmp_path / "dot.png", tmp_path / "notes.txt"
    picture.write_bytes(bytes.fromhex(DOT))
    notes.write_text("to be read")
    page.one("#files").send_keys(f"{picture}\n{notes}")
    assert page.until(lambda: page.texts("#attached li") == ["dot.png", "notes.txt"])
    page.model.reply = lambda _: says("A dot.")
    page.converses("What is this?")
    content = page.client.history(page.session_id)[0]["content"]
    assert [part["type"] for part in content] == ["input_text", "input_image", "input_file"]
    assert any(part["type"] == "image_url" for part in page.model.seen[-1][-1]["content"])
    page.open()
    assert page.run("return document.querySelector('.user img').naturalWidth") == 1
    assert page.texts(".user .file") == ["notes.txt"]
    assert page.complaints() == []


def test_files_that_are_too_large_are_refused_before_they_are_sent(page: Page, tmp_path: Any) -> None:
    """The limit is told, and what was attached before stays."""
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(4_000_001))
    page.one("#files").send_keys(str(large))
    assert page.until(lambda: "4 MB" in page.hint), page.hint
    assert page.all("#attached li") == []


def test_people_are_signed_in_and_have_conversations_of_their_own(
    chromium: Chrome, speaker: StreamingModel, tmp_path: Path
) -> None:
    """Where the server wants a token, the page gets one from its issuer, and the server knows who is there."""
    with agent_stage() as stage, Issuer() as issuer:
        told = {"MODEL_PROVIDER": "compatible", "MODEL_NAME": "small", "MODEL_BASE_URL": speaker.base_url}
        told |= {"AWS_LAMBDA_FUNCTION_NAME": "streaming", "JWT_ISSUER": issuer.url, "JWT_AUDIENCE": "page"}
        with serving(stage.variables | told | {"SERVE_PAGE": "true"}, tmp_path / "log") as url:
            page = Page(chromium, url, "shared-name", speaker, stage)
            page.open()
            page.converses("Hello")
            assert page.said == ["Hello", "You said: Hello"]
            assert "code=" not in chromium.current_url
            assert chromium.current_url.endswith("#shared-name")
            page.open()
            assert page.until(lambda: page.said == ["Hello", "You said: Hello"]), "a reload needs no other sign-in"
            page.run("sessionStorage.clear(); localStorage.clear()")
            issuer.user = "bob"
            page.open()
            assert page.texts("#list a") == []
            page.converses("Anybody?")
            assert page.said == ["Anybody?", "You said: Anybody?"]
    chromium.get("about:blank")


DOT = (
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def test_even_a_script_that_got_in_would_not_run(page: Page) -> None:
    """The content security policy lets no script, handler, picture or request in; Trusted Types no markup."""
    page.run(
        "const script = document.createElement('script');"
        "try { script.textContent = 'window.ran = true'; } catch { window.untrusted = true; }"
        "document.body.append(script);"
        "const markup = '<img src=x onerror=ran=true>';"
        "try { document.body.insertAdjacentHTML('beforeend', markup); } catch { window.barred = true; }"
        "fetch('http://127.0.0.1:9/').catch(() => { window.refused = true; });"
    )
    assert page.until(lambda: page.run("return window.refused"))
    assert page.run("return [window.ran, window.barred]") == [None, True]
    assert sum("Content Security Policy" in line for line in page.complaints()) >= 2
