"""Which names of the layer's packages are made at their first use: layer/deferred.toml, applied to a built tree.

A package is rewritten whole or not at all, and only where each of its files has the content that was looked at.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.layers import deferred_names
from tools.layers.defer import defer

HELPER = Path(deferred_names.__file__)


@dataclass(frozen=True)
class Deferral:
    """What is deferred of one module.

    Attributes:
        path: The module's file, from the folder that packages are installed in.
        sha256: Of the content that the rest was written for.
        names: What is deferred, see `defer`.
        submodules: What stock code would have loaded beside that, see `defer`.
    """

    path: str
    sha256: str
    names: tuple[str, ...]
    submodules: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.path.partition("/")[0]


def read(path: Path) -> list[Deferral]:
    """Read deferrals from a TOML file: a table for each module, named by its path."""
    entries = tomllib.loads(path.read_text())
    return [
        Deferral(module, entry["sha256"], tuple(entry["names"]), tuple(entry.get("submodules", ())))
        for module, entry in entries.items()
    ]


def apply(deferrals: list[Deferral], tree: Path) -> Iterator[str]:
    """Rewrite the modules of a tree, and put beside them what they need at run time.

    Args:
        deferrals: What is deferred; packages that the tree has not are passed over.
        tree: The folder that packages are installed in.

    Yields:
        One sentence for each package that stays as it is, because a file of it is not the one that is known.

    Raises:
        defer.NotDeferrableError: What a known file defers cannot be deferred.
    """
    packages: dict[str, list[Deferral]] = defaultdict(list)
    for deferral in deferrals:
        if (tree / deferral.package).is_dir():
            packages[deferral.package].append(deferral)
    for package, of_package in packages.items():
        unknown = [deferral.path for deferral in of_package if _digest(tree / deferral.path) != deferral.sha256]
        if unknown:
            yield f"{package} stays as it is, and loads all at once: {', '.join(unknown)} is not the file that is known"
        else:
            _rewrite(of_package, tree)


def _rewrite(deferrals: list[Deferral], tree: Path) -> None:
    codes = {
        tree / deferral.path: defer(
            (tree / deferral.path).read_text(encoding="utf-8"),
            deferral.names,
            deferral.submodules,
            package=deferral.path.endswith("/__init__.py"),
        )
        for deferral in deferrals
    }
    for path, code in codes.items():
        path.write_text(code, encoding="utf-8")
    shutil.copyfile(HELPER, tree / HELPER.name)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
