"""What can be seen of the function: structured logs, metrics, and a span for each model, tool and store call.

Logs and spans say what happened and how long it took, not what was said, unless LOG_CONTENT asks for it.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

if TYPE_CHECKING:
    from openai_agents_session import Event

NAMESPACE = "OpenAIAgentsSession"
"""Of the metrics, where POWERTOOLS_METRICS_NAMESPACE names no other: without one, no answer could be given."""

logger = Logger()
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE)
tracer = Tracer(auto_patch=False)

_FRAMES = 8

_COUNTED = {
    "conflict": "StoreConflicts",
    "retry": "StoreRetries",
    "seal": "StoreSeals",
    "merge": "StoreMerges",
    "lease_wait": "LeaseWaits",
}


def count(name: str, value: float = 1) -> None:
    """Add to a metric."""
    metrics.add_metric(name, MetricUnit.Count, value)


def measure(name: str, seconds: float) -> None:
    """Record a duration."""
    metrics.add_metric(name, MetricUnit.Milliseconds, seconds * 1000)


class StoreObserver:
    """Turns the session store's events into metrics, one sum an invocation, and its requests into spans.

    Args:
        clock: The wall clock, in Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sums: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event.name == "request":
            self._sums["StoreRequests"] += 1
            self._sums["ConsumedReadUnits"] += event.read_units  # type: ignore[assignment]  # a Counter of floats
            self._sums["ConsumedWriteUnits"] += event.write_units  # type: ignore[assignment]
            now = self._clock()
            span(f"store {event.operation}", now - event.seconds, now, failed=event.error is not None)
        elif name := _COUNTED.get(event.name):
            self._sums[name] += 1

    def flush(self) -> None:
        """Add the sums to the metrics and begin anew."""
        for name, value in self._sums.items():
            count(name, value)
        self._sums.clear()


def span(name: str, began: float, ended: float, *, failed: bool = False, **annotations: str | float) -> None:
    """Add a finished span to the invocation's trace.

    X-Ray's own context is a stack, which tools that run at the same time would tear; a span is therefore recorded when
    it is over, under the handler's.

    Args:
        name: What it was, such as "tool calculate".
        began: Unix seconds.
        ended: Unix seconds.
        failed: Whether it ended with an error.
        **annotations: What to search it by.
    """
    if tracer.disabled:
        return
    from aws_xray_sdk.core import xray_recorder
    from aws_xray_sdk.core.models.subsegment import Subsegment

    parent = xray_recorder.get_trace_entity()
    if parent is None:
        return
    child = Subsegment(name, "local", getattr(parent, "parent_segment", parent))
    child.start_time = began
    for key, value in annotations.items():
        child.put_annotation(key, value)
    if failed:
        child.add_fault_flag()
    parent.add_subsegment(child)
    child.close(ended)


store_observer = StoreObserver()


def log_failure(message: str, error: BaseException | None, *, content: bool = False, **details: Any) -> None:
    """Log what failed and where.

    Args:
        message: What the function made of it.
        error: Its cause, if there is one. The texts of exceptions quote what was said, so its type and place are logged
            and the text is not.
        content: Whether texts may be logged after all.
        **details: What else to log.
    """
    # What the operator has to see is an error: alarms count it in the log, also where that has nothing but errors.
    log = logger.error if details.get("status", 500) >= 500 else logger.warning
    if content or error is None:
        log(message, exc_info=error, **details)
        return
    log(message, causes=[_place(cause) for cause in causes(error)], **details)


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it, each once: a cause may lead back to its error."""
    errors: list[BaseException] = []
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or error.__context__
    return errors


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return f"{_kind(error)} at {' > '.join(places)}"


def _kind(error: BaseException) -> str:
    """What an error is: for one of AWS's the code, too, without which a ClientError says nothing."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def log_answer(status: int, body: dict[str, Any], *, content: bool) -> None:
    """Log how a request ended.

    Args:
        status: Its HTTP status.
        body: The answer; its texts are logged only on request.
        content: Whether to log them.
    """
    details = {"answer": body} if content else {"tools": body.get("tools")} if "tools" in body else {}
    logger.info("request answered", status=status, **details)
