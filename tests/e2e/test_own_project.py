"""`sam init --location` on this repository: a project of somebody's own, which builds and passes its tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.emulation import sam
from tools.emulation.rie import architecture, python_version
from tools.layers.assemble import ROOT

pytestmark = pytest.mark.timeout(600)


def init(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Make a project as a newcomer does, from what is committed or about to be."""
    variables = sam.environ() | {"HOME": str(folder)}  # where cookiecutter would keep copies and answers
    command = [sam.ENVIRONMENT / "bin" / "sam", "init", "--location", ROOT, "--name", name, "--no-input"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def run(project: Path, *command: str | Path) -> str:
    """What a command prints in a project, without anything of this environment."""
    apart = ("VIRTUAL_ENV", "PYTHONPATH", "PYTEST_", "AWS_", "POWERTOOLS_")
    kept = {name: value for name, value in sam.environ().items() if not name.startswith(apart)}
    done = subprocess.run(command, cwd=project, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_of_ones_own_passes_its_tests_and_builds(tmp_path: Path) -> None:
    """The new project has its name, tests its agent without AWS, and `sam build` makes its function and layer."""
    made = init(tmp_path, "my-agent")
    assert made.returncode == 0, made.stdout + made.stderr
    project = tmp_path / "my-agent"
    assert 'stack_name = "my-agent"' in (project / "samconfig.toml").read_text()
    assert "{{" not in "".join(
        path.read_text() for path in project.glob("*") if path.is_file() and path.suffix == ".md"
    )
    assert not (project / "docs").exists()
    assert "3 passed" in run(project, "make", f"PYTHON={sys.executable}", "test")
    parameters = f"Architecture={architecture()} PythonVersion={python_version()}"
    run(project, sam.ENVIRONMENT / "bin" / "sam", "build", "--parameter-overrides", parameters)
    built = project / ".aws-sam" / "build"
    assert (built / "AgentFunction" / "agent.py").is_file()
    assert (built / "SessionLayer" / "python" / "openai_agents_session").is_dir()
    assert run(project, sam.ENVIRONMENT / "bin" / "sam", "validate", "--lint")


@pytest.mark.parametrize("name", ["1st", "my_agent", "my agent", "$(touch it)"])
def test_a_name_that_no_stack_can_have_makes_no_project(name: str, tmp_path: Path) -> None:
    """It is said before anything is made, and nothing of it is run."""
    made = init(tmp_path, name)
    assert made.returncode != 0
    assert "is no name of a stack" in made.stdout + made.stderr
    assert not [path for path in os.listdir(tmp_path) if not path.startswith(".")]
