"""Runs that wait for somebody's approval, from one invocation to the next.

A tool that needs approval ends a run with *interruptions*. Its state is parked here; a later invocation, in whatever
environment, claims it with the decisions, resumes it and settles it::

    runs = PendingRuns(session)
    run = await runs.park(result.to_state().to_string(), calls_of(result.interruptions))
    ...
    run = await runs.claim(run_id, {"call_1": True})     # of two who do this at once, one gets RunNotPendingError
    state = await RunState.from_string(agent, run.state)
    ...                                                  # state.approve(...) or state.reject(...), Runner.run(...)
    await runs.settle(run_id)

::

                park                 claim: one conditional write
    (nothing) --------->  pending  -------------------------------->  resuming  --------->  (nothing)
                            ^  |                                        |   |      settle
                            |  '---------- discard ----------> (nothing)|   |
                            '-----------------------------------------  '   '-- its holder died: discard
                              park: it was interrupted again

A run whose claimer dies stays *resuming*: its tools may have run or not, so it is never run again. Whoever finds it,
holding the session's lease, discards it and closes its calls (`turns.close_open_calls`).

It is stored as a session of its own, under a key derived from the session's, by the same engine: states of any size,
exactly once, with the same expiry and the same owner. A `clear_session` leaves it alone, so as to stay one request:
to forget a session, `discard` its run first.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from . import _whole  # noqa: F401 - first of all: it raises where another library wrote over this one
from .dynamodb import _settled
from .errors import CorruptSessionError, InvalidInputError, RunNotPendingError
from .serial import Serial
from .storage.items import from_batch
from .storage.keys import run_key

if TYPE_CHECKING:
    from .dynamodb import DynamoDBSession

_STATUSES: Mapping[str, Literal["pending", "resuming"]] = {"pending": "pending", "resuming": "resuming"}

__all__ = ["PendingCall", "PendingRun", "PendingRuns", "calls_of", "run_key"]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A tool call that needs approval.

    Attributes:
        call_id: Its id, unique in the run.
        tool: The tool's name.
        arguments: What it would be called with, as the model wrote it: JSON text.
    """

    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PendingRun:
    """A run that was parked.

    Attributes:
        run_id: Its id: of this interruption, not of the run as a whole.
        state: The SDK's serialized ``RunState``.
        approvals: The calls that need approval.
        status: ``"pending"``, or ``"resuming"`` once it is claimed.
        created: Unix second at which it was parked.
        decisions: What was decided, by call id: True to approve.
    """

    run_id: str
    state: str = field(repr=False)
    approvals: tuple[PendingCall, ...]
    status: Literal["pending", "resuming"]
    created: int
    decisions: Mapping[str, bool] = field(default_factory=dict)

    def to_items(self) -> list[dict[str, Any]]:
        """The stored form: what never changes, then what a claim writes again."""
        return [{"state": self.state}, self._record()]

    def _record(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "approvals": [[call.call_id, call.tool, call.arguments] for call in self.approvals],
            "status": self.status,
            "created": self.created,
            "decisions": dict(self.decisions),
        }

    @classmethod
    def from_items(cls, key: str, items: list[Any]) -> Self | None:
        """The run that ``to_items`` stored; None when nothing is.

        Raises:
            CorruptSessionError: Something else is.
        """
        if not items:
            return None
        try:
            state, record = items
            calls = tuple(PendingCall(*map(_checked_text, call)) for call in record["approvals"])
            return cls(
                run_id=_checked_text(record["run_id"]),
                state=_checked_text(state["state"]),
                approvals=calls,
                status=_STATUSES[record["status"]],
                created=int(record["created"]),
                decisions={str(call): bool(decision) for call, decision in record["decisions"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CorruptSessionError(
                key, "head", f"it is no run: {error!r}", intact_items=None, total_items=None
            ) from error


def calls_of(interruptions: Iterable[Any]) -> tuple[PendingCall, ...]:
    """The calls that the SDK's interruptions stand for."""
    return tuple(PendingCall(str(item.call_id), str(item.name), _text(item.arguments)) for item in interruptions)


class PendingRuns:
    """The run of a session that waits for approval; there is at most one.

    Args:
        session: The session; its table, expiry, owner and options are used.
    """

    def __init__(self, session: DynamoDBSession) -> None:
        self._key = run_key(session.session_id)
        self._store = session._companion(self._key)
        self._serial = Serial(f"the run of session {session.session_id!r}")

    async def park(self, state: str, approvals: Iterable[PendingCall], *, run_id: str | None = None) -> PendingRun:
        """Keep a run until it is decided on. It takes the place of one that was parked before.

        Args:
            state: ``RunState.to_string()``.
            approvals: The calls that need approval, at least one.
            run_id: Its id, 16 hex digits, for one who may park it again; a new one when left out.

        Raises:
            InvalidInputError: There is no call to decide on.
            OutcomeUnknownError: The answer was lost: it may be parked, and somebody may have claimed it since.
        """
        calls = tuple(approvals or ())
        if not calls or not all(isinstance(call, PendingCall) for call in calls) or not isinstance(state, str):
            raise InvalidInputError(f"run of {self._key!r}: park takes a state (str) and at least one PendingCall")
        run = PendingRun(run_id or secrets.token_hex(8), state, calls, "pending", self._store.now())
        async with self._serial.lock():
            await _settled(self._store.replace(0, self._batch(run.to_items())))
        return run

    async def get(self) -> PendingRun | None:
        """The parked run, whether it is still to be decided or being resumed; None when there is none."""
        async with self._serial.lock():
            run, _ = await self._read()
            return run

    async def _read(self) -> tuple[PendingRun | None, bytes | None]:
        """The parked run, and the commit id of what it was read from."""
        items, head = await self._store.read_with_head(None)
        return PendingRun.from_items(self._key, items), head.commit

    async def claim(self, run_id: str, decisions: Mapping[str, bool]) -> PendingRun:
        """Take a run in order to resume it. Of any number who try, one succeeds, once.

        Args:
            run_id: The run, as ``park`` named it.
            decisions: True to approve or False to reject, by call id. What is left undecided interrupts it again.

        Returns:
            The run, as claimed.

        Raises:
            InvalidInputError: A decision is about a call that does not wait, or there is none.
            RunNotPendingError: It is not pending (any more).
            OutcomeUnknownError: The answer was lost: it may have been claimed, and must not be resumed.
        """
        if not isinstance(decisions, Mapping) or not all(isinstance(each, bool) for each in decisions.values()):
            raise InvalidInputError(f"run {run_id!r}: decisions are True or False by call id, not {decisions!r}")
        async with self._serial.lock():
            with self._store.in_one_budget():
                return await self._claimed(run_id, decisions)

    async def _claimed(self, run_id: str, decisions: Mapping[str, bool]) -> PendingRun:
        run, commit = await self._read()
        if run is None or commit is None or run.run_id != run_id or run.status != "pending":
            raise _not_pending(run_id)
        if not decisions or not decisions.keys() <= {call.call_id for call in run.approvals}:
            raise InvalidInputError(f"run {run_id!r} waits for decisions on {[c.call_id for c in run.approvals]}")
        claimed = replace(run, status="resuming", decisions=dict(decisions))
        record = self._batch(claimed.to_items()[1:])
        # The one transition that matters: nobody else may have written since the run was read as pending.
        if not await _settled(self._store.replace(1, record, expected=commit)):
            raise _not_pending(run_id)
        return claimed

    async def settle(self, run_id: str) -> None:
        """Remove a run that was resumed to its end. Does nothing when another has been parked since."""
        async with self._serial.lock():
            with self._store.in_one_budget():
                cleared = False
                while not cleared:
                    run, commit = await self._read()
                    if run is None or commit is None or run.run_id != run_id:
                        return
                    # Only what was just read: another run may be parked in its place at this moment.
                    cleared = await _settled(self._store.clear(expected=commit))

    async def discard(self) -> None:
        """Remove whatever is parked, decided or not."""
        async with self._serial.lock():
            await _settled(self._store.clear())

    def _batch(self, items: list[dict[str, Any]]) -> Any:
        return from_batch(self._key, items)


def _not_pending(run_id: str) -> RunNotPendingError:
    return RunNotPendingError(f"no run {run_id!r} waits for a decision: it was decided, discarded or never parked")


def _checked_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)
