"""What one slot holds: a chunk of a segment, and its stored form.

::

    session_id  S  the slot's key
    epoch       B  the life of the head that it was written for
    generation  N  newer ones replace older ones
    put_id      B  the id of the write that put it there
    chunk       S  index/chunks/CRC-32 of the data
    first       N  how many items of the history came before its segment
    count       N  how many items its whole segment held when written
    data        B  the chunk
    updated_at  N  Unix second in which it was written
    ttl         N  Unix second from which DynamoDB may delete it; absent when it never may
    fence       N  number of the newest head write that changed its ttl; absent when none did
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from .head import Attributes, stored_seconds
from .manifest import MARK_BYTES
from .record import DamagedRecordError

_CHUNKS_LIMIT = 10**6


@dataclass(frozen=True, slots=True)
class Part:
    """What one slot holds: a chunk of a segment.

    Attributes:
        key: The slot's key in the table.
        epoch: The life of the head that it was written for.
        generation: Newer ones replace older ones.
        put_id: The id of the write that put it there, to know one's own.
        index: Which chunk of its segment it is, from 0.
        chunks: Of how many.
        first: How many items of the history came before its segment.
        count: How many items its whole segment held when written.
        data: The chunk.
        written: Unix second.
        expires: Unix second from which DynamoDB may delete it, or None.
        is_intact: Whether the chunk is what was written.
    """

    key: str
    epoch: bytes
    generation: int
    put_id: bytes
    index: int
    chunks: int
    first: int
    count: int
    data: bytes = field(repr=False)
    written: int
    expires: int | None
    is_intact: bool = True

    @property
    def mark(self) -> bytes:
        """The beginning of its put id: distinguishes it from another part of the same slot and generation."""
        return self.put_id[:MARK_BYTES]


def part_attributes(part: Part) -> dict[str, Any]:
    """The stored form of a part."""
    attributes: dict[str, Any] = {
        "session_id": {"S": part.key},
        "epoch": {"B": part.epoch},
        "generation": {"N": str(part.generation)},
        "put_id": {"B": part.put_id},
        "chunk": {"S": f"{part.index}/{part.chunks}/{zlib.crc32(part.data):08x}"},
        "first": {"N": str(part.first)},
        "count": {"N": str(part.count)},
        "data": {"B": part.data},
        "updated_at": {"N": str(part.written)},
    }
    if part.expires is not None:
        attributes["ttl"] = {"N": str(part.expires)}
    return attributes


def part_from_attributes(item: Attributes) -> Part:
    """The part that an item holds.

    Raises:
        DamagedRecordError: When it is not one.
    """
    try:
        index, chunks, checksum = item["chunk"]["S"].split("/")
        data = bytes(item["data"]["B"])
        part = Part(
            key=item["session_id"]["S"],
            epoch=bytes(item["epoch"]["B"]),
            generation=int(item["generation"]["N"]),
            put_id=bytes(item["put_id"]["B"]),
            index=int(index),
            chunks=int(chunks),
            first=int(item["first"]["N"]),
            count=int(item["count"]["N"]),
            data=data,
            written=stored_seconds(item, "updated_at") or 0,
            expires=part_end(item),
            is_intact=zlib.crc32(data) == int(checksum, 16),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedRecordError(f"not a part: {error!r}") from error
    if part.generation < 0 or part.count < 0 or not 0 <= part.index < part.chunks <= _CHUNKS_LIMIT:
        raise DamagedRecordError("not a part: its numbers are out of range")
    return part


def part_end(item: Attributes) -> int | None:
    """When DynamoDB may delete a part: None for never, which is also what it makes of a ``ttl`` that is no number."""
    ttl = item.get("ttl")
    return stored_seconds(item, "ttl") if ttl is not None and "N" in ttl else None
