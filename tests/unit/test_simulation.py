"""No weather makes the store lose, double, tear or mix up anything. See `tests.support.simulation`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openai_agents_session import StorageOptions
from tests.support.simulation import Weather, simulate

DEFAULT = StorageOptions(cache=None)

WEATHERS = {
    "calm": (Weather(faults=0), 5),
    "alone in trouble": (Weather(writers=1, faults=0.25), 15),
    "trouble": (Weather(faults=0.15), 8),
    "late requests": (Weather(faults=0.1, late=0.06, clears=False), 8),
    "deaths": (Weather(writers=6, faults=0.05, deaths=0.01, clears=False), 5),
    "deaths and clears": (Weather(writers=6, faults=0.05, deaths=0.01), 5),
    "a crowd": (Weather(writers=32, operations=5, faults=0.02, large=False), 3),
    "replacements": (Weather(replaces=True, clears=False), 8),
    "every ttl": (Weather(late=0.03, clears=False, large=False, ttls=(None, 100, 3_000, 100_000)), 8),
    "default layout": (Weather(faults=0.1, options=DEFAULT), 5),
    "one item": (Weather(faults=0.1, large=False, options=replace(DEFAULT, single_item=True)), 5),
}


@pytest.mark.parametrize("name", WEATHERS)
def test_every_write_makes_one_step_of_one_history(name: str, request: pytest.FixtureRequest) -> None:
    """Each head adds one new batch, removes one item or all, or changes nothing; who reads sees one of these."""
    weather, seeds = WEATHERS[name]
    requests = unsure = 0
    for seed in range(seeds * (50 if request.config.getoption("--exhaustive") else 1)):
        report = simulate(weather, seed)
        assert report.wrong == [], (name, seed)
        if not weather.deaths and not weather.late:
            assert report.left == 0, (name, seed)
        requests += report.requests
        unsure += report.unknown + report.gave_up
    assert requests > 100
    assert unsure <= requests / 100


def test_what_is_wrong_is_seen() -> None:
    """Two writers that believe to be the same one take each other's writes for theirs: the simulation notices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openai_agents_session.storage.receipts.secrets.token_bytes", lambda count: bytes(count))
        assert any(simulate(Weather(faults=0.2), seed).wrong for seed in range(5))
