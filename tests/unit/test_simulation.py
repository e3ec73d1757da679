"""No weather makes the store lose, double, tear or mix up anything: a sample of `tests.simulation`'s runs.

`make simulate` makes as many as you like. A failing seed prints the command that repeats it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, applied
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import Report, simulate
from tools.emulation.engines import ROOT

SEEDS = 12
EXHAUSTIVE_SEEDS = 400


def _story(report: Report) -> str:
    wrong = "\n".join(report.wrong[:5])
    repeat = f"make simulate ARGS=\"--scenario '{report.scenario}' --seed {report.seed} --seeds 1\""
    return f"\n{report.trace}\n{wrong}\nrepeat it: {repeat}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_write_and_every_answer_can_be_explained(name: str, request: pytest.FixtureRequest) -> None:
    """Each write does what its operation may do, each operation ends in time with an answer that is true."""
    seeds = EXHAUSTIVE_SEEDS if request.config.getoption("--exhaustive") else SEEDS
    total = Report(name, 0)
    for seed in range(seeds):
        report = simulate(name, seed)
        assert not report.wrong, _story(report)
        total.add(report)
    request.node.user_properties.append(("sample", f"{seeds} seeds, {total.requests:,} requests"))
    assert total.operations > 10 * seeds
    if SCENARIOS[name].role or not total.faults:
        assert not total.unknown


def test_the_same_seed_gives_the_same_run() -> None:
    """Every event of a run follows from its scenario and its seed, in this process and in any other."""
    digest = simulate("everything", 3).digest
    assert simulate("everything", 3).digest == digest
    assert simulate("everything", 4).digest != digest
    code = "from tests.simulation.world import simulate; print(simulate('everything', 3).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layer'}"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert int(other.stdout) == digest


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_store_is_noticed(mutant: Mutant) -> None:
    """Whatever is broken on purpose, some run within the stated number of seeds says that something is wrong."""
    with applied(mutant):
        assert any(simulate(mutant.scenario, seed).wrong for seed in range(mutant.seeds))
