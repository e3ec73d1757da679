"""Judges a write of a head, at its instant: may this operation, now, make this of what was there?"""

from __future__ import annotations

from .docket import Allowed, Docket
from .internals import Stored
from .ledger import Ledger
from .operations import Operation
from .rules import CLEARS, LEASES, REFERENCE, explains, short
from .wire import Sender


class WriteJudge:
    """The judge of writes.

    Args:
        docket: Where it notes what it finds.
        is_skewed: Whether clocks may be wrong.
    """

    def __init__(self, docket: Docket, *, is_skewed: bool) -> None:
        self._docket = docket
        self._is_skewed = is_skewed
        self._claimed: set[str] = set()

    def judge(self, ledger: Ledger, sender: Sender, old: Stored, new: Stored) -> None:
        """Judge the write that made one state of another."""
        operation, clock = sender.operation, sender.process.clock()
        if operation.kind == REFERENCE:
            ledger.was_foreign = True
            return
        if self._is_skewed and any(name.startswith("?") for name in new.names):
            self._docket.allow(Allowed.BORN_EXPIRED)
            operation.applied += 1
            return
        effect = self._effect(operation, old, new, clock)
        if effect is None:
            self._docket.accuse(f"{operation} made {short(old.names)} of {ledger.key} to {short(new.names)}")
            return
        if not _is_over(old, clock):
            self._judge_lease(ledger, operation, old, new, int(clock * 1000))
            self._judge_owner(operation, old, new)
        self._judge_ttl(operation, new, clock)
        if self._begins_lease(ledger, operation, new) or effect:
            self._applied(ledger, sender, old, new)
        if new.ttl is not None and old.ttl is None and old.slot_count:
            ledger.bounded_by = operation

    def _effect(self, operation: Operation, old: Stored, new: Stored, clock: float) -> bool | None:
        """Whether the write did what the operation is for, or nothing (False); None if it cannot be explained.

        What had expired when the operation began is empty for it; what expires meanwhile may be.
        """
        began = clock - (self._docket.now() - operation.began)
        bases = {old.names: not _is_over(old, began), (): _is_over(old, clock)} if old.names else {(): True}
        for base, is_possible in bases.items():
            if is_possible and new.names == base:
                return False
            if is_possible and explains(operation, base, new.names, old.holes):
                return True
        return None

    def _applied(self, ledger: Ledger, sender: Sender, old: Stored, new: Stored) -> None:
        operation = sender.operation
        operation.applied += 1
        operation.removed.append(tuple(name for name in old.names if name not in set(new.names)))
        if operation.outcome == "failed":
            self._docket.accuse(f"{operation} ended with {operation.error}: nothing was stored, it says; now it is")
        if operation.kind == "claim":
            if operation.about in self._claimed:
                self._docket.accuse(f"{operation}: run {operation.about} was claimed before")
            self._claimed.add(operation.about)
        if operation.applied == 1:
            operation.applied_at, operation.applied_by = self._docket.now(), sender.call
        elif operation.kind not in LEASES:
            self._applied_again(ledger, sender, old)

    def _applied_again(self, ledger: Ledger, sender: Sender, old: Stored) -> None:
        """Nobody may do a thing twice; what was on its way before, or is sent again by the client itself, may come."""
        operation = sender.operation
        is_repeated = sender.sent <= operation.applied_at or sender.call == operation.applied_by
        if is_repeated and not old.exists:
            operation.applied -= 1
            self._docket.allow(Allowed.CREATED_AGAIN)
            ledger.was_created_again = True
        elif not (ledger.was_created_again and operation.kind in CLEARS | {"settle"}):
            self._docket.accuse(f"{operation} was applied {operation.applied} times")

    def _begins_lease(self, ledger: Ledger, operation: Operation, new: Stored) -> bool:
        if not new.token or new.token in ledger.holders:
            return False
        ledger.holders[new.token], ledger.scopes[new.token] = operation.actor, operation.scope
        operation.tokens.append(new.token)
        if operation.kind not in LEASES:
            self._docket.accuse(f"{operation} began a lease")
        return True

    def _judge_lease(self, ledger: Ledger, operation: Operation, old: Stored, new: Stored, clock: int) -> None:
        if not old.token or old.until <= clock or operation.kind in CLEARS:
            return
        holder = ledger.holders.get(old.token)
        if new.names != old.names and holder is not operation.actor:
            self._docket.accuse(f"{operation} wrote into the turn of {holder}")
        if new.token == old.token:
            if new.until != old.until and holder is not operation.actor:
                self._docket.accuse(f"{operation} changed the lease of {holder}")
        elif ledger.scopes.get(old.token) is not operation.scope:
            self._docket.accuse(f"{operation} ended the lease of {holder}")

    def _judge_owner(self, operation: Operation, old: Stored, new: Stored) -> None:
        owner = operation.actor.owner
        if new.names != old.names and owner is not None and old.owner != owner and (old.owner or old.names):
            self._docket.accuse(f"{operation} of {owner} wrote into the session of {old.owner}")
        if new.exists and new.owner not in {old.owner, owner}:
            self._docket.accuse(f"{operation} of {owner} bound the session to {new.owner}")

    def _judge_ttl(self, operation: Operation, new: Stored, clock: float) -> None:
        if not new.exists:
            return
        ttl, began = operation.actor.ttl, clock - (self._docket.now() - operation.began)
        is_right = new.ttl is None if ttl is None else began - 1 <= (new.ttl or 0) - ttl <= clock + 1
        if not is_right:
            self._docket.accuse(f"{operation} with ttl_seconds={ttl} let the session end at {new.ttl}, now {clock:.0f}")


def _is_over(stored: Stored, clock: float) -> bool:
    return stored.ttl is not None and stored.ttl <= clock
