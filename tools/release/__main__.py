"""The dry run of a release: each step that needs no account (`make release-check`).

The steps that need one, uploads to PyPI, to AWS and to GitHub, are in .github/workflows/release.yml.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.emulation import sam
from tools.layers import build
from tools.layers.assemble import ARCHITECTURES, PYTHONS, ROOT, VARIANTS, BuildError, Target
from tools.release import distribution, project, repository, workflows
from tools.release.distribution import ReleaseError

PYTHON = distribution.PROGRAMS / "python"


def main() -> int:
    """Make every step, and say how each went; the exit code says whether all went well."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Callable[[], str]] = {
            "version and addresses": lambda: _facts(arguments.tag),
            "workflows": lambda: f"{workflows.check()} workflows",
            "wheel and sdist": lambda: _distributions(Path(folder) / "package"),
            "site": lambda: _site(),
            "application": lambda: _application(Path(folder)),
            **{f"layer {target.name}": _layer_step(target, Path(arguments.out)) for target in _targets(arguments)},
        }
        failed = [name for name, step in steps.items() if not _went_well(name, step)]
    print(f"\n{len(steps) - len(failed)} of {len(steps)} steps passed")
    return 1 if failed else 0


def inventory(target: Target, out: Path) -> str:
    """Write a built layer's inventory: its CycloneDX document and the licences of what is in it.

    Raises:
        ReleaseError: A licence is not among those allowed, or the document is not valid.
    """
    folder = out / target.name
    layer = build.CACHE / target.name / "python"
    command: list[str | Path] = [PYTHON, "-m", "tools.release.inventory", layer, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(done.stderr.strip())
    return done.stdout.strip()


def _facts(tag: str | None) -> str:
    if found := project.problems(tag):
        raise ReleaseError("\n".join(found))
    unknown = " (where the project lives is not known yet)" if project.is_placeholder(project.read().urls) else ""
    return f"{project.read().version}{unknown}"


def _distributions(folder: Path) -> str:
    return ", ".join(path.name for path in distribution.check(folder))


def _site() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tools.site", "--build"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReleaseError(done.stdout + done.stderr)
    return done.stdout.strip().splitlines()[-1]


def _application(folder: Path) -> str:
    """The repository application: the template with its metadata, linted as SAM takes it."""
    try:
        sam.sam("validate", "--lint")
    except AssertionError as error:
        raise ReleaseError(str(error)) from error
    if found := repository.problems(sam.TEMPLATE):
        raise ReleaseError("\n".join(found))
    return "metadata complete; uploading it is tested on an emulator: tests/e2e/test_release.py"


def _layer_step(target: Target, out: Path) -> Callable[[], str]:
    def step() -> str:
        return f"{build.report(target)}, {inventory(target, out)}"

    return step


def _targets(arguments: argparse.Namespace) -> list[Target]:
    pythons = PYTHONS if arguments.all else (arguments.python,)
    return [Target(variant, arch, python) for python in pythons for variant in VARIANTS for arch in ARCHITECTURES]


def _went_well(name: str, step: Callable[[], str]) -> bool:
    began = time.monotonic()
    try:
        said, good = step(), True
    except (ReleaseError, BuildError) as error:
        said, good = str(error), False
    print(f"{'ok    ' if good else 'FAILED'}  {name} ({time.monotonic() - began:.0f} s): {said}", flush=True)
    return good


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check a release, without an account.")
    parser.add_argument("--tag", default=os.environ.get("RELEASE_TAG"), help="the tag that is released, such as v1.2.0")
    parser.add_argument("--all", action="store_true", help="layers for every Python, not for one")
    parser.add_argument("--python", default="3.13", choices=PYTHONS, help="of the layers (default: %(default)s)")
    parser.add_argument("--out", default=".work/release", help="where inventories go (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
