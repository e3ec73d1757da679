"""What model calls have used: tokens, by day. Values and their stored form.

A session's usage is kept in its head, where the write that ends a turn adds to it. The newest days stand one by one;
what is older is summed, so that the head stays small.
"""

from __future__ import annotations

import time
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

from .record import LARGEST_NUMBER, DamagedRecordError, RecordReader, RecordWriter

KEEP_DAYS = 6
"""Days that a head keeps one by one. Each takes about 12 bytes of every write."""

DAY_SECONDS = 86_400

EARLIER = "earlier"
"""In place of a date: the days before those that are kept one by one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What some model calls have used.

    Attributes:
        requests: Calls of the model.
        input_tokens: Tokens that it read, cached ones included.
        cached_tokens: Of these, tokens that came from the provider's cache.
        output_tokens: Tokens that it wrote, reasoning included.
        reasoning_tokens: Of these, tokens of reasoning.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens

    @classmethod
    def of(cls, usage: Any) -> Usage:
        """The usage that the SDK counted for a run: ``result.context_wrapper.usage``.

        Args:
            usage: ``agents.Usage``, or anything with its attributes. What is missing or negative counts as 0.
        """
        inputs, outputs = (getattr(usage, f"{kind}_tokens_details", None) for kind in ("input", "output"))
        return cls(
            requests=_number(usage, "requests"),
            input_tokens=_number(usage, "input_tokens"),
            cached_tokens=_number(inputs, "cached_tokens"),
            output_tokens=_number(usage, "output_tokens"),
            reasoning_tokens=_number(outputs, "reasoning_tokens"),
        )

    def to_dict(self) -> dict[str, int]:
        """Its numbers by name, and their ``total_tokens``."""
        return asdict(self) | {"total_tokens": self.total_tokens}

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def beyond(self, counted: Usage) -> Usage:
        """What it has more than was counted already; never less than nothing."""
        return Usage(*(max(0, mine - its) for mine, its in zip(astuple(self), astuple(counted), strict=True)))

    def write(self, record: RecordWriter) -> None:
        """Append to a record."""
        for number in astuple(self):
            record.number(number)

    @classmethod
    def read(cls, record: RecordReader) -> Usage:
        """Read back what ``write`` wrote."""
        return cls(*(_bounded(record.number()) for _ in fields(cls)))


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The usage of a session.

    Attributes:
        days: Of the newest days on which there was any: the day, in days since 1970 (UTC), and its usage; newest first.
        earlier: Of all days before these.
    """

    days: tuple[tuple[int, Usage], ...] = ()
    earlier: Usage = NO_USAGE

    @property
    def total(self) -> Usage:
        """Of all days."""
        total = self.earlier
        for _, usage in self.days:
            total += usage
        return total

    def plus(self, second: int, usage: Usage) -> Ledger:
        """With more usage, in a Unix second."""
        if usage == NO_USAGE:
            return self
        days = dict(self.days)
        day = second // DAY_SECONDS
        days[day] = days.get(day, NO_USAGE) + usage
        newest = sorted(days.items(), reverse=True)
        return Ledger(tuple(newest[:KEEP_DAYS]), Ledger(tuple(newest[KEEP_DAYS:]), self.earlier).total)

    def by_day(self) -> dict[str, Usage]:
        """The usage by date, newest first, and ``earlier`` for what is older."""
        days = {date_of(day): usage for day, usage in self.days}
        return days if self.earlier == NO_USAGE else {**days, EARLIER: self.earlier}

    def write(self, record: RecordWriter) -> None:
        """Append to a record."""
        record.number(len(self.days))
        for day, usage in self.days:
            record.number(day)
            usage.write(record)
        self.earlier.write(record)

    @classmethod
    def read(cls, record: RecordReader) -> Ledger:
        """Read back what ``write`` wrote."""
        days = tuple((_bounded(record.number()), Usage.read(record)) for _ in range(record.number()))
        return cls(days, Usage.read(record))


NO_LEDGER = Ledger()


def date_of(day: int) -> str:
    """The date of a day since 1970, such as ``2026-11-26``."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_SECONDS))
    except (ValueError, OverflowError, OSError):
        return f"day {day}"


def _number(values: Any, name: str) -> int:
    value = getattr(values, name, None)
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return min(max(0, value), LARGEST_NUMBER - 1)


def _bounded(number: int) -> int:
    if number >= LARGEST_NUMBER:
        raise DamagedRecordError("a number of the usage is out of range")
    return number
