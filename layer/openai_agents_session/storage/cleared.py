"""What is remembered of the turns of a session that was cleared: a delivery that comes again has no effects again.

A queue, or a client that lost the answer, delivers for a while; the head that would recognise the delivery is gone
with the session. So the names of its turns, and nothing that was said, stay for a day in a small item beside it. It is
looked up when a session without any turns gets its first one, whose head takes them over.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import CorruptSessionError
from ..options import StorageOptions
from .items import from_batch
from .keys import done_key
from .operations import SessionStore
from .record import DamagedRecordError
from .table import Table
from .turn_log import KEEP_TURNS, FinishedTurn, Outcome, TurnLog

DAY_SECONDS = 86_400
"""How long the names are kept."""


class ClearedTurns:
    """The names of the turns that a session had when it was cleared.

    Args:
        session_id: The session.
        table: Its table.
        options: Its options.
        owner: Its owner.
    """

    def __init__(self, session_id: str, table: Table, options: StorageOptions, owner: str | None) -> None:
        self._key = done_key(session_id)
        self._store = SessionStore(self._key, table, options, DAY_SECONDS, owner)

    async def add(self, turns: TurnLog) -> None:
        """Remember the turns of a session that is about to be cleared; without any, nothing is written."""
        if turns.open is not None:
            turns = turns.ended(Outcome.CLEARED, turns.open.first)
        if not turns.finished:
            return
        cleared = tuple(replace(turn, first=0, last=0, outcome=Outcome.CLEARED) for turn in turns.finished)
        names = {turn.delivery for turn in cleared}
        before = tuple(turn for turn in await self.read() if turn.delivery not in names)
        packed = TurnLog(finished=(cleared + before)[:KEEP_TURNS]).pack()
        await self._store.replace(0, from_batch(self._key, [{"turns": packed.hex()}]))

    async def read(self) -> tuple[FinishedTurn, ...]:
        """The turns, newest first."""
        items = await self._store.read(None)
        try:
            return TurnLog.unpack(bytes.fromhex(items[0]["turns"])).finished if items else ()
        except (DamagedRecordError, KeyError, TypeError, ValueError) as error:
            reason = f"it is no list of turns: {error!r}"
            raise CorruptSessionError(self._key, "head", reason, intact_items=None, total_items=None) from error
