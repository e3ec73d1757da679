"""Names of a module that are made when somebody first asks for them (PEP 562). Part of the layer; standard library only.

The build rewrites some modules of the layer's packages so that they end with::

    _deferred = deferred_names.install(globals(), imports={...}, values={...}, submodules=(...))

Where a function of such a module used ``NAME``, it now uses ``_deferred.NAME``: an attribute of its own module, hence
the same global variable, made if it is not there yet. From outside, a deferred name is an attribute like any other.

Threads may ask at the same time: each name has one value for good. An import is left to the import system's own locks,
which know how to break circles; an expression is evaluated under a lock of ours. A fork waits for that lock, so that a
child never inherits it held by a thread that it does not have.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

_evaluating = threading.RLock()
os.register_at_fork(
    before=_evaluating.acquire, after_in_parent=_evaluating.release, after_in_child=_evaluating.release
)

_OWN = frozenset({"__getattr__", "__dir__", "_deferred", "deferred_names"})
"""What the rewriting adds to a module, and ``dir`` does not tell."""


def install(
    namespace: dict[str, Any],
    imports: Mapping[str, tuple[str, str | None, int]],
    values: Mapping[str, Callable[[], Any]],
    submodules: Iterable[str] = (),
) -> ModuleType:
    """Give a module the names that it defers; called at the end of its code, at a reload as well.

    Args:
        namespace: The module's globals.
        imports: By name, what the import statement said: module, name in it (None: the module itself), and level, the
            number of leading dots.
        values: By name, a function that makes the value.
        submodules: Of a package, those that its own imports would have loaded, and so made its attributes.

    Returns:
        The module.
    """
    made: dict[str, Any] = {}
    names = frozenset({*imports, *values, *submodules})
    for name in (*imports, *values):
        namespace.pop(name, None)  # of the code's former run, where this is a reload

    def make(name: str) -> Any:
        if name in imports:
            return made.setdefault(name, _imported(namespace, *imports[name]))
        if name not in values:
            return _imported(namespace, name, None, 1)
        with _evaluating:
            if name not in made:
                made[name] = values[name]()
            return made[name]

    def __getattr__(name: str) -> Any:  # noqa: N807 - of the module that it becomes a part of
        if name == "__all__":  # `from module import *` asks for it first, and then takes what the namespace has
            for each in names:
                getattr(module, each)
        if name not in names:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return namespace.setdefault(name, make(name))

    def __dir__() -> list[str]:  # noqa: N807 - as above
        return sorted({*namespace, *names} - _OWN)

    namespace.update(__getattr__=__getattr__, __dir__=__dir__)
    module = sys.modules[namespace["__name__"]]
    return module


def _imported(namespace: dict[str, Any], module: str, name: str | None, level: int) -> Any:
    """What an import statement in the namespace's module binds."""
    if name is None:
        __import__(module, namespace, None, ["*"], level)
        return sys.modules[f"{namespace['__package__']}.{module}" if level else module]
    return getattr(__import__(module, namespace, None, [name], level), name)
