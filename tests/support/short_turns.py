"""Turns that need neither a model nor Lambda: a message, and an answer at once."""

from __future__ import annotations

from typing import Any

from openai_agents_session import DynamoDBSession
from openai_agents_session.storage.turn_log import Meeting
from openai_agents_session.turn_journal import TurnJournal
from openai_agents_session.turns import delivery_of, named_turn


class Invocation:
    """A Lambda context as far as a turn looks at it: so many seconds are left, always."""

    def __init__(self, seconds: float = 30) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """The same at any time."""
        return int(self._seconds * 1000)


def said(text: str) -> dict[str, str]:
    """What a user says."""
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    """What an agent answers."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


async def take(
    session: DynamoDBSession, name: str, text: str, *, keep: int | None = None, **asked: Any
) -> Meeting | None:
    """A turn that answers at once; what it met if it could not be taken.

    Args:
        session: The session.
        name: The delivery's.
        text: What the user says.
        keep: How many items stay before it; None for all.
        **asked: More of what the delivery asks for.
    """
    request = delivery_of(name, text if keep is None else f"{text} {keep}", **asked)
    async with named_turn(session, Invocation(), request, [said(text)], keep=keep, wait_seconds=0) as met:
        if not isinstance(met, TurnJournal):
            return met
        if met.is_interrupted:
            await met.go_on()
        met.answered()
        await met.add_items([answer(f"re {text}")])
    return None
