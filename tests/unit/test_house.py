"""The library's house: who imports whom, who sends requests, who writes heads, and that CONTRIBUTING.md is true.

Sizes are printed and not gated: ``pytest tests/unit/test_house.py -s`` shows them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.support.house import LIBRARY, Module, arrows, circles, floors, modules

ROOT = Path(__file__).resolve().parents[2]
LEAVES = {"errors", "events", "options", "cache", "tool_calls"}
"""What storage may import from above: modules that import nothing of storage."""

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
CLIENT_METHODS = {
    *("get_item", "batch_get_item", "put_item", "update_item", "delete_item", "transact_write_items", "scan", "query"),
    *("create_table", "describe_table", "update_time_to_live", "describe_time_to_live", "batch_write_item"),
}


@cache
def house() -> Mapping[str, Module]:
    return modules()


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for name, module in house().items():
        yield from ((name, node) for node in ast.walk(module.tree) if isinstance(node, kind))


def test_no_import_goes_round_in_a_circle() -> None:
    """No module imports itself, directly or through others, when it is imported."""
    assert circles(house()) == []


def test_circles_are_found() -> None:
    """The check above notices a circle."""
    made = {
        name: Module(Path(name), ast.parse(""), frozenset(to)) for name, to in {"a": "b", "b": "c", "c": "a"}.items()
    }
    assert circles(made) == [["a", "b", "c"]]


def test_storage_imports_nothing_from_above() -> None:
    """A module of storage imports storage and the leaves, and the leaves import nothing of storage."""
    for name, module in house().items():
        if name.startswith("storage.") or name in LEAVES:
            above = {to for to in module.imports if not to.startswith("storage.")}
            assert above <= LEAVES, name
        if name in LEAVES:
            assert not {to for to in module.imports if to.startswith("storage.")}, name


def test_nothing_of_the_library_imports_the_command() -> None:
    """The operator's command imports the library, never the other way round."""
    for name, module in house().items():
        if not name.startswith("cli."):
            assert not any(to.startswith("cli.") for to in module.imports), name


def test_nothing_of_the_library_imports_the_service() -> None:
    """The service imports the library, never the other way round: the lean layer has not what it needs."""
    for name, module in house().items():
        if not name.startswith("service."):
            assert not any(to.startswith("service.") for to in module.imports), name


def test_one_file_sends_requests() -> None:
    """Only storage/table.py calls the DynamoDB client; the operator's command looks at the table itself besides."""
    callers: dict[str, set[str]] = {}
    for name, node in nodes(ast.Call):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in CLIENT_METHODS:
            callers.setdefault(name, set()).add(node.func.attr)
        if ast.unparse(node).startswith("getattr(self.client"):
            callers.setdefault(name, set()).add("any")
    assert callers == {"storage.table": {"any"}, "cli.store": {"describe_table"}}


def test_one_door_to_a_head() -> None:
    """Only storage/commit.py puts heads. Operations deletes what it looked at: an emptied or damaged head."""
    calls: dict[str, set[str]] = {"put_head": set(), "delete_head": set(), "delete_seen": set()}
    for name, node in nodes(ast.Attribute):
        if isinstance(node, ast.Attribute) and node.attr in calls and not name.startswith("cli."):
            calls[node.attr].add(name)
    assert calls["put_head"] == {"storage.commit"}
    assert calls["delete_head"] <= {"storage.commit", "storage.operations"}
    assert calls["delete_seen"] <= {"storage.operations"}


def test_sizes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The sizes of files and classes are there to be looked at; the floors count from the modules that import none."""
    with capsys.disabled():
        print()
        for part, of_part in (("the library", _without("cli.")), ("storage", _only("storage."))):
            print(f"{part}: {len(of_part)} modules, {floors(of_part)} floors, {arrows(of_part)} arrows")
        for name, module in sorted(house().items(), key=lambda entry: -entry[1].lines)[:5]:
            print(f"  {name}: {module.lines} lines")
        for lines, methods, name in sorted(_classes(), reverse=True)[:5]:
            print(f"  class {name}: {lines} lines, {methods} methods")
    assert floors(house()) >= 1


def _only(folder: str) -> Mapping[str, Module]:
    names = {name for name in house() if name.startswith(folder)}
    return {name: replace(house()[name], imports=house()[name].imports & names) for name in names}


def _without(folder: str) -> Mapping[str, Module]:
    return {name: module for name, module in house().items() if not name.startswith(folder)}


def _classes() -> Iterator[tuple[int, int, str]]:
    for name, node in nodes(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        methods = sum(isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) for child in node.body)
        yield (node.end_lineno or 0) - node.lineno + 1, methods, f"{name}.{node.name}"


def test_every_file_of_the_library_is_in_the_map() -> None:
    """CONTRIBUTING.md says what each file of the library is for, and names none that is not there."""
    files = {
        path.relative_to(LIBRARY).as_posix()
        for path in LIBRARY.rglob("*.py")
        if "cli" not in path.relative_to(LIBRARY).parts[:1] and path.read_text().strip()
    }
    section = PAGE.partition("## Map of files")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([\w/]+\.py)` \|", section, re.MULTILINE))
    assert files - named == set()
    assert {name for name in named if not (LIBRARY / name).exists()} == set()


def test_every_test_that_is_named_exists() -> None:
    """The fault model proves its promises with tests that are there."""
    named = set(re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", PAGE))
    assert len(named) > 20
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for file, test in named:
        assert file in files, file
        assert not test or re.search(rf"def {test}\(", files[file]), f"{file}::{test}"


def test_the_glossary_is_short() -> None:
    """Who changes the commit path has fewer than 20 concepts to know."""
    section = PAGE.partition("## Glossary")[2].partition("\n## ")[0]
    assert 10 <= len(re.findall(r"^\| \*\*", section, re.MULTILINE)) < 20
