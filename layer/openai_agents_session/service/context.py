"""What a tool is told about the turn that it runs in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from ..turns import InvocationTime


@dataclass(frozen=True)
class TurnContext:
    """The ``context`` of a run: tools find it as ``context.context``, beside the SDK's own ``context.tool_call_id``.

    Attributes:
        session_id: The conversation, as the caller names it.
        owner: Whose it is, as the authorizer verified or the message states it; None if it belongs to nobody.
        turn_id: What names the turn: its idempotency key, the id of the queue's message, or that of the invocation.
        time: The time that is left.
    """

    session_id: str
    owner: str | None
    turn_id: str
    time: InvocationTime

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the invocation is over, or nobody waits for its answer any more. Never below 0."""
        return max(0.0, self.time.get_remaining_time_in_millis() / 1000)

    def idempotency_key(self, call_id: str) -> str:
        """A key for what a call does elsewhere, such as a payment: 64 hex digits, the same for the same call alone.

        Args:
            call_id: The call's, ``context.tool_call_id``.
        """
        named = json.dumps([self.owner, self.session_id, self.turn_id, call_id])
        return hashlib.sha256(named.encode()).hexdigest()
