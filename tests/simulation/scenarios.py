"""Who does what in which weather. A scenario says what may be; a seed draws what is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from openai_agents_session import StorageOptions

from .weather import Weather, changeable

TINY = StorageOptions(item_bytes=400, head_bytes=400, part_bytes=5_000, fan_out=3, cache=None)
"""Everything happens early: sealing, merging, several parts a batch."""

DEFAULT = StorageOptions(cache=None)

LAYOUTS = {
    "tiny": TINY,
    "default": DEFAULT,
    "single": replace(DEFAULT, single_item=True),
    "plain": replace(TINY, compress=False, fan_out=2),
    "narrow": replace(TINY, item_bytes=128, head_bytes=128, part_bytes=4_096),
}

CHAT = {"append": 10.0, "pop": 4.0, "read": 5.0}
CALM: Weather = Weather()


@dataclass(frozen=True)
class Scenario:
    """What may be.

    Attributes:
        name: Its name.
        weather: Draws the weather of a run.
        cast: Kinds of operations and their weights.
        processes: How many processes, at most.
        tasks: How many tasks each has, at most.
        operations: How many operations a task makes.
        pauses: How long a task waits between them, in seconds.
        ttls: ``ttl_seconds`` of session objects.
        owners: Owners of session objects.
        layouts: Of ``LAYOUTS``.
        patience: ``patience_seconds`` of session objects.
        shared: Share of the processes whose tasks use one session object.
        fresh: Share of the operations that are made with a new session object.
        large: Share of the batches that need several parts.
        cached: Share of the processes that keep a cache.
        vandal: Seconds between two damages done to a part, or 0 for none.
        heads: Whether the head is damaged, too.
        role: Requests that some processes may not make.
    """

    name: str
    weather: Callable[[random.Random], Weather] = lambda _: CALM
    cast: Mapping[str, float] = field(default_factory=lambda: CHAT)
    processes: int = 4
    tasks: int = 2
    operations: int = 14
    pauses: tuple[float, ...] = (0, 0.01, 0.1)
    ttls: tuple[int | None, ...] = (None,)
    owners: tuple[str | None, ...] = (None,)
    layouts: tuple[str, ...] = ("tiny",)
    patience: tuple[float, ...] = (20,)
    shared: float = 0.3
    fresh: float = 0.3
    large: float = 0.1
    cached: float = 0.5
    vandal: float = 0.0
    heads: bool = False
    role: frozenset[str] = frozenset()


def _stormy(noise: random.Random) -> Weather:
    return Weather(fates=changeable(noise))


def _prompt(noise: random.Random) -> Weather:
    return Weather(
        fates=changeable(noise) if noise.random() < 0.5 else {},
        deletion=noise.choice(("prompt", "some time", "never")),
    )


def _deadly(noise: random.Random) -> Weather:
    return Weather(fates=changeable(noise) if noise.random() < 0.5 else {}, killed=noise.choice((0.003, 0.01, 0.03)))


def _cancelling(noise: random.Random) -> Weather:
    return Weather(fates=changeable(noise) if noise.random() < 0.7 else {}, cancelled=noise.choice((0.1, 0.4)))


def _everything(noise: random.Random) -> Weather:
    return Weather(
        fates=changeable(noise) if noise.random() < 0.8 else {},
        spells=noise.choice(((), ("throttled",), ("denied", "expired", "missing"), ("unreachable", "throttled"))),
        killed=noise.choice((0, 0, 0.005)),
        cancelled=noise.choice((0, 0, 0.1)),
        deletion=noise.choice(("prompt", "some time", "never")),
    )


LEASED = {**CHAT, "lease": 6.0}
RUNS = {"park": 5.0, "look": 3.0, "claim": 6.0, "settle": 5.0, "discard": 0.5}
EXPIRING = (None, 5, 40)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("calm", cast={**CHAT, "clear": 1, "replace": 1, "compact": 1, "lease": 1}),
        Scenario("storm", _stormy),
        Scenario(
            "alone", lambda noise: Weather(fates=changeable(noise, most=0.4)), processes=1, tasks=1, operations=30
        ),
        Scenario("clears", _stormy, cast={**CHAT, "clear": 5.0, "replace": 1.0}, tasks=1, operations=20),
        Scenario(
            "short lives",
            lambda noise: Weather(fates={"answer lost": 0.15, "request lost": noise.choice((0, 0.1))}),
            cast={"append": 5.0, "clear": 4.0, "pop": 1.0, "lease": 0.5},
            tasks=1,
            operations=20,
            pauses=(0, 0.01),
        ),
        Scenario("late", lambda noise: Weather(fates=changeable(noise, ("late", "duplicated", "answer lost")))),
        Scenario("killed", _deadly, cast={**CHAT, "clear": 0.5, "lease": 1.0}),
        Scenario("cancelled", _cancelling, cast={**CHAT, "clear": 0.5, "lease": 3.0}, shared=0.5),
        Scenario(
            "crowd", lambda noise: Weather(fates=changeable(noise, most=0.03)), processes=20, operations=3, tasks=1
        ),
        Scenario(
            "forgetful",
            lambda noise: Weather(fates={"answer lost": 0.05, "request lost": 0.05}, timeout_seconds=2),
            cast={"append": 3.0, "pop": 1.0},
            processes=6,
            tasks=1,
            operations=20,
            pauses=(0, 0.01),
            fresh=0.9,
        ),
        Scenario("compaction", _stormy, cast={**CHAT, "compact": 6.0, "replace": 1.0, "clear": 1.0}, tasks=1),
        Scenario("leases", _stormy, cast={**LEASED, "clear": 0.4}, pauses=(0, 0.1, 1)),
        Scenario("shared", _stormy, cast={**LEASED, "clear": 0.4}, shared=1.0, processes=2, tasks=4, operations=8),
        Scenario(
            "turns", _everything, cast={"turn": 5.0, "append": 2.0, "read": 2.0}, pauses=(0, 0.1, 1), patience=(2, 20)
        ),
        Scenario("runs", _stormy, cast=RUNS, tasks=1),
        Scenario("runs everywhere", _everything, cast=RUNS, ttls=(None, 40), tasks=1, owners=(None, "ada")),
        Scenario("recovery", _stormy, cast={**LEASED, "recover": 2.0}, vandal=1.0, ttls=(None, 40)),
        Scenario("damaged heads", cast={**CHAT, "clear": 0.5, "recover": 2.0}, vandal=0.5, heads=True),
        Scenario("expiry", _prompt, cast={**CHAT, "lease": 1.0}, ttls=EXPIRING, pauses=(0, 0.1, 3, 20), shared=0.1),
        Scenario(
            "owners", _prompt, cast={**CHAT, "clear": 1.0}, ttls=(None, 5), owners=("ada", "bob", None), pauses=(0.1, 3)
        ),
        Scenario(
            "skew",
            lambda noise: replace(_prompt(noise), skew_seconds=noise.choice((0.5, 3, 90))),
            cast=LEASED,
            ttls=EXPIRING,
            pauses=(0, 0.1, 3, 20),
        ),
        Scenario(
            "reference", _stormy, cast={**CHAT, "clear": 0.5, "reference": 4.0}, tasks=1, layouts=("tiny", "default")
        ),
        Scenario(
            "mixed",
            _stormy,
            cast={**CHAT, "clear": 0.5, "compact": 1.0},
            layouts=tuple(LAYOUTS),
            ttls=(None, 40, 3_000),
        ),
        Scenario(
            "default", _stormy, cast={**CHAT, "clear": 0.5, "lease": 1.0}, layouts=("default", "single"), large=0.3
        ),
        Scenario(
            "spells",
            lambda noise: Weather(
                fates=changeable(noise) if noise.random() < 0.6 else {},
                spells=noise.choice((("throttled",), ("denied", "expired", "missing"), ("unreachable",))),
            ),
            cast={**CHAT, "clear": 0.5, "lease": 1.0},
            patience=(0.5, 2, 20),
            pauses=(0, 0.3),
        ),
        Scenario(
            "slow",
            lambda noise: Weather(
                fates=changeable(noise, ("request lost", "late", "unreachable", "answer lost")),
                timeout_seconds=60,
                attempts=(1, 3, 5),
            ),
            cast={**CHAT, "clear": 0.5, "lease": 1.0, "turn": 1.0},
            patience=(0.5, 2, 20),
        ),
        Scenario("role", _stormy, role=frozenset({"UpdateItem"}), ttls=(None, 40), pauses=(0, 0.1, 3)),
        Scenario(
            "everything",
            _everything,
            cast={**LEASED, "clear": 0.4, "compact": 0.7, "replace": 0.4, "turn": 1.0, "recover": 0.2, "describe": 0.3},
            layouts=("tiny", "tiny", "default"),
            ttls=(None, 5, 40),
            owners=(None, None, "ada"),
            pauses=(0, 0.1, 2),
            patience=(2, 20),
        ),
    )
}
