"""The chat page as a person meets it, in a real browser, and conversations to meet there.

page.send("Hello")
page.sees("You said: Hello")
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiobotocore.session import get_session
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from openai_agents_session import DynamoDBSession
from openai_agents_session.service.identity import caller, stored_id
from tests.support.agent import Stage, until
from tests.support.events import Client, path_of
from tools.emulation.model import says
from tools.emulation.streaming_model import StreamingModel

SECONDS = 20
OWNER = "ada"
"""Who asks, by LOCAL_OWNER."""


class Page:
    """What a person sees and does."""

    def __init__(self, driver: Chrome, url: str, session_id: str, model: StreamingModel, stage: Stage) -> None:
        self.driver = driver
        self.model = model
        self.stage = stage
        self.client = Client(url, {})
        self.url = url
        self.session_id = session_id

    @property
    def address(self) -> str:
        """Where the conversation is."""
        return f"{self.url}/#{path_of(self.session_id).removeprefix('/sessions/')}"

    def open(self) -> None:
        """Load the page, and wait for the conversation."""
        self.driver.get("about:blank")  # another hash alone would not load the page
        self.driver.get(self.address)
        self.settles()

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """Give the window a size, and the page a scheme of colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "hover", "value": "hover"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def settles(self) -> None:
        """Wait until nothing is under way."""
        assert self.until(lambda: self.hint.startswith(("Enter sends", "Decide"))), self.hint

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait for something; what it last was."""

        def check() -> Any:
            try:
                return condition()
            except (StaleElementReferenceException, NoSuchElementException):
                return None

        return until(seconds, check)

    def one(self, selector: str) -> WebElement:
        """The element that a selector names."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """The elements that a selector names."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What can be read in them."""
        return [element.text for element in self.all(selector)]

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    @property
    def hint(self) -> str:
        """What the page says of its state."""
        return self.one("#hint").text

    @property
    def said(self) -> list[str]:
        """What was said, by whom ever."""
        return self.texts("#log .user > .text, #log .assistant > .text")

    @property
    def status(self) -> str:
        """What a screen reader is told."""
        return str(self.one("#status").get_attribute("textContent"))

    def send(self, text: str) -> None:
        """Write a message, and press Enter."""
        self.one("#message").send_keys(text, Keys.ENTER)

    def press(self, label: str) -> None:
        """Press the button that says so, or has that name."""

        def pressed() -> bool:
            buttons = [button for button in self.all("button") if label in (button.text, button.accessible_name)]
            if buttons:
                buttons[-1].click()
            return bool(buttons)

        assert self.until(pressed), label

    def complaints(self) -> list[str]:
        """What the browser wrote to its console, but for the statuses of answers that were meant to be refused."""
        lines: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [line["message"] for line in lines if "status of 4" not in line["message"]]

    def sees(self, text: str, selector: str = "#log") -> None:
        """Wait until a text can be read."""
        assert self.until(lambda: any(text in seen for seen in self.texts(selector))), self.texts(selector)

    def begins_to_count(self) -> None:
        """Send a message whose answer of three words is held behind its first."""
        self.model.reply = lambda _: says("one two three")
        self.model.hold()
        self.send("Count.")
        self.model.let(1)
        assert self.until(lambda: self.said == ["Count.", "one"])

    def converses(self, *messages: str) -> None:
        """Say these things, one after the other's answer."""
        for message in messages:
            self._waits_for_more_than(len(self.all(".assistant")), message)

    def _waits_for_more_than(self, answers: int, message: str) -> None:
        self.send(message)
        assert self.until(lambda: len(self.all(".assistant")) > answers), self.said
        self.settles()

    def seed(self, items: list[Any]) -> None:
        """Store a history, as if it had been said."""
        self.do(lambda session: session.add_items(items))

    def do(self, work: Callable[[DynamoDBSession], Awaitable[Any]]) -> None:
        """Do something to the stored session."""
        asyncio.run(self._done(work))

    async def _done(self, work: Callable[[DynamoDBSession], Awaitable[Any]]) -> None:
        owner = caller({"requestContext": {"authorizer": {"jwt": {"claims": {"iss": "local", "sub": OWNER}}}}})
        options: dict[str, Any] = {
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
            "region_name": "us-east-1",
        }
        async with get_session().create_client("dynamodb", endpoint_url=self.stage.endpoint_url, **options) as client:
            table = self.stage.variables["SESSION_TABLE"]
            await work(DynamoDBSession(stored_id(self.session_id, owner), client, table, owner=owner))


def talk(turns: int, text: str = "Answer {}. " * 8) -> list[Any]:
    """The history of so many turns."""
    said = ((f"Question {number}", text.replace("{}", str(number))) for number in range(1, turns + 1))
    return [item for question, answer in said for item in (user(question), assistant(answer))]


def user(text: str) -> dict[str, Any]:
    """What a person said."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """What the agent said."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "status": "completed", "id": "msg_1", "content": content}


AXE = """
const done = arguments[0];
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const told = (one) => `${one.id}: ${one.help} ${one.nodes.slice(0, 3).map((node) => node.html).join(' | ')}`;
axe.run(document, { runOnly: rules }).then((result) => done(result.violations.map(told)));
"""


def barriers(page: Page, axe: str) -> list[str]:
    """What keeps people out, as axe-core finds it."""
    # Not as an element of the page: its content security policy lets no script in.
    page.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = page.driver.execute_async_script(AXE)
    return [str(one) for one in found]
