"""Following a durable run from outside: what it adds to the history as it comes, then what it came to."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from tools.conversation import show_answer, show_history

Invoke = Callable[[dict[str, Any]], dict[str, Any]]

POLL_SECONDS = 0.3


class DurableRun:
    """A message that a durable run answers.

    Args:
        invoke: Calls the function that starts it.
        session_id: The conversation.
        message: What the person says.
        **more: More of the request, such as its owner.
    """

    def __init__(self, invoke: Invoke, session_id: str, message: str, **more: Any) -> None:
        self._invoke = invoke
        self._named = {"session_id": session_id, **more}
        self._request = self._named | {"message": message, "durable": True, "idempotency_key": uuid.uuid4().hex}
        self._seen = self._history().get("total", 0)

    def begin(self) -> dict[str, Any]:
        """Start the run, for it to be followed later; how that stands, or why it was refused."""
        return self._invoke(self._request)

    def follow(self, deciding: str = "", stopped: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Start the run, if it is not started yet, and show what comes until it ends or waits.

        Args:
            deciding: How the person decides on what waits for approval.
            stopped: Whether to leave it to itself.

        Returns:
            The function's answer; None when it was left.
        """
        while not stopped():
            answer = self._invoke(self._request)
            self._show_news()
            if "durable" not in answer:
                if "answer" not in answer:  # which the history ended with
                    show_answer(answer | {"tools": []}, deciding)
                return answer
            time.sleep(POLL_SECONDS)
        return None

    def _show_news(self) -> None:
        """Show what the history has that was not shown, but for the person's own message."""
        history = self._history()
        items = history.get("items", [])[max(0, self._seen - history.get("first", 0)) :]
        self._seen = history.get("total", self._seen)
        show_history([item for item in items if item.get("role") != "user"])

    def _history(self) -> dict[str, Any]:
        return self._invoke(self._named | {"action": "history", "limit": 100})
