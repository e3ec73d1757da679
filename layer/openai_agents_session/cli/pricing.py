"""What a session costs a turn. Pure; the prices are the caller's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..options import StorageOptions
from ..storage.description import SessionInfo
from ..storage.head import Head

WRITE_PRICE = 0.625
"""Dollars for a million write request units on demand, us-east-1, since November 2024."""

READ_PRICE = 0.125
"""Dollars for a million read request units on demand, us-east-1, since November 2024."""


@dataclass(frozen=True, slots=True)
class TurnCost:
    """What the next turn of a session costs: it reads the history and appends to it.

    Attributes:
        session_id: The session.
        appends: How many times a turn appends: once for the question, once for each answer of the model.
        append_write_units: Write units of one small append.
        sealing_write_units: Estimated write units a turn of moving what was appended into parts, averaged over many.
        write_units: Write units of a turn, sealing included.
        read_units_warm: Read units of a turn where the process has cached the parts.
        read_units_cold: The same where it has not.
        dollars_warm: For 1,000 turns, all warm.
        dollars_cold: For 1,000 turns, all cold.
        storage_bytes: What the session occupies, with what it will write over.
    """

    session_id: str
    appends: int
    append_write_units: int
    sealing_write_units: float
    write_units: float
    read_units_warm: float
    read_units_cold: float
    dollars_warm: float
    dollars_cold: float
    storage_bytes: int


def sealing_units(head: Head, appends: int, options: StorageOptions) -> float:
    """Estimated write units a turn for sealing and merging, from how the session has grown so far.

    An item is written once when it is sealed, and once for each level that its segment merges into: ``fan_out`` of them
    at a time, until they would no longer fit one part. The last of each ``fan_out`` is not written by itself, but with
    the merge. A session of one item seals nothing.

    Args:
        head: The session's head.
        appends: Items a turn.
        options: The layout.
    """
    segments = head.manifest.segments
    if not segments:
        return 0.0
    items = sum(segment.count for segment in segments)
    kilobytes = sum(segment.kilobytes for segment in segments) / items
    least = min(segment.level for segment in segments)
    fresh = [segment for segment in segments if segment.level == least]
    merged: int = len(fresh) * options.fan_out**least
    sealed_items = sum(segment.count for segment in fresh) / merged
    sealed_kilobytes = float(math.ceil(sum(segment.kilobytes for segment in fresh) / merged))
    levels = _levels(sealed_kilobytes, options)
    if not levels:
        return appends * sealed_kilobytes / sealed_items
    alone = 1 - 1 / options.fan_out
    return appends * (alone * sealed_kilobytes / sealed_items + (alone * (levels - 1) + 1) * kilobytes)


def _levels(kilobytes: float, options: StorageOptions) -> int:
    """How often a sealed segment of so many KB is merged in the end."""
    levels = 0
    while kilobytes * options.fan_out <= options.part_bytes / 1024 * 3 / 4:
        kilobytes *= options.fan_out
        levels += 1
    return levels


def turn_cost(info: SessionInfo, sealing: float, appends: int, read_price: float, write_price: float) -> TurnCost:
    """What a turn costs.

    Args:
        info: The session.
        sealing: Write units a turn for sealing.
        appends: Appends a turn.
        read_price: Dollars for a million read units.
        write_price: Dollars for a million write units.
    """
    written = appends * info.append_write_units + sealing

    def dollars(read: float) -> float:
        return (read * read_price + written * write_price) / 1000

    return TurnCost(
        session_id=info.session_id,
        appends=appends,
        append_write_units=info.append_write_units,
        sealing_write_units=sealing,
        write_units=written,
        read_units_warm=info.read_units_warm,
        read_units_cold=info.read_units_cold,
        dollars_warm=dollars(info.read_units_warm),
        dollars_cold=dollars(info.read_units_cold),
        storage_bytes=info.head_bytes + info.part_bytes + info.garbage_bytes,
    )
