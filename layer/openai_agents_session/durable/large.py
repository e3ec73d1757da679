"""Results that are too large for a checkpoint: kept beside the session, under the same table, expiry and owner.

All of a session are one list, stored as a session of its own (``<session_id>#~large``) by the same engine: of any
size, exactly once. An entry is ``{"run", "name", "time", "text"}``. They are removed when their run has ended; those of
a run that never comes to its end go when the list's ``ttl`` is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dynamodb import _settled
from ..errors import TurnLostError
from ..storage.items import from_batch
from ..storage.keys import large_key
from ..storage.operations import SessionStore
from .options import EXECUTION_LIMIT_SECONDS

if TYPE_CHECKING:
    from ..dynamodb import DynamoDBSession

KEPT_SECONDS = 30 * 86_400
"""How long the large final result of an earlier run stays: the execution that gave it may still be replayed."""


class LargeResults:
    """The large results of one run.

    Args:
        session: The session.
        run: What names the run among all.
    """

    def __init__(self, session: DynamoDBSession, run: str) -> None:
        self._session, self._run = session, run
        self._key = large_key(session.session_id)
        # An execution may take a year, and its results must outlive it.
        seconds = max(session._ttl_seconds or 0, EXECUTION_LIMIT_SECONDS)
        self._store = SessionStore(self._key, session._table, session._options, seconds, session.owner)
        self._texts: dict[str, str] | None = None
        self.is_used = False

    async def keep(self, name: str, text: str, *, is_final: bool = False) -> None:
        """Store a result."""
        self.is_used = True
        entry = {"run": self._run, "name": name, "time": self._store.now(), "final": is_final, "text": text}
        async with self._session._open():
            await _settled(self._store.append(from_batch(self._key, [entry])))
        if self._texts is not None:
            self._texts[name] = text

    async def read(self, name: str) -> str:
        """A result. Raises ``TurnLostError`` when it is gone."""
        self.is_used = True
        if self._texts is None:
            entries, _ = await self._entries()
            self._texts = {each["name"]: each["text"] for each in entries if each["run"] == self._run}
        try:
            return self._texts[name]
        except KeyError:
            raise TurnLostError(
                f"session {self._session.session_id!r}: the result of {name!r}, which was too large for a checkpoint, "
                f"is not in the table any more: {self._key!r} was deleted"
            ) from None

    async def collect(self) -> None:
        """Remove the run's results, except its final one; and final ones of earlier runs that have had their time."""
        removed = False
        while not removed:
            entries, commit = await self._entries()
            oldest = self._store.now() - KEPT_SECONDS
            left = [each for each in entries if each["final"] if each["run"] == self._run or each["time"] >= oldest] + [
                each for each in entries if not each["final"] if each["run"] != self._run
            ]
            if len(left) == len(entries) or commit is None:
                return
            removed = await self._replaced(left, commit)

    async def _replaced(self, left: list[dict[str, Any]], commit: bytes) -> bool:
        async with self._session._open():
            if not left:
                return await _settled(self._store.clear(expected=commit))
            return await _settled(self._store.replace(0, from_batch(self._key, left), expected=commit))

    async def _entries(self) -> tuple[list[dict[str, Any]], bytes | None]:
        async with self._session._open():
            entries, head = await self._store.read_with_head(None)
        return entries, head.commit
