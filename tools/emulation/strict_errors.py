"""The refusals of OpenAI's API: a status, and a body that names the field.

Every one is the body of a refusal that was seen in public reports of the real service, unless it says *reasoned*: the
service's answer is then not known, and this is what a strict endpoint would say. OpenAI's documentation gives the
statuses 400, 401, 404, 429 and 500, and the members ``message``, ``type``, ``param`` and ``code`` of the ``error``
object (developers.openai.com, "Error codes"); the wording is not documented, and nobody should depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INVALID = "invalid_request_error"


class Refusal(Exception):
    """A request that the endpoint does not accept.

    Attributes:
        error: What is answered.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True)
class Error:
    """An answer that reports an error.

    Attributes:
        status: The HTTP status.
        message: What is wrong.
        param: The field that is wrong.
        code: What is wrong, for machines.
        kind: The error's ``type``.
        headers: HTTP headers of the answer.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    kind: str = INVALID
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def bad(message: str, param: str | None = "input", code: str | None = None) -> Refusal:
    """A request that is wrong in itself: 400."""
    return Refusal(Error(400, message, param, code))


def not_json() -> Refusal:
    """The body is not JSON, or a text in it is not Unicode. *Reasoned* for half of a surrogate pair."""
    return bad("We could not parse the JSON body of your request.", None)


def missing(param: str) -> Refusal:
    """A required member is not there."""
    return bad(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def unknown(param: str) -> Refusal:
    """A member that the interface does not document."""
    return bad(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def wrong_type(param: str, expected: str, value: Any) -> Refusal:
    """A member of another JSON type than documented."""
    found = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    got = found.get(type(value), "a number")
    return bad(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param, "invalid_type")


def wrong_value(param: str, value: Any, supported: tuple[str, ...]) -> Refusal:
    """A member whose value is none of those documented."""
    known = ", ".join(f"'{name}'" for name in supported[:-1]) + f", and '{supported[-1]}'"
    return bad(f"Invalid value: '{value}'. Supported values are: {known}.", param, "invalid_value")


def wrong_prefix(param: str, value: str, prefix: str) -> Refusal:
    """An item's id of another kind of item, or of another provider."""
    return bad(f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'.", param, "invalid_value")


def wrong_characters(param: str, value: str) -> Refusal:
    """An id with other characters than ids have."""
    expected = "Expected an ID that contains letters, numbers, underscores, or dashes"
    reason = f"Invalid '{param}': '{value}'. {expected}, but this value contained additional characters."
    return bad(reason, param, "invalid_value")


def too_long(param: str, value: str, most: int) -> Refusal:
    """A text over its documented length."""
    expected = f"Expected a string with maximum length {most}, but got a string with length {len(value)} instead"
    return bad(f"Invalid '{param}': string too long. {expected}.", param, "string_above_max_length")


def wrong_key(key: str) -> Refusal:
    """The API key is not one that counts."""
    masked = f"{key[:3]}{'*' * 8}{key[-4:]}" if key else "''"
    message = f"Incorrect API key provided: {masked}. You can find your API key at https://platform.openai.com."
    return Refusal(Error(401, message, None, "invalid_api_key"))


def rate_limited(retry_after: str | None) -> Error:
    """Too many requests at the moment."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Error(429, "Rate limit reached for requests.", None, "rate_limit_exceeded", "requests", headers)


def quota_used_up() -> Error:
    """The account has no money left: to come again does not help."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return Error(429, message, None, "insufficient_quota", "insufficient_quota")


def context_full(interface: str, tokens: int, most: int) -> Refusal:
    """The history does not fit into the model's context window."""
    code = "context_length_exceeded"
    if interface == "responses":
        return bad(
            "Your input exceeds the context window of this model. Please adjust your input and try again.", code=code
        )
    reduce = "Please reduce the length of the messages."
    message = (
        f"This model's maximum context length is {most} tokens. However, your messages resulted in {tokens} tokens."
    )
    return bad(f"{message} {reduce}", "messages", code)
