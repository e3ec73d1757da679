"""What a durable run may be told: how often, how long, and how large."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..errors import InvalidInputError

EXECUTION_LIMIT_SECONDS = 366 * 86_400
"""Longest durable execution: a year."""

INLINE_LIMIT_BYTES = 192 * 1024
"""Largest result that goes into a checkpoint: AWS's limit of 256 KB, less what its own encoding may add.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""


CONTEXT_FULL = "context_full"
"""The word for a history that does not fit into the model's context window."""


def code_of(error: Exception) -> str:
    """The word for a failure where nobody else gives one."""
    return CONTEXT_FULL if getattr(error, "code", None) == "context_length_exceeded" else ""


@dataclass(frozen=True, slots=True)
class DurableOptions:
    """How a durable run behaves.

    Attributes:
        at_least_once: Names of tools that may run again when they were interrupted. All others run at most once: the
            model is told that an interrupted call may have had effects.
        model_attempts: How often to ask a model that cannot be reached, is busy, or fails (408, 409, 429, 5xx), the
            first time included. Between two attempts no function runs.
        approval_seconds: How long an approval may take; a call that is not decided by then counts as rejected. None:
            until the execution's own timeout.
        reserve_seconds: An invocation with less time left begins no operation: the run goes on in another one.
        inline_bytes: Results with more bytes of JSON are kept in the session's table, and not in the checkpoint.
        parallel: How many operations of one model step run at a time.
        code_of: Gives a failure a word for machines, which is kept as ``DurableRunError.code``. With
            ``"context_full"``, the turn is known to have ended so.
    """

    at_least_once: Collection[str] = ()
    model_attempts: int = 6
    approval_seconds: int | None = None
    reserve_seconds: float = 20.0
    inline_bytes: int = INLINE_LIMIT_BYTES
    parallel: int = 16
    code_of: Callable[[Exception], str] = code_of

    def __post_init__(self) -> None:
        if isinstance(self.at_least_once, str):
            raise InvalidInputError(f"at_least_once takes names of tools, not {self.at_least_once!r}")
        _within("model_attempts", self.model_attempts, 1, 100)
        _within("parallel", self.parallel, 1, 100)
        _within("inline_bytes", self.inline_bytes, 0, INLINE_LIMIT_BYTES)
        _within("reserve_seconds", self.reserve_seconds, 0, 600)
        if self.approval_seconds is not None:
            _within("approval_seconds", self.approval_seconds, 1, EXECUTION_LIMIT_SECONDS)


def _within(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidInputError(f"{name} must be a number from {least} to {most}, not {value!r}")
