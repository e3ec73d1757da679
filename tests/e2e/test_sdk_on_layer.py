"""openai-agents' own tests on the built layer, beside the same tests on the stock packages.

The tests are fetched when they run, in the version that the layer is locked to, and never kept with the project.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.test_layer import machine
from tools import environment, interpreters
from tools.layers import assemble, build
from tools.layers.assemble import ROOT, SOURCE, Target

pytestmark = pytest.mark.timeout(1200)

PYTHON = "3.13"
TOOLS = ROOT / ".work" / "envs" / "sdk-tests"
SUITES = ("tests/mcp", "tests/test_mcp_tool_metadata.py", "tests/test_run_state.py", "tests/test_run_state_aliases.py")

Outcomes = dict[str, str]
"""By test: "passed", "failed", "error" or "skipped"."""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK's source distribution, which has its tests, checked against the layer's lock and unpacked."""
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "requirements.txt").write_text(locked("openai-agents"))
    environment.bootstrap()
    options = (
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-binary",
        "openai-agents",
        "--require-hashes",
    )
    pip = (ROOT / ".work" / "bootstrap" / "bin" / "python", "-m", "pip", "download")
    command = (*pip, *options, "--dest", folder, "--requirement", folder / "requirements.txt")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"openai-agents' own tests cannot be fetched here: {done.stderr.strip().splitlines()[-1]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def locked(package: str) -> str:
    """A package's requirement as the layer is locked to, with its hashes."""
    requirements = (SOURCE / "requirements.txt").read_text().replace("\\\n", "").splitlines()
    return next(line for line in requirements if line.startswith(f"{package}=="))


def run_suites(sdk: Path, packages: Path, folder: Path) -> Outcomes:
    """What becomes of each of the SDK's tests, on a folder of packages.

    They are in the interpreter's own path, not in PYTHONPATH: servers that the tests start get no such variable.
    """
    interpreter = interpreters.find(PYTHON)
    assert interpreter
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (tools,) = (TOOLS / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n{tools}\n")
    report = folder / "report.xml"
    # Many workers: fifteen of the tests do nothing but wait, for 10 s each.
    spread = ("-n", "4", "--dist", "worksteal")
    pytest_command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *spread, f"--junitxml={report}")
    command = (folder / "venv" / "bin" / "python", *pytest_command, *SUITES)
    done = subprocess.run(command, cwd=sdk, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - written by the pytest that was just run
    return dict(map(outcome, cases))


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    """A test's name and what became of it, from its element in a JUnit report."""
    what = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
    return f"{case.get('classname')}::{case.get('name')}", what


def test_the_sdks_own_tests_end_on_the_layer_as_they_do_on_the_stock_packages(sdk: Path, tmp_path: Path) -> None:
    if interpreters.find(PYTHON) is None or not (TOOLS / ".ready").exists():
        pytest.skip(f"needs Python {PYTHON} and `make .work/envs/sdk-tests/.ready`")
    target = Target(arch=machine(), python=PYTHON)
    assemble.install(target, tmp_path / "packages")
    stock, layer = (tmp_path / name for name in ("stock", "layer"))
    stock.mkdir()
    # A copy: what is imported is compiled beside it, which spares the servers that tests start most of their time.
    shutil.copytree(build.build(target).resolve() / "python", layer / "packages")
    with ThreadPoolExecutor() as pool:
        trees = (tmp_path / "packages", stock), (layer / "packages", layer)
        on_stock, on_layer = pool.map(lambda tree: run_suites(sdk, *tree), trees)
    different = {name: (was, on_layer.get(name)) for name, was in on_stock.items() if on_layer.get(name) != was}
    assert different == {}
    assert Counter(on_layer.values())["passed"] > 1_000
