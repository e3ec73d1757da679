"""The errors of the service: a request that is refused, with what its caller is told; one that nobody waits for."""

from __future__ import annotations

from typing import Any


class RequestError(Exception):
    """A request that cannot be served.

    Attributes:
        status: The HTTP status that says why.
        reason: The same for people; it tells nothing that the caller may not know.
        details: What else the answer says. A "retry_after", in seconds, becomes a header as well.
    """

    def __init__(self, status: int, reason: str, **details: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.details = details


class AgentCodeError(Exception):
    """Code of the agent's own, such as a guardrail, raised something: the log says what and where."""


class NotServedError(Exception):
    """A request that nobody waits for was not served: its invocation fails, because only that is noticed."""
