"""Names of a module that are made when somebody first asks for them (PEP 562). Goes into the layer.

The build rewrites some modules of the layer's packages so that they end with::

    _deferred = _deferred_names.install(globals(), {imports}, {values}, [submodules])

Where a function of such a module used ``NAME``, it now uses ``_deferred.NAME``: an attribute of its own module, hence
the same global variable, made if it is not there yet. From outside, a deferred name is an attribute like any other.
Only ``vars(module)`` and ``sys.modules`` tell that nobody has asked for it yet.

Threads may ask at the same time: each name has one value for good. An import is left to the import system's own locks,
which know how to break circles; an expression is evaluated under a lock of ours. A fork waits for that lock, so that a
child never inherits it held by a thread that it does not have.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

_evaluating = threading.RLock()
os.register_at_fork(before=_evaluating.acquire, after_in_parent=_evaluating.release, after_in_child=_evaluating.release)

_OURS = frozenset({"__getattr__", "__dir__", "_deferred", "_deferred_names"})
"""What the rewriting adds to a module; ``dir`` is silent about it."""

Import = tuple[str, str | None, int]
"""What an import statement says: module, name in it (None: the module itself), and level (its number of dots)."""


def install(
    namespace: dict[str, Any],
    imports: Mapping[str, Import],
    values: Mapping[str, Callable[[], Any]],
    submodules: Sequence[str] = (),
) -> ModuleType:
    """Give a module the names that it defers; called at the end of its code, at a reload as well.

    Args:
        namespace: The module's globals.
        imports: By name, the import that binds it.
        values: By name, a function that makes the value.
        submodules: Of a package, those that its own imports would have loaded, and so made its attributes.

    Returns:
        The module.
    """
    for name in (*imports, *values):
        namespace.pop(name, None)  # left by the code's former run, where this is a reload
    names = _Names(namespace, {**{name: (name, None, 1) for name in submodules}, **imports}, values)
    namespace.update(__getattr__=names.get, __dir__=names.dir)
    return names.module


class _Names:
    """The deferred names of a module, and what was made of them."""

    def __init__(
        self, namespace: dict[str, Any], imports: Mapping[str, Import], values: Mapping[str, Callable[[], Any]]
    ) -> None:
        self.module = sys.modules[namespace["__name__"]]
        self._namespace = namespace
        self._imports = imports
        self._values = values
        self._names = frozenset({*imports, *values})
        self._made: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The module's ``__getattr__``."""
        if name == "__all__":  # `from module import *` asks for it first, then takes what the namespace has
            for each in self._names:
                getattr(self.module, each)
        if name not in self._names:
            raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")
        return self._namespace.setdefault(name, self._make(name))

    def dir(self) -> list[str]:
        """The module's ``__dir__``."""
        return sorted({*self._namespace, *self._names} - _OURS)

    def _make(self, name: str) -> Any:
        if name in self._imports:
            return self._made.setdefault(name, _imported(self._namespace, *self._imports[name]))
        with _evaluating:
            if name not in self._made:
                self._made[name] = self._values[name]()
            return self._made[name]


def _imported(namespace: dict[str, Any], module: str, name: str | None, level: int) -> Any:
    """What an import statement in the namespace's module binds."""
    if name is not None:
        return getattr(__import__(module, namespace, None, [name], level), name)
    __import__(module, namespace, None, ["*"], level)
    return sys.modules[f"{namespace['__package__']}.{module}" if level else module]
