"""What a caller is told when the agent's run fails: a status, a word for machines, and nothing of what was said.

======================  ======  =================================================================================
``code``                status  what happened
======================  ======  =================================================================================
``input_blocked``       422     a guardrail refused the message; it is not kept
``output_blocked``      422     a guardrail refused the answer; it is not kept
``tool_blocked``        422     a guardrail refused a tool's input or output
``max_turns``           422     the agent came to no end; what it did is stored, and can be continued
``context_full``        413     the history does not fit into the model's context window
``rate_limited``        429     the model's provider has had too many requests; ``retry_after`` where it said so
``quota_used_up``       502     the provider's account has no money left
``no_key``              502     the API key is missing, may not be read, or is none
``key_rejected``        502     the provider refused the API key, also after it was read anew
``model_timeout``       504     the model did not answer in the turn's time; the message is stored
``no_answer``           502     the model answered nothing
``model_failed``        502     anything else that is not an answer
======================  ======  =================================================================================
"""

from __future__ import annotations

import math
from typing import Any

from agents import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)
from openai import APIError, APIStatusError, AuthenticationError, OpenAIError, PermissionDeniedError, RateLimitError

from ..turns import Outcome
from .endpoint import ModelTimeoutError, NoAnswerError
from .errors import RequestError
from .keys import KeyUnavailableError
from .observe import causes, count
from .refusals import CONTINUE

LONGEST_RETRY_AFTER_SECONDS = 3_600


def failure_of(error: Exception) -> RequestError:
    """What to tell the caller about a run that failed."""
    match error:
        case InputGuardrailTripwireTriggered():
            return input_blocked()
        case OutputGuardrailTripwireTriggered():
            return output_blocked()
        case ToolInputGuardrailTripwireTriggered() | ToolOutputGuardrailTripwireTriggered():
            return _failure(422, "tool_blocked", "the use of a tool was blocked")
        case MaxTurnsExceeded():
            return failure_again(Outcome.MAX_TURNS)
        case ModelTimeoutError():
            reason = "the model did not answer in time; what was completed is stored"
            return _failure(504, "model_timeout", reason, to_continue=CONTINUE)
        case NoAnswerError():
            return _failure(502, "no_answer", "the model answered nothing")
    # The client reports whatever keeps it from sending a request, a key that is missing too, as a lost connection.
    return _failure_of_endpoint(
        next((cause for cause in causes(error) if isinstance(cause, KeyUnavailableError)), error)
    )


def code_of(error: Exception) -> str:
    """The word for whatever a run failed with."""
    if isinstance(error, (AgentsException, OpenAIError, KeyUnavailableError)):
        return str(failure_of(error).details["code"])
    return "run_failed"


def input_blocked() -> RequestError:
    """A guardrail refused the message."""
    return _failure(422, "input_blocked", "the message was blocked")


def output_blocked() -> RequestError:
    """A guardrail refused the answer."""
    return _failure(422, "output_blocked", "the answer was blocked")


def failure_again(outcome: Outcome) -> RequestError:
    """What to tell about a turn that ended without an answer, to who asks for it again."""
    match outcome:
        case Outcome.MAX_TURNS:
            return _failure(422, "max_turns", "the agent came to no end; what it did is stored")
        case Outcome.CONTEXT_FULL:
            return _failure(413, "context_full", "the conversation is too long for the model")
    return _failure(500, "run_failed", "the run failed, and was given up; what it did is stored")


def _failure_of_endpoint(error: BaseException) -> RequestError:
    match error:
        case KeyUnavailableError():
            count("ModelKeyFailures")
            return _failure(502, "no_key", "there is no key for the model")
        case AuthenticationError() | PermissionDeniedError():
            count("ModelKeyFailures")
            return _failure(502, "key_rejected", "the model's endpoint refused the key")
        case RateLimitError(code="insufficient_quota"):
            return _failure(502, "quota_used_up", "the model's account is used up")
        case RateLimitError():
            return _failure(429, "rate_limited", "the model is busy; try again later", **_retry_after(error))
        case APIError(code="context_length_exceeded"):
            return failure_again(Outcome.CONTEXT_FULL)
    return _failure(502, "model_failed", f"the model gave no answer: {type(error).__name__}")


def _failure(status: int, code: str, reason: str, **details: Any) -> RequestError:
    return RequestError(status, reason, code=code, **details)


def _retry_after(error: APIStatusError) -> dict[str, int]:
    """The seconds that the provider's Retry-After says; nothing where it says something else."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return {}
    return {"retry_after": math.ceil(min(seconds, LONGEST_RETRY_AFTER_SECONDS))} if seconds >= 0 else {}
