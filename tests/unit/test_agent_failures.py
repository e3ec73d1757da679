"""Every way in which a run can fail has a status and a word, and no text of what was said."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from agents import MaxTurnsExceeded, ModelBehaviorError
from openai import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    PermissionDeniedError,
    RateLimitError,
)

from openai_agents_session.service.endpoint import EndpointError, ModelTimeoutError, NoAnswerError
from openai_agents_session.service.failures import failure_of
from openai_agents_session.service.keys import KeyUnavailableError

REQUEST = httpx2.Request("POST", "http://model/v1/responses")
SAID = "what was said"


def refused(kind: Any, status: int, code: str | None = None, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return kind(SAID, response=httpx2.Response(status, headers=sent, request=REQUEST), body={"code": code})


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MaxTurnsExceeded(SAID), 422, "max_turns"),
        (NoAnswerError(SAID), 502, "no_answer"),
        (ModelTimeoutError(SAID), 504, "model_timeout"),
        (EndpointError(SAID), 502, "model_failed"),
        (ModelBehaviorError(SAID), 502, "model_failed"),
        (KeyUnavailableError(SAID), 502, "no_key"),
        (caused(APIConnectionError(request=REQUEST), KeyUnavailableError(SAID)), 502, "no_key"),
        (APIConnectionError(request=REQUEST), 502, "model_failed"),
        (refused(AuthenticationError, 401), 502, "key_rejected"),
        (refused(PermissionDeniedError, 403), 502, "key_rejected"),
        (refused(RateLimitError, 429, "rate_limit_exceeded"), 429, "rate_limited"),
        (refused(RateLimitError, 429, "insufficient_quota"), 502, "quota_used_up"),
        (refused(BadRequestError, 400, "context_length_exceeded"), 413, "context_full"),
        (APIError(SAID, REQUEST, body={"code": "context_length_exceeded"}), 413, "context_full"),
        (refused(BadRequestError, 400), 502, "model_failed"),
        (refused(InternalServerError, 500), 502, "model_failed"),
    ],
)
def test_a_failure_has_a_status_and_a_word(error: Exception, status: int, code: str) -> None:
    failure = failure_of(error)
    assert (failure.status, failure.details["code"]) == (status, code)
    assert SAID not in failure.reason


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("7", 7),
        ("0.2", 1),
        ("0", 0),
        ("1e999", 3600),
        ("86400", 3600),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_handed_on_as_whole_seconds(said: str, told: int | None) -> None:
    assert failure_of(refused(RateLimitError, 429, retry_after=said)).details.get("retry_after") == told
