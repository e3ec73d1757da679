"""Two distributions with one import name, installed for real: what is said, and what becomes of the package."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import agents.extensions.memory
import pytest

import openai_agents_session
from openai_agents_session import _installation

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".work" / "bootstrap" / "bin" / "uv"

REFERENCE = {
    "openai_agents_session/__init__.py": '__version__ = "0.1.0"\n\nclass DynamoDBSession: ...\n',
    "openai_agents_session/dynamodb.py": "",
    "openai_agents_session/redis.py": "",
}
"""The files of the other distribution, as its version 0.1.0 has them."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Our wheel, and one with the other's name and files."""
    folder = tmp_path_factory.mktemp("wheels")
    other = folder / "other"
    for name, content in REFERENCE.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(content)
    (other / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{_installation.OTHER}"\nversion = "0.1.0"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["openai_agents_session"]\n'
    )
    for source in (other, ROOT / "layer"):
        uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, source)
    ours, reference = (next(folder.glob(f"{name}-*.whl")) for name in ("*_layer", "openai_agents_session"))
    return {"ours": ours, "reference": reference}


class Place:
    """A folder that wheels are installed into and removed from, as pip does it."""

    def __init__(self, folder: Path, wheels: dict[str, Path]) -> None:
        uv("venv", "--python", sys.executable, folder)
        self._python = folder / "bin" / "python"
        self._wheels = wheels

    def install(self, name: str) -> None:
        uv("pip", "install", "--no-deps", "--python", self._python, self._wheels[name])

    def uninstall(self, distribution: str) -> None:
        uv("pip", "uninstall", "--python", self._python, distribution)

    def says(self, program: str) -> str:
        """The last line of what a program writes to its standard error."""
        packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
        command, variables = [self._python, "-c", program], os.environ | {"PYTHONPATH": packages}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
        return (ended.stderr.splitlines() or [""])[-1] if ended.returncode else ended.stderr.splitlines()[0]


@pytest.fixture
def place(tmp_path: Path, wheels: dict[str, Path]) -> Place:
    return Place(tmp_path / "place", wheels)


def uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, "--quiet", "--offline", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHECK = "import openai_agents_session._installation as installation; installation.require_whole()"


def test_ours_beside_the_other_warns_that_uninstalling_breaks_it(place: Place) -> None:
    place.install("reference")
    place.install("ours")
    assert "uninstalling either breaks the other" in place.says("import openai_agents_session")


def test_the_other_over_ours_is_an_error_that_says_what_to_do(place: Place) -> None:
    place.install("ours")
    place.install("reference")
    assert "ImportError: openai-agents-session was installed over openai-agents-session-layer" in place.says(CHECK)


def test_ours_after_the_other_was_uninstalled_is_an_error_that_says_what_to_do(place: Place) -> None:
    place.install("reference")
    place.install("ours")
    place.uninstall(_installation.OTHER)
    said = place.says(CHECK)
    assert "openai-agents-session was uninstalled and took files of openai-agents-session-layer" in said
    assert "pip uninstall --yes openai-agents-session openai-agents-session-layer" in said
    place.uninstall(_installation.OURS)
    place.install("ours")
    assert place.says(f"{CHECK}; import sys; sys.stderr.write('whole')") == "whole"


def test_ours_alone_is_whole_and_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _installation.warn_of_other(Path(openai_agents_session.__file__).parent)
    _installation.require_whole()


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "layer" / "pyproject.toml").read_text())["project"]
    assert openai_agents_session.__version__ == _installation.VERSION == project["version"]
    assert project["name"] == _installation.OURS


def test_redis_session_is_said_not_to_be_here_and_where_it_is() -> None:
    with pytest.raises(ImportError, match=r"has no RedisSession\. For Redis there are agents\.extensions\.memory"):
        from openai_agents_session import RedisSession  # noqa: F401 - it is not there
    assert "RedisSession" in agents.extensions.memory.__all__


def test_other_names_are_missing_as_anywhere() -> None:
    assert not hasattr(openai_agents_session, "nonsense")
    with pytest.raises(AttributeError, match="module 'openai_agents_session' has no attribute 'nonsense'"):
        _ = openai_agents_session.nonsense
