"""Judges an operation at its end: is its answer true, had it a reason for its error, was it in time?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai_agents_session import OutcomeUnknownError, SessionError

from .clock import EPOCH
from .docket import Allowed, Docket
from .ledger import Ledger
from .operations import Operation
from .rules import CLEARS, LEASES, REFERENCE, Names, short
from .weather import Weather


class AnswerJudge:
    """The judge of answers.

    Args:
        docket: Where it notes what it finds.
        weather: What was allowed to go wrong.
    """

    def __init__(self, docket: Docket, weather: Weather) -> None:
        self._docket = docket
        self._weather = weather

    def judge(
        self, ledger: Ledger, operation: Operation, limit: float, result: Any, error: BaseException | None
    ) -> None:
        """Judge an operation. See ``Oracle.ended``."""
        operation.ended = self._docket.now()
        operation.error = type(error).__name__ if error else ""
        operation.outcome = "killed" if operation.actor.process.is_dead else _outcome(error)
        self._docket.outcomes[f"{operation.kind}: {operation.error or 'ok'}"] += 1
        self._docket.note(str(operation.actor), f"{operation}: {error or _shown(result)}")
        if operation.kind == REFERENCE or operation.outcome == "killed":
            return
        if (seconds := operation.ended - operation.began) > limit + 1e-6:
            self._docket.accuse(f"{operation} took {seconds:.2f} s, of at most {limit:.2f}")
        if operation.outcome == "raw":
            self._docket.accuse(f"{operation} raised {error!r}")
        elif operation.outcome == "failed":
            self._failed(ledger, operation, error)
        elif operation.outcome == "ok":
            self._succeeded(ledger, operation, result)

    # --- errors ----------------------------------------------------------------------------------------------------

    def _failed(self, ledger: Ledger, operation: Operation, error: BaseException | None) -> None:
        if operation.applied and operation.kind not in LEASES:
            self._docket.accuse(f"{operation} raised {error!r}, and was applied")
        held = ledger.stored
        if operation.kind == "lease" and held.token in operation.tokens and held.until > self._milliseconds():
            self._docket.accuse(f"{operation} raised {error!r}, and left a lease that nobody holds")
        excuse = _EXCUSES.get(operation.error)
        if excuse is None or not excuse(self, ledger, operation):
            self._docket.accuse(f"{operation} raised {error!r} without a reason")

    def _milliseconds(self) -> float:
        return (EPOCH + self._docket.now()) * 1000

    def had(self, operation: Operation, *spells: str) -> bool:
        """Whether one of these spells may have been an error's reason."""
        is_refused = "denied" in spells and bool(operation.actor.process.denied)
        return is_refused or bool(set(spells) & set(self._weather.spells))

    def had_faults(self, operation: Operation) -> bool:
        """Whether requests of an operation failed, or may have been left unprocessed."""
        return operation.faults > 0 or self._weather.stale > 0

    def was(self, ledger: Ledger, operation: Operation, what: Callable[[Any], object]) -> bool:
        """Whether something held for what was stored meanwhile."""
        return ledger.was(operation, self._docket.now(), what)

    def was_damaged(self, ledger: Ledger, operation: Operation) -> bool:
        """Whether the session was damaged meanwhile."""
        return ledger.was_damaged(operation, self._docket.now())

    # --- results ---------------------------------------------------------------------------------------------------

    def _succeeded(self, ledger: Ledger, operation: Operation, result: Any) -> None:
        kind = operation.kind
        if kind in {"append", "replace", "park", "claim"} or (kind == "compact" and result):
            if operation.applied != 1:
                self._docket.accuse(f"{operation} is acknowledged, and was applied {operation.applied} times")
        elif kind == "compact" and operation.applied:
            self._docket.accuse(f"{operation} returned False, and was applied")
        elif kind == "pop":
            self._popped(ledger, operation, result)
        elif kind in CLEARS and not operation.applied and not self._was_empty(ledger, operation):
            self._docket.accuse(f"{operation} is acknowledged, and the session was never empty")
        elif kind == "lease" and not self.was(ledger, operation, lambda stored: stored.token in operation.tokens):
            self._docket.accuse(f"{operation} is acknowledged, and the lease is not in the head")
        elif kind == "read":
            self._read(ledger, operation, *result)
        elif kind == "describe" and result not in map(len, ledger.visible(operation, self._docket.now())):
            self._docket.accuse(f"{operation} counted {result} items, which there never were")
        elif kind == "look" and result not in ledger.visible(operation, self._docket.now()):
            self._docket.accuse(f"{operation} returned {result}, which was never parked")

    def _popped(self, ledger: Ledger, operation: Operation, name: str | None) -> None:
        if name is None:
            if operation.applied or not self._was_empty(ledger, operation):
                self._docket.accuse(f"{operation} returned nothing, of a session never empty, or took something")
        elif operation.removed != [(name,)]:
            self._docket.accuse(f"{operation} returned {name}, and took {operation.removed}")

    def _read(self, ledger: Ledger, operation: Operation, names: Names, limit: int | None) -> None:
        if limit is not None and limit <= 0 and not names:
            return
        for seen in ledger.visible(operation, self._docket.now()):
            if names == (seen if limit is None else seen[-limit:]):
                return
        if self._weather.skew_seconds and ledger.believes_in_lease(operation):
            self._docket.allow(Allowed.HOLDER_REMEMBERED)
            return
        self._docket.accuse(f"{operation} returned {short(names)} (limit {limit}), which was never the history")

    def _was_empty(self, ledger: Ledger, operation: Operation) -> bool:
        return any(not names for names in ledger.visible(operation, self._docket.now()))


_EXCUSES: dict[str, Callable[[AnswerJudge, Ledger, Operation], bool]] = {
    "ContentionError": lambda *_: True,
    "LeaseLostError": lambda *_: True,
    "DeadlineError": lambda *_: True,
    "RunNotPendingError": lambda *_: True,
    "UnavailableError": lambda judge, _, operation: judge.had_faults(operation),
    "AccessDeniedError": lambda judge, _, operation: judge.had(operation, "denied", "expired"),
    "TableNotFoundError": lambda judge, _, operation: judge.had(operation, "missing"),
    "CorruptSessionError": lambda judge, ledger, operation: judge.was_damaged(ledger, operation),
    "WrongOwnerError": lambda judge, ledger, operation: judge.was(
        ledger, operation, lambda stored: stored.owner != operation.actor.owner
    ),
    "LeaseUnavailableError": lambda judge, ledger, operation: judge.was(ledger, operation, lambda stored: stored.token),
    "InvalidInputError": lambda _judge, _ledger, operation: operation.actor.leases > 1 and operation.kind in LEASES,
}
"""Which errors may be raised, and when: anything else is raised for no reason."""


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, OutcomeUnknownError):
        return "unknown"
    if isinstance(error, SessionError):
        return "failed"
    return "raw" if isinstance(error, Exception) else "cancelled"


def _shown(result: Any) -> str:
    return "ok" if result is None else f"ok {str(result)[:80]}"
