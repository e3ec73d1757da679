"""A module is rewritten so that nobody notices but by the time it takes, or not at all."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tools.layers import deferrals, deferred_names
from tools.layers.defer import NotDeferrableError, defer
from tools.layers.deferrals import Deferral

PLAIN = '''"""A module."""
from __future__ import annotations

from decimal import (
    Decimal,
    getcontext as context,
)
import fractions as numbers
from json import dumps

LIMIT: int = sum(
    number for number in (1, 2, 3)
)
TWICE = LIMIT * 2
EAGER = 1


def double(value: int, eager: int = EAGER):
    return Decimal(value) * TWICE if value < LIMIT else context().create_decimal(int(numbers.Fraction(9)))


class Scale:
    def __init__(self, factor=EAGER):
        self.limits = [LIMIT for _ in range(2)]
        self.twice = lambda: TWICE

    def fail(self):
        raise ValueError(dumps(LIMIT))
'''
NAMES = ("Decimal", "context", "numbers", "LIMIT", "TWICE")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Imports a module from its code; what it imported is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "deferred_names", deferred_names)
    before = set(sys.modules)

    def load(code: str, name: str = "lazy_module") -> ModuleType:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_deferred_name_is_made_at_its_first_use_and_not_before(load: Callable[..., ModuleType]) -> None:
    module = load(defer(PLAIN, NAMES, package=False))
    assert not set(NAMES) & set(vars(module))
    assert module.double(2) == 24
    assert {"Decimal", "TWICE", "LIMIT"} <= set(vars(module))
    assert not {"numbers", "context"} & set(vars(module))
    assert module.double(9) == 9
    assert module.Scale().limits == [6, 6]
    assert module.Scale().twice() == 12


def test_from_outside_a_rewritten_module_is_as_the_stock_one(load: Callable[..., ModuleType]) -> None:
    stock, lazy = load(PLAIN, "stock"), load(defer(PLAIN, NAMES, package=False), "lazy")
    assert dir(lazy) == dir(stock)
    assert lazy.numbers is stock.numbers
    assert lazy.Decimal is stock.Decimal
    assert (lazy.LIMIT, lazy.TWICE) == (stock.LIMIT, stock.TWICE)
    assert lazy.__annotations__ == stock.__annotations__
    with pytest.raises(AttributeError, match="module 'lazy' has no attribute 'nothing'"):
        _ = lazy.nothing


def test_a_star_import_takes_deferred_names_too(load: Callable[..., ModuleType]) -> None:
    load(PLAIN, "stock")
    load(defer(PLAIN, NAMES, package=False), "lazy")
    taken = {name: vars(load(f"from {name} import *", f"taker_of_{name}")) for name in ("stock", "lazy")}
    assert set(taken["lazy"]) == set(taken["stock"])
    assert set(NAMES) <= set(taken["lazy"])


def test_lines_keep_their_numbers(load: Callable[..., ModuleType]) -> None:
    def line_of_failure(module: ModuleType) -> int | None:
        try:
            module.Scale().fail()
        except ValueError as error:
            return traceback.extract_tb(error.__traceback__)[-1].lineno
        return None

    stock, lazy = load(PLAIN, "stock"), load(defer(PLAIN, NAMES, package=False), "lazy")
    assert line_of_failure(lazy) == line_of_failure(stock)


def test_what_is_patched_is_what_the_modules_own_functions_see(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(defer(PLAIN, NAMES, package=False))
    before = module.TWICE
    with monkeypatch.context() as patch:
        patch.setattr(module, "TWICE", 100)
        assert module.double(2) == 200
    assert before == module.TWICE


def test_a_reload_makes_values_anew(load: Callable[..., ModuleType]) -> None:
    module = load(defer("VALUE = object()\n\n\ndef value():\n    return VALUE\n", ["VALUE"], package=False))
    before = module.value()
    assert importlib.reload(module).value() is not before
    assert module.value() is module.VALUE


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("LIMIT = 1\nprint(LIMIT)", "line 2 needs LIMIT at once"),
        ("LIMIT = 1\ndef f(x=LIMIT): ...", "line 2 needs LIMIT at once"),
        ("LIMIT = 1\ndef f(x: LIMIT): ...", "line 2 needs LIMIT at once"),
        ("from __future__ import annotations\nLIMIT = int\ndef f(x: LIMIT): ...", "line 3 needs LIMIT at once"),
        ("LIMIT = print\n@LIMIT\ndef f(): ...", "line 2 needs LIMIT at once"),
        ("LIMIT = int\nclass A(LIMIT): ...", "line 2 needs LIMIT at once"),
        ("LIMIT = int\nclass A:\n    x = LIMIT", "line 3 needs LIMIT at once"),
        ("LIMIT = 1\nOTHER = [LIMIT for _ in '']", "line 2 needs LIMIT at once"),
        ("LIMIT = 1\nLIMIT = 2", "line 1 needs LIMIT at once, or binds it again"),
        ("LIMIT = 1\nif True:\n    LIMIT = 2", "binds it again"),
        ("LIMIT = 1\ndel LIMIT", "binds it again"),
        ("LIMIT = 1\ntry:\n    from os import LIMIT\nexcept ImportError: ...", "binds LIMIT too"),
        ("LIMIT = 1\ndef LIMIT(): ...", "binds LIMIT too"),
        ("LIMIT = 1\ndef f():\n    global LIMIT\n    LIMIT = 2", "f binds LIMIT itself"),
        ("LIMIT = 1\ndef f(LIMIT): ...", "f binds LIMIT itself"),
        ("LIMIT = 1\ndef f():\n    import LIMIT", "binds LIMIT too"),
        ("LIMIT = 1\ndef f():\n    for LIMIT in (): ...", "f binds LIMIT itself"),
        ("LIMIT = 1\ndef f():\n    return f'{LIMIT}'", "line 3 needs LIMIT at once"),
        ("LIMIT = 1\nfrom os import LIMIT", "both imported and assigned"),
        ("LIMIT = 1; OTHER = 2", "shares its line"),
        ("LIMIT = OTHER = 1", "no simple statement binds LIMIT"),
        ("LIMIT, OTHER = 1, 2", "no simple statement binds LIMIT"),
        ("import os.LIMIT", "no simple statement binds LIMIT"),
        ("try:\n    LIMIT = 1\nfinally: ...", "no simple statement binds LIMIT"),
        ("from os import *", "no simple statement binds LIMIT"),
        ("LIMIT = 1\ndef __getattr__(name): ...", "has a __getattr__ or __dir__ of its own"),
    ],
)
def test_what_somebody_would_notice_is_refused(code: str, why: str) -> None:
    with pytest.raises(NotDeferrableError, match=why):
        defer(code, ["LIMIT"], package=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A tree with a package of three modules."""
    folder = tmp_path / "tree" / "lazypackage"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .one import One as One, Other\nfrom . import two\nfrom .two import Two\n")
    (folder / "one.py").write_text("from .three import Three\nclass One: ...\nclass Other: ...\n")
    (folder / "two.py").write_text("class Two: ...\n")
    (folder / "three.py").write_text("class Three: ...\n")
    return tmp_path / "tree"


def of(tree: Path) -> Deferral:
    """The package's imports, all deferred."""
    path = "lazypackage/__init__.py"
    return Deferral(path, hashlib.sha256((tree / path).read_bytes()).hexdigest(), ("*",), ("three",))


def test_a_packages_submodules_are_its_attributes_as_if_it_had_imported_them(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(deferrals.apply([of(package)], package)) == []
    assert (package / "deferred_names.py").exists()
    monkeypatch.syspath_prepend(package)
    for name in ("lazypackage", "lazypackage.one", "lazypackage.two", "lazypackage.three", "deferred_names"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("lazypackage")
    assert "lazypackage.one" not in sys.modules
    assert {"One", "Other", "Two", "one", "two", "three"} <= set(dir(module))
    assert module.three.Three is module.one.Three
    assert module.One is module.one.One
    assert module.two.Two is module.Two
    assert module.One.__module__ == "lazypackage.one"


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"path": "lazypackage/missing.py"}])
def test_a_package_with_a_file_that_is_not_the_known_one_stays_as_it_is(package: Path, changes: dict[str, str]) -> None:
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    other = Deferral("lazypackage/two.py", hashlib.sha256(b"class Two: ...\n").hexdigest(), ())
    (sentence,) = deferrals.apply([other, replace(of(package), **changes)], package)
    assert sentence.startswith("lazypackage stays as it is")
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


def test_packages_that_a_tree_has_not_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    assert list(deferrals.apply([Deferral("absent/__init__.py", "", ("*",))], tmp_path / "tree")) == []


def test_the_result_does_not_depend_on_the_order_of_the_names() -> None:
    assert defer(PLAIN, NAMES, package=False) == defer(PLAIN, NAMES[::-1], package=False)
    ast.parse(defer(PLAIN, NAMES, package=False))
