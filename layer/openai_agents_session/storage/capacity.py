"""DynamoDB's documented size and capacity rules, as far as the layout depends on them.

Sources: the Developer Guide's pages "DynamoDB item sizes and formats" (CapacityUnitCalculations) and "DynamoDB read and
write operations".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ITEM_LIMIT_BYTES = 409_600
"""Largest item DynamoDB stores: 400 KB, names and values together."""

KEY_LIMIT_BYTES = 2_048
"""Longest partition key, in UTF-8 bytes."""

BATCH_GET_LIMIT_KEYS = 100
"""Most keys in one BatchGetItem."""

TRANSACTION_LIMIT_ITEMS = 100
"""Most items that one transaction writes."""

TRANSACTION_LIMIT_BYTES = 4 * 1024 * 1024
"""Most data that one transaction writes."""

BATCH_GET_LIMIT_BYTES = 16 * 1024 * 1024
"""Most data one BatchGetItem returns; the rest comes back as unprocessed keys."""


def write_units(size: int) -> int:
    """Write units of an item of ``size`` bytes: one per started KB."""
    return max(1, -(-size // 1024))


def read_units(size: int, *, consistent: bool = True) -> float:
    """Read units of an item of ``size`` bytes: one per started 4 KB, half that if eventually consistent."""
    units = max(1, -(-size // 4096))
    return float(units) if consistent else units / 2


def item_size(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Size of an item in bytes, names and values together."""
    return sum(len(name.encode()) + _value_size(value) for name, value in attributes.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode(errors="surrogatepass"))
    if kind == "B":
        return len(content)
    if kind == "N":
        digits: str = content.lstrip("-").replace(".", "")
        return 1 + -(-len(digits) // 2) + int(content.startswith("-"))
    return _other_size(kind, content)


def _other_size(kind: str, content: Any) -> int:
    """Of kinds that sessions do not use: an operator's, or another tool's."""
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "L":
        return 3 + sum(1 + _value_size(value) for value in content)
    if kind == "M":
        return 3 + len(content) + item_size(content)
    return sum(_value_size({kind[0]: value}) for value in content)  # a set
