"""A whole session, laid out afresh: its head and its parts, to be written in one transaction.

A session that grows seals what its head outgrows, slot by slot. A copy is there at once: all its items are known, its
slots are new, and nobody may see it until it is whole. So its parts and the head that names them go into one
transaction: killed at any moment, there is all of it or nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .capacity import TRANSACTION_LIMIT_BYTES, TRANSACTION_LIMIT_ITEMS, item_size, write_units
from .expiry import Expiry
from .head import Head
from .items import NOTHING, Items, fits_one_run, from_values
from .keys import slot_key
from .layout import Layout
from .manifest import Manifest, Segment
from .part import Part, part_attributes
from .receipts import COMMIT_BYTES
from .transition import Put, View

_GENERATION = 1
_SPARE_BYTES = 64 * 1024
"""Room for the head, and for what DynamoDB counts besides."""


@dataclass(frozen=True, slots=True)
class Copying:
    """How a session is laid out afresh.

    Attributes:
        layout: How heads are stored.
        expiry: When parts end.
        part_bytes: Largest chunk in one part.
        compress: Whether runs of items are deflated.
    """

    layout: Layout
    expiry: Expiry
    part_bytes: int
    compress: bool

    def put(self, view: View, head: Head, items: Items) -> Put | None:
        """The write of a head that the table does not hold, with all its parts; None when it is too much for one.

        Args:
            view: The absent head.
            head: What is to stand there, without its items.
            items: Its history.
        """
        whole = replace(head, tail=items)
        if not self.layout.is_too_long(items):
            encoded = self.layout.encode(view, whole)
            if not encoded.has_outgrown:
                return Put(encoded, result=True)
        segments, parts = self._sealed(view, head, items)
        size = sum(item_size(part_attributes(part)) for part in parts)
        if len(parts) >= TRANSACTION_LIMIT_ITEMS or size > TRANSACTION_LIMIT_BYTES - _SPARE_BYTES:
            return None
        expires = self.expiry.of_parts(head, view.now) or 0
        manifest = Manifest(tuple(segments), (), len(parts), _GENERATION + 1, expires)
        encoded = self.layout.encode(view, replace(head, tail=NOTHING, manifest=manifest))
        return Put(encoded, result=True, parts=tuple(parts))

    def _sealed(self, view: View, head: Head, items: Items) -> tuple[list[Segment], list[Part]]:
        segments: list[Segment] = []
        parts: list[Part] = []
        first = 0
        for run in self._runs(items):
            packed = run.packed(compress=self.compress)
            chunks = [packed[start : start + self.part_bytes] for start in range(0, len(packed), self.part_bytes)]
            template = Part(
                key="",
                epoch=head.epoch,
                generation=_GENERATION,
                put_id=secrets.token_bytes(COMMIT_BYTES),
                index=0,
                chunks=len(chunks),
                first=first,
                count=run.count,
                data=b"",
                written=view.now,
                expires=self.expiry.of_parts(head, view.now),
            )
            begin = len(parts)
            parts += [
                replace(template, key=slot_key(head.session_id, begin + index), index=index, data=chunk)
                for index, chunk in enumerate(chunks)
            ]
            kilobytes = sum(write_units(item_size(part_attributes(part))) for part in parts[begin:])
            slots = tuple(range(begin, len(parts)))
            segments.append(Segment(slots, _GENERATION, run.count, 0, kilobytes, template.mark))
            first += run.count
        return segments, parts

    def _runs(self, items: Items) -> Iterator[Items]:
        """The items in runs of about one part each."""
        run = NOTHING
        for value in items.decode():
            item = from_values([value])
            grown = run + item
            if run.count and (len(grown.text) > 2 * self.part_bytes or not fits_one_run(grown)):
                yield run
                grown = item
            run = grown
        if run.count:
            yield run
