"""The versions of other packages that this one says it works with: its own tests, on its wheel, at both ends."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools.layers.assemble import ROOT
from tools.release import distribution, project

ENVIRONMENTS = ROOT / ".work" / "envs"

SUITES = (
    *("tests/integration/test_contract.py", "tests/integration/test_sdk.py", "tests/integration/test_runs.py"),
    *("tests/integration/test_turns.py", "tests/integration/test_cli.py", "tests/unit/test_agent_observe.py"),
)
CHOSEN = (
    "(test_contract and default) or (not test_contract and not killed_anywhere and not imports_nothing_of_the_command)"
)

NOT_AT_BOTH_ENDS = {"aws-durable-execution-sdk-python", "pyjwt", "sse-starlette", "starlette", "uvicorn"}
"""What durable runs and the streaming server need: tested as the layer pins it, and not at the ends of its ranges."""

WITHOUT_THE_HOOK = (
    *("test_replace_end", "test_a_run_compacts_the_history", "test_the_hooks_replace_the_history"),
    *("test_a_bounded_window_compacts", "test_a_history_that_changed_while_the_api_worked"),
    *("test_an_encrypted_session_around_compaction", "test_compaction_reclaims_encrypted_items"),
)
"""What openai-agents does from 0.24 on: it replaces a history in one step, where older ones clear it and add."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    *_, built = distribution.build(folder)
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("end", "without"), [("oldest", WITHOUT_THE_HOOK), ("newest", ())])
def test_the_wheel_works_with_both_ends_of_its_ranges(end: str, without: tuple[str, ...], wheel: Path) -> None:
    """Sessions, runs, turns, the SDK's own use of them and the command pass on the oldest and the newest versions."""
    chosen = " and ".join((f"({CHOSEN})", *(f"not {name}" for name in without)))
    options = ("-q", "-n", "2", "-p", "no:cacheprovider", "--engines", "dynoxide", "-W", "ignore::DeprecationWarning")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [ENVIRONMENTS / end / "bin" / "python", "-m", "pytest", *options, "-k", chosen, *SUITES],
        cwd=ROOT,
        env=variables | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 60, done.stdout


def test_the_ends_that_are_tested_are_those_that_are_promised() -> None:
    """Each lower bound of the package is pinned in the oldest environment, each upper bound is the newest one's."""
    oldest, newest = (requirements(name) for name in ("oldest", "newest"))
    for promised in map(Requirement, project.read().dependencies):
        if promised.name in NOT_AT_BOTH_ENDS:
            continue
        bounds = {each.operator: each.version for each in promised.specifier}
        (pin,) = oldest[promised.name].specifier
        assert (pin.operator, Version(pin.version)) == ("==", Version(bounds[">="])), promised
        (upper,) = newest[promised.name].specifier
        assert (upper.operator, upper.version) == ("<", bounds["<"]), promised


def requirements(name: str) -> dict[str, Requirement]:
    """The direct requirements of an environment, by package."""
    lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    return {each.name: each for each in map(Requirement, (line for line in lines if line and line[0] != "#"))}


@pytest.mark.parametrize("extra", ["agent", "cli", "durable"])
def test_every_extra_can_be_installed_with_the_library(extra: str, wheel: Path) -> None:
    """A resolver finds versions that suit the library and the extra together, on every supported Python."""
    (built,) = wheel.parent.glob("*.whl")
    done = subprocess.run(
        [ROOT / ".work/bootstrap/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "-"],
        input=f"openai-agents-session-layer[{extra}] @ {built.as_uri()}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {line.partition("==")[0].partition(" @")[0] for line in done.stdout.splitlines() if line[:1].isalpha()}
    wanted = {"agent": "aws-lambda-powertools", "cli": "typer", "durable": "aws-durable-execution-sdk-python"}
    assert {wanted[extra], "openai-agents", "aiobotocore"} <= names
