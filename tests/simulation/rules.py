"""What each kind of operation may make of a history. Names of items stand for items; a history is a tuple of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile

from .operations import Operation

Names = tuple[str, ...]

CLEARS = frozenset({"clear", "discard"})
"""What needs no lease, and ends everybody's."""

LEASES = frozenset({"lease", "turn"})
"""What may begin a lease."""

READS = frozenset({"read", "describe", "snapshot", "look"})
"""What changes nothing."""

REFERENCE = "reference"
"""The kind of everything that the reference library's writer does."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a compaction saw, and what it wants.

    Attributes:
        seen: The newest items, as it saw them.
        start: How many of them stay.
        prunable: Items that may go where they stand at the beginning of the history.
    """

    seen: Names
    start: int
    prunable: frozenset[str] = frozenset()


def explains(operation: Operation, base: Names, new: Names, holes: frozenset[str]) -> bool:
    """Whether an operation, once, makes one history of another.

    Args:
        operation: The operation.
        base: What it began from.
        new: What was made of it.
        holes: The items of ``base`` that cannot be read.
    """
    rule = _RULES.get(operation.kind)
    return rule is not None and rule(operation, base, new, holes)


def _append(operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    return new == base + operation.batch


def _pop(_operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    return bool(base) and new == base[:-1]


def _clear(_operation: Operation, _base: Names, new: Names, _: frozenset[str]) -> bool:
    return not new


def _replace(operation: Operation, _base: Names, new: Names, _: frozenset[str]) -> bool:
    return new == operation.batch


def _compact(operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    snapshot: Snapshot = operation.about
    before = len(base) - len(snapshot.seen)
    if base[before:] != snapshot.seen:
        return False
    kept = base[: before + snapshot.start]
    pruned = tuple(dropwhile(snapshot.prunable.__contains__, kept))
    return new in {kept + operation.batch, pruned + operation.batch}


def _recover(_operation: Operation, base: Names, new: Names, holes: frozenset[str]) -> bool:
    kept = set(new)
    return new == tuple(name for name in base if name in kept) and set(base) - kept <= holes


def _turn(_operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    """A turn that was stopped closes its open calls, and takes away reasoning that nothing follows."""
    if base and new == base[:-1]:
        return base[-1].startswith("think")
    added = new[len(base) :]
    calls = {f"out:{name}" for name in base if name.startswith("call")}
    return new[: len(base)] == base and bool(added) and set(added) <= calls - set(base)


def _park(operation: Operation, _base: Names, new: Names, _: frozenset[str]) -> bool:
    return len(new) == 2 and new[0] == operation.about and new[1].endswith(":pending")


def _claim(operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    run = operation.about
    return base[1:] == (f"{run}:pending",) and new == (base[0], f"{run}:resuming")


def _settle(operation: Operation, base: Names, new: Names, _: frozenset[str]) -> bool:
    return not new and len(base) == 2 and base[1].partition(":")[0] == operation.about


_RULES: dict[str, Callable[[Operation, Names, Names, frozenset[str]], bool]] = {
    "append": _append,
    "pop": _pop,
    "clear": _clear,
    "replace": _replace,
    "compact": _compact,
    "recover": _recover,
    "turn": _turn,
    "park": _park,
    "claim": _claim,
    "settle": _settle,
    "discard": _clear,
}


def short(names: Names) -> str:
    """A history, to read."""
    return f"({', '.join(names)})" if len(names) <= 8 else f"({len(names)}: ... {', '.join(names[-7:])})"
