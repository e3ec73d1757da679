"""The chat page and its conversations: the list, what is changed in one, and how windows keep up with each other."""

from __future__ import annotations

import time
import uuid

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support import browser
from tests.support.events import path_of
from tests.support.page import Page, assistant, talk, user
from tools.emulation.model import says, tool_then_answer


def other_conversation(page: Page) -> Page:
    return Page(page.driver, page.url, uuid.uuid4().hex, page.model, page.stage)


def titles(page: Page) -> list[str]:
    return [text.splitlines()[0] for text in page.texts("#list a")]


def test_the_list_is_the_servers_newest_first_and_on_any_device(page: Page) -> None:
    """A browser that has never seen a conversation lists it, with those of newer activity above."""
    page.converses("Remember the heron.")
    other = other_conversation(page)
    other.open()
    other.converses("And the stork.")
    page.open()
    page.converses("And the egret.")
    with browser.browser() as elsewhere:
        fresh = Page(elsewhere, page.url, uuid.uuid4().hex, page.model, page.stage)
        fresh.open()
        assert fresh.until(lambda: titles(fresh)[:2] == ["Remember the heron.", "And the stork."]), titles(fresh)
        fresh.driver.find_element(By.PARTIAL_LINK_TEXT, "Remember the heron.").click()
        fresh.sees("You said: And the egret.")
        assert fresh.one("[aria-current]").text.startswith("Remember the heron.")


def test_titles_are_searched_on_the_server(page: Page) -> None:
    """Words in any case and order find a conversation; others are not shown."""
    mark = uuid.uuid4().hex[:8]
    page.converses(f"Herons of {mark}")
    other = other_conversation(page)
    other.open()
    other.converses("Something else")
    other.one("#search").send_keys(f"{mark} HERONS")
    assert other.until(lambda: titles(other) == [f"Herons of {mark}"]), titles(other)
    other.one("#search").send_keys("x")
    other.sees("No title has these words.", "#list-note")


def test_a_conversation_is_renamed(page: Page) -> None:
    """The name is on the page, in the list and on the server; an empty dialog changes nothing."""
    page.converses("Hello")
    page.press("Rename Hello")
    field = page.one("#new-name")
    assert page.driver.switch_to.active_element == field
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("Trip to Lisbon", Keys.ENTER)
    assert page.until(lambda: page.one("#title").text == "Trip to Lisbon")
    assert titles(page)[0] == "Trip to Lisbon"
    page.open()
    assert page.one("#title").text == "Trip to Lisbon"
    page.press("Rename Trip to Lisbon")
    page.one("#new-name").send_keys("no", Keys.ESCAPE)
    assert page.until(lambda: not page.all("dialog[open]"))
    assert page.client.get(path_of(page.session_id))["title"] == "Trip to Lisbon"


def test_a_conversation_is_deleted_after_a_question(page: Page) -> None:
    """Enter alone keeps it; Delete removes it from the server and begins another."""
    page.converses("Forget me")
    page.press("Delete Forget me")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.until(lambda: not page.all("dialog[open]"))
    assert len(page.client.history(page.session_id)) == 2
    page.press("Delete Forget me")
    page.press("Delete")
    assert page.until(lambda: page.said == [] and "Forget me" not in titles(page))
    assert page.client.history(page.session_id) == []
    assert page.one("#session").text != page.session_id


def test_a_question_is_edited_and_what_followed_it_is_replaced(page: Page) -> None:
    """The edited message takes the place of the old one and of everything after it, on the page and in the store."""
    page.converses("one", "two", "three")
    page.run("document.querySelectorAll('.user')[1].querySelector('[aria-label^=Edit]').click()")
    field = page.one(".editing textarea")
    assert field.get_attribute("value") == "two"
    page.sees("(3 items) are replaced", ".editing")
    page.sees("What tools did is not undone.", ".editing")
    page.sees("press “Go on from here in a new conversation”", ".editing")
    assert page.all('[aria-label="Go on from here in a new conversation"]')
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("2", Keys.ENTER)
    page.sees("You said: 2")
    page.settles()
    assert page.said == ["one", "You said: one", "2", "You said: 2"]
    assert [item["role"] for item in page.client.history(page.session_id)] == ["user", "assistant"] * 2
    page.open()
    assert page.said == ["one", "You said: one", "2", "You said: 2"]


def test_an_edit_that_is_cancelled_changes_nothing(page: Page) -> None:
    """Escape leaves the message as it was."""
    page.converses("one")
    page.run("document.querySelector('[aria-label^=Edit]').click()")
    page.one(".editing textarea").send_keys("else", Keys.ESCAPE)
    assert page.until(lambda: not page.all(".editing"))
    assert page.said == ["one", "You said: one"]


def test_an_answer_is_given_again(page: Page) -> None:
    """The new answer takes the old one's place; the model does not see the old one."""
    page.converses("one")
    page.model.reply = lambda messages: says(f"In other words, after {len(messages)}")
    page.press("Answer again")
    page.sees("In other words")
    page.settles()
    assert page.said == ["one", "In other words, after 2"]  # the instructions and the question
    assert len(page.client.history(page.session_id)) == 2


def test_a_fork_goes_on_from_a_turn_and_leaves_the_original_alone(page: Page) -> None:
    """The copy has the turns up to the one it was made at, under an id of its own."""
    page.converses("one", "two")
    page.run("document.querySelectorAll('[aria-label^=\"Go on from here\"]')[0].click()")
    assert page.until(lambda: page.said == ["one", "You said: one"] and page.one("#session").text != page.session_id)
    page.settles()
    page.converses("another way")
    assert page.said == ["one", "You said: one", "another way", "You said: another way"]
    assert len(page.client.history(page.session_id)) == 4


def test_copies_have_titles_that_tell_them_apart(page: Page) -> None:
    """The list has no two equal rows: each copy, also one of a copy, says so, and has a number where there are more."""
    mark = uuid.uuid4().hex[:8]
    question = f"{mark} " + "long " * 30
    page.converses(question)
    for copies in (1, 2, 3):
        before = page.one("#session").text
        page.press("Go on from here in a new conversation")
        assert page.until(lambda before=before: page.one("#session").text != before and len(page.said) == 2)
        page.settles()
        assert page.until(lambda copies=copies: len([one for one in titles(page) if mark in one]) == copies + 1)
    links = page.all("#list a")
    named = [str(link.get_attribute("title")) for link in links if mark in str(link.get_attribute("title"))]
    assert [title.partition("(")[2] for title in named] == ["copy 3)", "copy 2)", "copy)", ""]
    assert page.one("#title").text == named[0]
    cut = page.all("#list .copied span:last-child")[:3]  # a long title is cut in its row, its mark is not
    assert [mark.text.strip() for mark in cut] == ["(copy 3)", "(copy 2)", "(copy)"]
    assert all(mark.rect["x"] + mark.rect["width"] <= page.one("#side").rect["width"] for mark in cut)
    assert page.run("return [...arguments[0]].every((mark) => mark.scrollWidth <= mark.clientWidth)", cut)


def test_earlier_messages_come_when_they_are_scrolled_to(page: Page) -> None:
    """A long conversation opens at its end; scrolling up loads the rest in pages, without a jump."""
    page.seed(talk(120))
    page.open()
    assert page.said[-1].startswith("Answer 120.")
    assert len(page.said) <= 100
    page.run("document.getElementById('scroll').scrollTop = 900")
    time.sleep(0.3)
    anchor = (
        "const said = [...document.querySelectorAll('.user .text')];"
        "const seen = said.find((node) => node.getBoundingClientRect().top > 60);"
    )
    text, top = page.run(f"{anchor} return [seen.textContent, seen.getBoundingClientRect().top]")
    before = len(page.said)
    page.run("document.getElementById('older').firstElementChild.click()")
    assert page.until(lambda: len(page.said) > before)
    find = "return [...document.querySelectorAll('.user .text')].find((node) => node.textContent === arguments[0])"
    assert abs(page.run(f"{find}.getBoundingClientRect().top", text) - top) < 2
    for _ in range(20):
        page.run("document.getElementById('scroll').scrollTop = 0")
        if page.until(lambda: page.said[0] == "Question 1", 0.5):
            break
    assert page.said == [
        item["content"] if item["role"] == "user" else item["content"][0]["text"].strip() for item in talk(120)
    ]
    assert not page.one("#older").is_displayed()


def test_a_large_item_hides_nothing(page: Page) -> None:
    """What stands before an item of 5 MB can be read, and the item itself is shown in part."""
    page.seed([*talk(3), user("Read it."), assistant('He said "yes". ' * 350_000), *talk(3)])
    page.open()
    assert page.until(lambda: page.said[0] == "Question 1"), [text[:40] for text in page.said]
    assert any("left out:" in text for text in page.said)
    assert page.said[-1].startswith("Answer 3.")


def test_two_windows_converge(page: Page) -> None:
    """What is said in one window is seen in the other, while it is answered and when it is; both show the same."""
    page.open()
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open()
    second = page.driver.current_window_handle
    page.driver.switch_to.window(first)
    page.model.hold()
    page.send("first")
    assert page.until(lambda: page.hint.startswith("The agent is at work"))
    page.driver.switch_to.window(second)
    assert page.until(lambda: page.said == ["first"] and "another window" in page.hint), (page.said, page.hint)
    page.model.let_go()
    page.sees("You said: first")
    page.settles()
    page.converses("second")
    page.driver.switch_to.window(first)
    assert page.until(lambda: page.said == ["first", "You said: first", "second", "You said: second"]), page.said


def test_a_reload_in_the_middle_of_an_answer_shows_it_when_it_is_there(page: Page) -> None:
    """The turn goes on without its window, and the reloaded page shows the answer without anybody's doing."""
    page.model.hold()
    page.send("Hello")
    assert page.until(lambda: page.hint.startswith("The agent is at work"))
    page.driver.refresh()
    assert page.until(lambda: "another window" in page.hint), page.hint
    assert page.said == ["Hello"]
    page.model.let_go()
    page.sees("You said: Hello")
    page.settles()
    assert page.said == ["Hello", "You said: Hello"]


def test_a_turn_of_another_browser_can_be_stopped(page: Page) -> None:
    """Stop works on a turn that this window did not begin."""
    page.model.hold()
    page.send("Hello")
    assert page.until(lambda: page.hint.startswith("The agent is at work"))
    page.driver.refresh()
    assert page.until(lambda: "another window" in page.hint)
    page.press("Stop")
    page.sees("This message has no answer", ".note")
    page.model.let_go()
    page.press("Continue")
    page.sees("You said: Hello")


def test_usage_is_told_of_the_turn_and_of_the_conversation(page: Page) -> None:
    """Tokens are under the answer and in the header, and the sums are those of the model's calls."""
    page.converses("one")
    page.model.reply = tool_then_answer("calculate", expression="6 * 7")
    page.converses("two")
    assert page.run("return [...document.querySelectorAll('.count')].map((node) => node.textContent)") == [
        "15 tokens",
        "30 tokens",
    ]
    assert page.one("#usage").text == "45 tokens"
    assert "3 model calls" in str(page.one("#usage").get_attribute("title"))


def test_a_conversation_of_another_program_is_taken_in(page: Page) -> None:
    """What is said over the API is seen without a reload, within seconds."""
    page.converses("one")
    page.client.send(page.session_id, "two")
    page.sees("You said: two")
    assert page.said == ["one", "You said: one", "two", "You said: two"]
