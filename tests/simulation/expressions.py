"""DynamoDB's expressions, as far as a strict reader of their documentation needs: conditions, updates, projections.

An expression is parsed once; what it names is known before any item is looked at, so that a request with a name or a
value that no expression uses can be refused, as DynamoDB does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
Names = Mapping[str, str]
Values = Mapping[str, Mapping[str, Any]]
Test = Callable[["Item | None", Names, Values], bool]
Operand = Callable[["Item | None", Names, Values], "Mapping[str, Any] | None"]

_TOKEN = re.compile(r"\s*([(),+\-]|<=|>=|<>|[=<>]|#\w+|:\w+|\w+)")
_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")


class InvalidExpression(Exception):
    """DynamoDB would answer with a ValidationException."""


@dataclass(frozen=True)
class Condition:
    """A condition that was parsed.

    Attributes:
        holds: Whether it holds for an item, or for none.
        used: The placeholders that it uses.
    """

    holds: Test
    used: frozenset[str]


@dataclass(frozen=True)
class Update:
    """An update that was parsed.

    Attributes:
        apply: The item that it makes of one.
        used: The placeholders that it uses.
    """

    apply: Callable[[Item, Names, Values], dict[str, Mapping[str, Any]]]
    used: frozenset[str]


@lru_cache(maxsize=256)
def condition(text: str) -> Condition:
    """Parse a condition expression."""
    parser = _Parser(text)
    return Condition(parser.whole(), frozenset(parser.used))


@lru_cache(maxsize=256)
def update(text: str) -> Update:
    """Parse an update expression of SET and REMOVE clauses."""
    parser = _Parser(text)
    sets, removes = parser.clauses()

    def apply(item: Item, names: Names, values: Values) -> dict[str, Mapping[str, Any]]:
        changed = dict(item)
        for name, operand in sets:
            value = operand(item, names, values)
            if value is None:
                raise InvalidExpression("SET to an attribute that does not exist")
            changed[names[name]] = value
        for name in removes:
            changed.pop(names[name], None)
        return changed

    return Update(apply, frozenset(parser.used))


@lru_cache(maxsize=64)
def projection(text: str) -> frozenset[str]:
    """Parse a projection expression: the placeholders or names that it wants."""
    wanted = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(r"#?\w+", name) for name in wanted) or len(set(wanted)) != len(wanted):
        raise InvalidExpression(f"projection {text!r}")
    return frozenset(wanted)


class _Parser:
    def __init__(self, text: str) -> None:
        self.used: set[str] = set()
        self._text = text
        self._tokens = self._split(text)
        self._at = 0

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens, position, text = [], 0, text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise InvalidExpression(f"{text!r} at {position}")
            tokens.append(match[1])
            position = match.end()
        return tokens

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise InvalidExpression(f"{self._text!r}: {token!r} where {wanted or 'something'!r} was expected")
        self._at += 1
        return token

    # --- conditions ------------------------------------------------------------------------------------------------

    def whole(self) -> Test:
        test = self._either()
        if self._peek():
            raise InvalidExpression(f"{self._text!r}: {self._peek()!r} is left over")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._peek() == "OR":
            self._take()
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda *about: any(test(*about) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._peek() == "AND":
            self._take()
            tests.append(self._negated())
        return tests[0] if len(tests) == 1 else lambda *about: all(test(*about) for test in tests)

    def _negated(self) -> Test:
        if self._peek() != "NOT":
            return self._single()
        self._take()
        inner = self._negated()
        return lambda *about: not inner(*about)

    def _single(self) -> Test:
        if self._peek() == "(":
            self._take()
            inner = self._either()
            self._take(")")
            return inner
        if self._peek() in {"attribute_exists", "attribute_not_exists"}:
            wanted = self._take() == "attribute_exists"
            self._take("(")
            name = self._name()
            self._take(")")
            return lambda item, names, _: (names[name] in (item or {})) == wanted
        return self._comparison()

    def _comparison(self) -> Test:
        left, comparator, right = self._operand(), self._take(), self._operand()
        if comparator not in _COMPARATORS:
            raise InvalidExpression(f"{self._text!r}: comparator {comparator!r}")
        return lambda *about: _compare(left(*about), comparator, right(*about))

    def _operand(self) -> Operand:
        if self._peek().startswith(":"):
            value = self._take()
            self.used.add(value)
            return lambda _item, _names, values: values[value]
        name = self._name()
        return lambda item, names, _: (item or {}).get(names[name])

    def _name(self) -> str:
        name = self._take()
        if not name.startswith("#"):  # most of the short words are reserved: the table wants placeholders for all
            raise InvalidExpression(f"{self._text!r}: {name!r} may be a reserved word")
        self.used.add(name)
        return name

    # --- updates ---------------------------------------------------------------------------------------------------

    def clauses(self) -> tuple[list[tuple[str, Operand]], list[str]]:
        sets: list[tuple[str, Operand]] = []
        removes: list[str] = []
        seen: set[str] = set()
        while self._peek():
            clause = self._take()
            if clause in seen or clause not in {"SET", "REMOVE"}:
                raise InvalidExpression(f"{self._text!r}: clause {clause!r}")
            seen.add(clause)
            while True:
                name = self._name()
                if clause == "SET":
                    self._take("=")
                    sets.append((name, self._operand()))
                else:
                    removes.append(name)
                if self._peek() != ",":
                    break
                self._take()
        paths = [name for name, _ in sets] + removes
        if not paths or len(set(paths)) != len(paths):
            raise InvalidExpression(f"{self._text!r}: paths overlap, or there are none")
        return sets, removes


def _compare(left: Mapping[str, Any] | None, comparator: str, right: Mapping[str, Any] | None) -> bool:
    if left is None or right is None:
        return comparator == "<>"
    (kind, one), (other_kind, other) = _typed(left), _typed(right)
    if kind != other_kind:
        return comparator == "<>"
    if comparator in {"=", "<>"}:
        return bool(one == other) == (comparator == "=")
    if kind not in {"N", "S", "B"}:
        raise InvalidExpression(f"{comparator} of {kind}")
    if comparator.startswith("<"):
        return bool(one < other or (comparator == "<=" and one == other))
    return bool(one > other or (comparator == ">=" and one == other))


def _typed(value: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    if kind == "N":
        return kind, Decimal(content)
    return kind, content.encode() if kind == "S" else content  # DynamoDB orders text by its UTF-8 bytes
