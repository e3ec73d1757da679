"""What an operation makes of a head: the values that pass between operations and the commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .head import Head
from .part import Part
from .retry import RetryBudget


@dataclass(frozen=True, slots=True)
class View:
    """A head as a transition sees it.

    Attributes:
        stored: As the table holds it: which slots may be written, and under which generation.
        base: The same, emptied if it has expired: what the history is.
        now: Unix seconds.
        commit: The id of the write that the transition may ask for.
        keep: How many receipts it keeps.
        budget: The operation's.
        milliseconds: What ``now`` lacks, 0 to 999.
    """

    stored: Head
    base: Head
    now: int
    commit: bytes
    keep: int
    budget: RetryBudget
    milliseconds: int = 0

    @property
    def is_expired(self) -> bool:
        """Whether the history is empty because it has expired."""
        return self.base is not self.stored


@dataclass(frozen=True, slots=True)
class Encoded:
    """A head, ready to be written.

    Attributes:
        head: What is stored.
        item: Its attributes, as DynamoDB takes them.
        size: Of the item in bytes, by DynamoDB's rules.
        has_outgrown: Whether its items are more than a head of this session should hold.
    """

    head: Head
    item: dict[str, dict[str, Any]]
    size: int
    has_outgrown: bool


@dataclass(frozen=True, slots=True)
class Put:
    """Write the next head.

    Attributes:
        encoded: It.
        result: What the operation returns once it is written.
        is_final: Whether the operation is complete with it; otherwise the transition is asked again.
        parts: What is written with it, all or nothing: in place of no item.
    """

    encoded: Encoded
    result: Any = None
    is_final: bool = True
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the head as it was seen."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to write."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Reread:
    """The head that was seen is not the present one: read it again, and ask the transition again."""


Change = Put | Delete
Planned = Change | Nothing | Reread
Transition = Callable[[View], Awaitable[Planned]]
Check = Callable[[View], None]
