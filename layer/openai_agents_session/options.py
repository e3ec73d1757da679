"""How a session is laid out, and its retry budget. The defaults are right for almost everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .cache import SHARED_CACHE, SegmentCache
from .errors import InvalidInputError
from .events import Observer


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """Settings of the storage engine.

    Attributes:
        single_item: Keep the whole session as JSON in one item for as long as DynamoDB allows (400 KB), for other tools
            that read the table. Costs as much as the reference: the whole item at every append.
        item_bytes: A session is one plain item until it would be larger than this (bytes). 4,096 is one read unit.
        head_bytes: Beyond that, what the head may grow to before it is sealed (bytes). 1,024 is one write unit.
        part_bytes: Largest chunk stored in one part (bytes); DynamoDB's limit is 400 KB an item. The head names each
            part, with 2 to 4 bytes: small parts make the head of a long conversation large.
        fan_out: Segments of one level that merge into one of the next.
        compress: Deflate what is sealed and what stands in a head beside segments.
        cache: Decoded segments kept by this process, shared between sessions; None to keep none.
        patience_seconds: The retry budget: how long an operation retries contention, throttling and failures before it
            gives up. A request under way then gets a second to end. At most 60: a Lambda caller has given up long
            before. The deadline of a turn ends it earlier.
        observer: Called with every request and everything else worth counting; must not block or raise.
        clock: The wall clock, in Unix seconds.
        unowned_only: Whether a session object without an owner is kept from sessions that are bound to one, as if
            they did not exist. For services whose callers may be nobody. Otherwise no owner means no check.
    """

    single_item: bool = False
    item_bytes: int = 4_096
    head_bytes: int = 1_024
    part_bytes: int = 384 * 1024
    fan_out: int = 8
    compress: bool = True
    cache: SegmentCache | None = field(default_factory=lambda: SHARED_CACHE)
    patience_seconds: float = 20.0
    observer: Observer | None = None
    clock: Callable[[], float] = time.time
    unowned_only: bool = False

    def __post_init__(self) -> None:
        limits = {
            "item_bytes": (128, 390 * 1024),
            "head_bytes": (128, 390 * 1024),
            "part_bytes": (1_024, 390 * 1024),
            "fan_out": (2, 64),
            "patience_seconds": (0, 60),
        }
        if not (self.cache is None or hasattr(self.cache, "put")) or not callable(self.clock):
            raise InvalidInputError(
                "cache must be a SegmentCache or None, and clock a function that gives Unix seconds"
            )
        if self.observer is not None and not callable(self.observer):
            raise InvalidInputError(f"observer must be a function that takes an event, not {self.observer!r}")
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidInputError(f"{name} must be a number, not {value!r}")
            if name != "patience_seconds" and not isinstance(value, int):
                raise InvalidInputError(f"{name} must be a whole number, not {value!r}")
            if not least <= value <= most:
                raise InvalidInputError(f"{name} must be between {least} and {most}, not {value!r}")
