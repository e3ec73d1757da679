"""What the store reports to an observer, for metrics and traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        name: ``"request"``, ``"conflict"`` (another writer was first), ``"retry"`` (a failed or throttled write is
            tried again), ``"seal"`` (items left the head), ``"merge"`` (segments became one), ``"refresh"`` (parts got
            a later expiry), ``"sweep"`` (garbage was deleted) or ``"lease_wait"``.
        operation: The client method, of a request.
        seconds: How long it took.
        read_units: Consumed read units, as DynamoDB reports them.
        write_units: Consumed write units, as DynamoDB reports them. It reports none for a failed condition.
        error: The name of the exception a request ended with, or None.
    """

    name: str
    operation: str = ""
    seconds: float = 0.0
    read_units: float = 0.0
    write_units: float = 0.0
    error: str | None = None


Observer = Callable[[Event], None]
