"""What DynamoDB requests cost, by the documented rules. Pure: takes wire-form JSON and stored sizes, returns bills.

Local engines report capacity figures that are wrong in places, so costs are computed here, from the request, the
response and the sizes of the stored items that they touched. Sources are the Developer Guide's pages "DynamoDB item
sizes and formats" and "DynamoDB read and write operations". What they leave open is decided so:

- A request refused for a failed condition pays for the item that stood in its way. A cancelled transaction pays for
  each of its writes as if they had gone through and changed no sizes.
- A request that is throttled, invalid or failed on the server's side costs nothing.
- A transaction sent again with the token of one that succeeded pays reads, not writes.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
"""A DynamoDB item as it travels: attribute name to ``{"S": ...}`` and the like."""

DOLLARS_PER_MILLION_WRITES = 0.625
DOLLARS_PER_MILLION_READS = 0.125
"""On-demand prices of us-east-1 since 2024-11-01."""

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096
TRANSACTION_FACTOR = 2

CONDITION_FAILED = "ConditionalCheckFailedException"
TRANSACTION_CANCELED = "TransactionCanceledException"


@dataclass(frozen=True)
class Bill:
    """What some requests cost.

    Attributes:
        requests: HTTP requests, retried and failed ones too.
        write_units: Write request units.
        read_units: Read request units; an eventually consistent read can cost half a one.
        bytes_sent: Bytes of request bodies, towards DynamoDB.
        bytes_received: Bytes of response bodies.
        by_operation: Requests of each operation.
    """

    requests: int = 0
    write_units: float = 0
    read_units: float = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    by_operation: Mapping[str, int] = field(default_factory=dict)

    def dollars(self) -> float:
        """The price of the units, in US dollars on demand."""
        return (self.write_units * DOLLARS_PER_MILLION_WRITES + self.read_units * DOLLARS_PER_MILLION_READS) / 1e6

    def __add__(self, other: Bill) -> Bill:
        """Both together."""
        return self._combined(other, sign=1)

    def __sub__(self, other: Bill) -> Bill:
        """What came on top of an earlier bill of the same meter."""
        return self._combined(other, sign=-1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, with the dollars."""
        return {**dataclasses.asdict(self), "dollars": self.dollars()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Bill:
        """The bill that `to_json` wrote."""
        return cls(**{name: value for name, value in record.items() if name != "dollars"})

    def _combined(self, other: Bill, sign: int) -> Bill:
        names = {**self.by_operation, **other.by_operation}
        counts = {name: self.by_operation.get(name, 0) + sign * other.by_operation.get(name, 0) for name in names}
        return Bill(
            requests=self.requests + sign * other.requests,
            write_units=self.write_units + sign * other.write_units,
            read_units=self.read_units + sign * other.read_units,
            bytes_sent=self.bytes_sent + sign * other.bytes_sent,
            bytes_received=self.bytes_received + sign * other.bytes_received,
            by_operation={name: count for name, count in counts.items() if count},
        )


@dataclass(frozen=True)
class Units:
    """Write and read units of one request."""

    write: float = 0
    read: float = 0


@dataclass(frozen=True)
class Touched:
    """Size in bytes of one stored item before and after a request; 0 where there is none."""

    before: int = 0
    after: int = 0


def item_size(item: Item) -> int:
    """Bytes that an item counts: attribute names and values."""
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def value_size(value: Mapping[str, Any]) -> int:
    """Bytes that one attribute value counts."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(base64.b64decode(content))
        case "N":
            return number_size(content)
        case "BOOL" | "NULL":
            return 1
        case "SS" | "NS" | "BS":
            return sum(value_size({kind[0]: member}) for member in content)
        case "L":
            return 3 + sum(1 + value_size(member) for member in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + value_size(member) for name, member in content.items())
    raise ValueError(f"unknown attribute kind {kind}")


def number_size(text: str) -> int:
    """Bytes of a number: one, one for every two digits on either side of the point, and one for a minus sign.

    Zeros that lead or trail are not counted, in pairs, since two decimal digits share a byte.
    """
    plain = f"{Decimal(text):f}"
    whole, _, fraction = plain.lstrip("-").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not fraction:
        while whole.endswith("00"):
            whole = whole[:-2]
    if not whole:
        while fraction.startswith("00"):
            fraction = fraction[2:]
    return 1 + _started(len(whole), 2) + _started(len(fraction), 2) + plain.startswith("-")


def write_units(touched: Touched) -> int:
    """Units of writing one item: the larger of before and after, in started KB, at least 1."""
    return max(1, _started(max(touched.before, touched.after), WRITE_UNIT_BYTES))


def read_units(size: int, *, consistent: bool) -> float:
    """Units of reading ``size`` bytes in one piece: started 4 KB, at least 1; half that if eventually consistent."""
    return max(1, _started(size, READ_UNIT_BYTES)) * (1 if consistent else 0.5)


def written(items: Iterable[Touched]) -> Units:
    """PutItem, UpdateItem, DeleteItem and BatchWriteItem: each item rounds up by itself."""
    return Units(write=sum(write_units(item) for item in items))


def read_each(sizes: Iterable[int], *, consistent: bool) -> Units:
    """GetItem and BatchGetItem: each item rounds up by itself, an absent one (size 0) costs the minimum."""
    return Units(read=sum(read_units(size, consistent=consistent) for size in sizes))


def read_together(sizes: Iterable[int], *, consistent: bool) -> Units:
    """Query and Scan: what was evaluated is summed, then rounded up."""
    return Units(read=read_units(sum(sizes), consistent=consistent))


def transaction_written(items: Iterable[Touched], *, replayed: bool) -> Units:
    """TransactWriteItems; a replay of one that succeeded reads instead."""
    if replayed:
        return Units(read=sum(TRANSACTION_FACTOR * read_units(item.after, consistent=True) for item in items))
    return Units(write=sum(TRANSACTION_FACTOR * write_units(item) for item in items))


def transaction_read(sizes: Iterable[int]) -> Units:
    """TransactGetItems."""
    return Units(read=sum(TRANSACTION_FACTOR * read_units(size, consistent=True) for size in sizes))


def is_charged(status: int, error: str | None) -> bool:
    """Whether DynamoDB charges for a request that ended so.

    Args:
        status: HTTP status of the answer.
        error: The exception's name without its namespace, or None.
    """
    return status == 200 or error in (CONDITION_FAILED, TRANSACTION_CANCELED)


def _started(size: int, unit: int) -> int:
    return -(-size // unit)
