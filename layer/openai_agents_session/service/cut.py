"""What of a history stays where a turn takes the place of the rest: an edited message, another answer."""

from __future__ import annotations

from dataclasses import dataclass

from ..conversations import Conversation
from .errors import RequestError

_NO_REVISION = b"-"
"""No session is ever in this state."""

_PAGE_ITEMS = 200


@dataclass(frozen=True)
class Cut:
    """What of a history stays before a turn that takes the place of the rest.

    Attributes:
        keep: How many items; None for all.
        revision: The state of the session that this is about; None for any.
        refusal: Why there can be no such turn. Whether the delivery had one before is asked first.
    """

    keep: int | None = None
    revision: bytes | None = None
    refusal: RequestError | None = None


WHOLE = Cut()


async def cut_before(conversation: Conversation, position: int) -> Cut:
    """The cut before what a user said at a position."""
    page = await conversation.history(before=position + 1, limit=1)
    if page.first == position and page.items and page.items[0].get("role") == "user":
        return Cut(position, page.revision)
    reason = f"position must be that of a user's message: at {position} there is none"
    return Cut(None, _NO_REVISION, RequestError(400, reason))


async def cut_after_last_question(conversation: Conversation) -> Cut:
    """The cut behind what the user said last."""
    page = await conversation.history(limit=_PAGE_ITEMS)
    revision = page.revision
    while True:
        said = [number for number, item in enumerate(page.items) if item.get("role") == "user"]
        if said:
            return Cut(page.first + said[-1] + 1, revision)
        if page.before is None:
            reason = "there is nothing to answer again: nobody has said anything"
            return Cut(None, _NO_REVISION, RequestError(409, reason))
        page = await conversation.history(before=page.before, limit=_PAGE_ITEMS)
