"""The library broken on purpose, one line at a time: a simulation that notices none of it would prove nothing.

A mutant changes one line of one module's source. It works by giving the functions of the loaded module the code that
they would have had, so that nothing is imported twice. A mutant whose line is gone fails its test: change it, or remove
it.
"""

from __future__ import annotations

import gc
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType

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
        (function, changed[key])
        for function in gc.get_objects()
        if isinstance(function, FunctionType) and (key := _key(function.__code__)) in changed
    ]
    if not functions:
        raise StaleMutant(f"{mutant.name}: no function of {mutant.module} is changed by it")
    originals = [(function, function.__code__) for function, _ in functions]
    try:
        for function, code in functions:
            function.__code__ = code
        yield
    finally:
        for function, code in originals:
            function.__code__ = code


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


MUTANTS: tuple[Mutant, ...] = ()
