"""The library broken on purpose, one line at a time: a simulation that notices none of it would prove nothing.

A mutant changes one line of one module's source. It works by giving the functions of the loaded module the code that
they would have had, so that nothing is imported twice. A mutant whose line is gone fails its test: change it, or remove
it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType

from .internals import PACKAGE


@dataclass(frozen=True)
class Mutant:
    """A breakage.

    Attributes:
        name: What is broken.
        module: The module, within the package.
        line: What is in its source, exactly once.
        broken: What takes its place, without another line break.
        scenario: Where the simulation should notice.
        seeds: Within how many seeds.
    """

    name: str
    module: str
    line: str
    broken: str
    scenario: str
    seeds: int = 40


class StaleMutant(Exception):
    """Its line is not in the source any more, or is not part of a function."""


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Break the library for the time of a with-block.

    Raises:
        StaleMutant: The source has changed since the mutant was written.
    """
    module = importlib.import_module(f"{PACKAGE}.{mutant.module}")
    source = inspect.getsource(module)
    if source.count(mutant.line) != 1 or mutant.line.count("\n") != mutant.broken.count("\n"):
        raise StaleMutant(f"{mutant.name}: {source.count(mutant.line)} times in {mutant.module}: {mutant.line!r}")
    path = module.__file__ or ""
    before = _codes(compile(source, path, "exec", dont_inherit=True))
    after = _codes(compile(source.replace(mutant.line, mutant.broken), path, "exec", dont_inherit=True))
    changed = {key: code for key, code in after.items() if key in before and code != before[key]}
    functions = [
        (function, changed[key]) for function in _functions(module) if (key := _key(function.__code__)) in changed
    ]
    if not functions:
        raise StaleMutant(f"{mutant.name}: no function of {mutant.module} is changed by it")
    originals = [(function, function.__code__) for function, _ in functions]
    try:
        for function, code in functions:
            if len(code.co_freevars) != len(function.__code__.co_freevars):
                raise StaleMutant(f"{mutant.name}: it would need other variables of the function around it")
            function.__code__ = code
        yield
    finally:
        for function, code in originals:
            function.__code__ = code


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions of a module, those of its classes included."""
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            for member in vars(value).values():
                yield from _within(member)
        else:
            yield from _within(value)


def _within(value: object) -> Iterator[FunctionType]:
    """The function that something is, or is made of."""
    if isinstance(value, FunctionType):
        yield value
    for name in ("fget", "func", "__func__", "__wrapped__"):
        inner = getattr(value, name, None)
        if isinstance(inner, FunctionType):
            yield inner


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _codes(code: CodeType) -> dict[tuple[str, str, int], CodeType]:
    """Every code object within one, by where it stands."""
    found: dict[tuple[str, str, int], CodeType] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[_key(constant)] = constant
            found |= _codes(constant)
    return found


MUTANTS = (
    # --- evidence: what became of a write whose answer was lost
    Mutant(
        "a write that landed is not found",
        "storage.evidence",
        "if written.commit is not None and written.commit in head.receipts:",
        "if written.commit is None and written.commit in head.receipts:",
        "storm",
    ),
    Mutant(
        "what was dropped is forgotten",
        "storage.receipts",
        "return Receipts(number, max(self.dropped, dropped), entries[:keep])",
        "return Receipts(number, 0, entries[:keep])",
        "forgetful",
    ),
    Mutant(
        "an absent session tells that nothing landed",
        "storage.evidence",
        "    if write.expected.is_same(head):\n        return Fate.UNTOLD if head.commit is None else Fate.PENDING",
        "    if write.expected.is_same(head):\n        return Fate.PENDING",
        "short lives",
    ),
    Mutant(
        "a life that is over tells that nothing landed",
        "storage.evidence",
        "        return Fate.OVER\n",
        "        return Fate.NEVER\n",
        "clears",
    ),
    Mutant(
        "the reference library's head tells that nothing landed",
        "storage.evidence",
        "if head.exists and head.commit is None:\n        return Fate.OVERWRITTEN",
        "if head.exists and head.commit is None:\n        return Fate.NEVER",
        "reference",
    ),
    Mutant(
        "a refusal after botocore's retry is another writer's",
        "storage.commit",
        "if refusal.retried:",
        "if False:",
        "storm",
    ),
    Mutant(
        "a request without an answer has not landed",
        "storage.commit",
        "if failure.may_have_landed:",
        "if False:",
        "storm",
    ),
    Mutant(
        "an error is definite while a write is in flight",
        "storage.commit",
        "if not attempt.in_flight or isinstance(error, OutcomeUnknownError):",
        "if True:",
        "spells",
    ),
    # --- the conditional write
    Mutant(
        "a head is put over any other",
        "storage.table",
        "await self._put(attributes, *_unchanged(expected), budget)",
        'await self._put(attributes, "attribute_not_exists(#n) OR attribute_exists(#n)", {"#n": "ttl"}, {}, budget)',
        "storm",
    ),
    Mutant(
        "a head is deleted whatever it is",
        "storage.table",
        "await self._delete(head.session_id, *_unchanged(head), budget)",
        'await self._delete(head.session_id, "attribute_exists(#k)", {"#k": "session_id"}, {}, budget)',
        "clears",
    ),
    Mutant(
        "a compaction does not ask what has changed",
        "storage.operations",
        "if expected is not None and (view.stored.commit not in allowed or view.is_expired):",
        "if expected is not None and (view.stored.commit not in allowed and view.is_expired):",
        "compaction",
    ),
    # --- the lease
    Mutant(
        "a lease keeps nobody out",
        "storage.operations",
        "        if left > 0:\n            raise LeaseUnavailableError(",
        "        if left > 1e9:\n            raise LeaseUnavailableError(",
        "leases",
    ),
    Mutant(
        "a holder does not look whether it still holds",
        "storage.operations",
        "            if not self._holds_lease(head):",
        "            if False:",
        "leases",
    ),
    Mutant(
        "a lease is taken from its holder",
        "storage.operations",
        "if held is not None and held.until > now:\n                return Nothing(result=",
        "if held is not None and held.until < now:\n                return Nothing(result=",
        "leases",
    ),
    Mutant(
        "a lease is given back by whoever had one",
        "storage.operations",
        "if view.base.lease is None or view.base.lease.token != mine.token:",
        "if view.base.lease is None or not mine.token:",
        "leases",
    ),
    Mutant(
        "two tasks take the lease of one object",
        "dynamodb",
        "self._has_lease = True  #",
        "self._has_lease = False  #",
        "shared",
    ),
    # --- parts
    Mutant(
        "a part is put over one of its own generation",
        "storage.table",
        'part),\n            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation < :generation)"',
        'part),\n            "attribute_not_exists(#key) OR (#epoch = :epoch AND #generation <= :generation)"',
        "crowd",
    ),
    Mutant(
        "slots are written before a head announces them",
        "storage.sealing",
        "slots = stored.manifest.choose_slots(",
        "slots = stored.manifest.reserving(9).choose_slots(",
        "killed",
    ),
    Mutant(
        "a merge loses an item",
        "storage.sealing",
        "run = from_values(items) + tail",
        "run = from_values(items[1:]) + tail",
        "storm",
    ),
    Mutant(
        "a part sealed for one history is committed on another",
        "storage.sealing",
        "if rest is None or (written.with_batch and rest.count):",
        "if rest is None:",
        "crowd",
    ),
    Mutant(
        "parts end before their session",
        "storage.expiry",
        "return now + ttl_seconds + _SLACK * max(ttl_seconds, now - head.created)",
        "return now + ttl_seconds // 2",
        "expiry",
    ),
    Mutant(
        "parts are never extended",
        "storage.expiry",
        "if manifest.expires >= needed:",
        "if manifest.expires:",
        "expiry",
    ),
    Mutant(
        "a part is taken for another of its slot",
        "storage.segments",
        "if (part.epoch, part.generation, part.mark) != (epoch, segment.generation, segment.mark):",
        "if False:",
        "storm",
    ),
    # --- whose it is, and for how long
    Mutant(
        "what has expired comes back",
        "storage.head",
        "if self.ttl is None or now < self.ttl:",
        "if True:",
        "expiry",
    ),
    Mutant(
        "anybody is the owner",
        "storage.operations",
        "if self.owner is not None and head.owner != self.owner and (head.owner is not None or head.count):",
        "if False:",
        "owners",
    ),
    # --- runs
    Mutant(
        "a run is claimed as often as it is asked for",
        "runs",
        "self._store.replace(1, record, expected=commit)",
        "self._store.replace(1, record)",
        "runs",
    ),
    Mutant(
        "whatever is parked is settled",
        "runs",
        "self._store.clear(expected=commit)",
        "self._store.clear()",
        "runs",
    ),
    # --- time, errors, cancellation
    Mutant(
        "patience has no end",
        "storage.retry",
        "        if left <= 0:\n            return False",
        "        if left <= -60:\n            return False",
        "spells",
    ),
    Mutant(
        "what fails after the commit fails the operation",
        "storage.commit",
        "with contextlib.suppress(SessionError):",
        "with contextlib.suppress(KeyError):",
        "role",
    ),
    Mutant(
        "a cancelled write is left behind",
        "dynamodb",
        "            cancellation = cancelled",
        "            raise cancelled",
        "cancelled",
    ),
)
