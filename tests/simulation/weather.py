"""What may go wrong in a run, and how often."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

FATES = (
    "request lost",
    "answer lost",
    "late",
    "throttled",
    "failed before",
    "failed after",
    "duplicated",
    "unreachable",
)
"""What may happen to one request, by name:

- *request lost*, *answer lost*: the connection breaks, or the sender waits until its time-out;
- *late*: the sender gives up, the request is carried out up to half a minute later;
- *throttled*, *failed before*: refused, nothing was done; *failed after*: a 500 for what was done;
- *duplicated*: carried out, and once more a little later;
- *unreachable*: no connection.
"""

SPELLS = ("throttled", "denied", "expired", "missing", "unreachable")
"""What may hold for all requests for a while: throttling, no rights, expired credentials, no table, no way."""


@dataclass(frozen=True)
class Weather:
    """What goes wrong.

    Attributes:
        fates: Share of the requests that meet each of ``FATES``.
        spells: Which of ``SPELLS`` come over all processes now and then.
        killed: Share of the requests at which their process is killed.
        cancelled: Share of the operations that are cancelled, some of them twice.
        skew_seconds: How far clocks of processes are from the servers', at most.
        deletion: When DynamoDB deletes what is expired: ``prompt``, ``some time`` or ``never``.
        attempts: How often a client sends a request by itself, at most; drawn for each process.
        timeout_seconds: How long a client waits for an answer.
        stale: Share of items in eventually consistent reads that are seen as they were.
    """

    fates: Mapping[str, float] = field(default_factory=dict)
    spells: tuple[str, ...] = ()
    killed: float = 0.0
    cancelled: float = 0.0
    skew_seconds: float = 0.0
    deletion: str = "some time"
    attempts: tuple[int, ...] = (1, 3)
    timeout_seconds: float = 0.5
    stale: float = 0.1

    @property
    def is_calm(self) -> bool:
        """Whether every request is carried out once, and answered."""
        return not (self.fates or self.spells or self.killed or self.cancelled)


def changeable(noise: random.Random, kinds: tuple[str, ...] = FATES, most: float = 0.2) -> dict[str, float]:
    """Some of the faults, each with a share of its own: runs that lack a kind find what it would have hidden."""
    chosen = [kind for kind in kinds if noise.random() < 0.5] or [noise.choice(kinds)]
    return {kind: noise.choice((0.01, 0.04, most)) / len(chosen) ** 0.5 for kind in chosen}
