"""How a head is stored: decided once, encoded once. What was measured here is what is written.

::

    plain    no segments, and small: the items as JSON text in conversation_data, which anybody reads
    sealed   segments, or too large: conversation_data says "sealed", the newest items are packed in tail

A session that is small enough stays plain however many writers it has at once: the receipts that contention adds do not
count, or a short session would turn unreadable to the reference library for as long as it is busy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..options import StorageOptions
from .capacity import ITEM_LIMIT_BYTES, item_size
from .head import SEALED, Head
from .items import NOTHING, Items
from .keys import SEPARATOR
from .receipts import KEEP
from .transition import Encoded, View

HEAD_LIMIT_BYTES = ITEM_LIMIT_BYTES - 8 * 1024
"""What a head may weigh: DynamoDB's limit, less room for receipts and manifest."""

UNSEALED_LIMIT_BYTES = 64 * 1024
"""A head may be over its threshold up to here, when sealing at once would cost an extra write or is not possible."""

TAIL_TEXT_LIMIT_BYTES = 1024 * 1024
"""Most JSON text of the newest items in a head, however small it packs: every reader inflates it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The rules by which heads are stored.

    Args:
        options: The thresholds.
        owner: Whom a session without an owner is bound to by a write, or None.
        ttl_seconds: Seconds from a write to the session's end; None for never.
        is_quiet: Whether writes leave the time of the last activity and the session's end as they are.
    """

    options: StorageOptions
    owner: str | None
    ttl_seconds: int | None
    is_quiet: bool = False

    @property
    def plain_limit(self) -> int:
        """Largest plain item in bytes."""
        return HEAD_LIMIT_BYTES if self.options.single_item else self.options.item_bytes

    def encode(self, view: View, head: Head) -> Encoded:
        """The head as it will stand once the view's write is made.

        Args:
            view: What it is written over, when, and under which commit id.
            head: The next head.
        """
        stamped = self._stamped(view, head)
        return self._plain(stamped) or self._sealed(stamped)

    def is_too_long(self, tail: Items) -> bool:
        """Whether so much text is not worth encoding: it does not belong into a head."""
        return len(tail.text) > max(TAIL_TEXT_LIMIT_BYTES, self.plain_limit)

    def _stamped(self, view: View, head: Head) -> Head:
        is_quiet = self.is_quiet and head.exists
        at, milliseconds = (head.updated_at, head.profile.milliseconds) if is_quiet else (view.now, view.milliseconds)
        ttl = head.ttl if is_quiet else None if self.ttl_seconds is None else view.now + self.ttl_seconds
        manifest = head.manifest
        if manifest.segments or len(head.tail.text) > self.plain_limit // 2:
            manifest = manifest.reserving(1)  # sealing may come next, and a slot has to be known before it is written
        owner = head.owner or self.owner
        is_listed = owner is not None and head.count > 0 and SEPARATOR not in head.session_id
        profile = head.profile.listed(at, milliseconds) if is_listed else head.profile.unlisted()
        return replace(head, manifest=manifest, owner=owner, profile=profile).committed(
            view.commit, at, ttl, keep=view.keep
        )

    def _plain(self, head: Head) -> Encoded | None:
        if head.manifest.segments or len(head.tail.text) > self.plain_limit:
            return None
        item = head.attributes({"conversation_data": {"S": head.tail.text.decode()}})
        size = item_size(item)
        fits = size - head.receipts.bytes_beyond(KEEP) <= self.plain_limit
        return Encoded(head, item, size, has_outgrown=False) if fits else None

    def _sealed(self, head: Head) -> Encoded:
        packed = head.tail.packed(compress=self.options.compress)
        item = head.attributes({"conversation_data": {"S": SEALED}, "tail": {"B": packed}})
        size = item_size(item)
        return Encoded(head, item, size, has_outgrown=self._has_outgrown(head, size, len(packed)))

    def _has_outgrown(self, head: Head, size: int, packed: int) -> bool:
        if not head.manifest.segments:
            return True
        step = self.options.head_bytes
        bare = size - packed + len(NOTHING.packed(compress=self.options.compress))
        # A long id, owner or manifest takes its room in the head; what is left for items must still be worth having.
        return size > step * -(-(bare + step // 2) // step)
