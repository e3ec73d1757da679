"""The library's modules and who imports whom, read from their source.

What is imported inside a function, or for type checkers only, does not count: it cannot make a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "layer" / "openai_agents_session"


@dataclass(frozen=True)
class Module:
    """A module.

    Attributes:
        path: Its file.
        tree: Its source.
        imports: Names of the library's modules that it imports when it is imported.
    """

    path: Path
    tree: ast.Module
    imports: frozenset[str]

    @property
    def lines(self) -> int:
        """How many its file has."""
        return len(self.path.read_text().splitlines())


def modules() -> dict[str, Module]:
    """By name from the library's folder on, such as ``storage.commit``; packages without their ``__init__``."""
    paths = {_name(path): path for path in LIBRARY.rglob("*.py")}
    trees = {name: ast.parse(path.read_text()) for name, path in paths.items()}
    return {name: Module(path, trees[name], _imports(name, trees)) for name, path in paths.items()}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


def _imports(name: str, trees: Mapping[str, ast.Module]) -> frozenset[str]:
    folder = name.split(".")[:-1]
    found = set()
    for node in _at_import(trees[name]):
        if node.level:
            base = folder[: len(folder) - node.level + 1] + (node.module.split(".") if node.module else [])
        elif node.module and node.module.split(".")[0] == LIBRARY.name:
            base = node.module.split(".")[1:]
        else:
            continue
        for alias in node.names:
            names = (".".join([*base, alias.name]), ".".join(base), ".".join([*base, "__init__"]))
            found.update([candidate for candidate in names if candidate in trees][:1])
    return frozenset(found - {name})


def _at_import(node: ast.AST) -> Iterator[ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _at_import(child)


def circles(house: Mapping[str, Module]) -> list[list[str]]:
    """Groups of modules each of which reaches every other, with more than one member."""
    reached = {name: _reached(house, name) for name in house}
    found = {frozenset({name} | {to for to in reached[name] if name in reached[to]}) for name in house}
    return sorted(sorted(group) for group in found if len(group) > 1)


def _reached(house: Mapping[str, Module], start: str) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        for name in house[left.pop()].imports - seen:
            seen.add(name)
            left.append(name)
    return seen


def arrows(house: Mapping[str, Module]) -> int:
    """How many imports there are between modules."""
    return sum(len(module.imports) for module in house.values())


def floors(house: Mapping[str, Module]) -> int:
    """The longest chain of imports, in modules."""
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            heights[name] = 1 + max((height(to) for to in house[name].imports), default=0)
        return heights[name]

    return max(height(name) for name in house)
