"""The wheel and the source distribution: built twice, and checked before anybody gets them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tools.layers.assemble import PACKAGE, ROOT, SOURCE

PROGRAMS = ROOT / ".work" / "envs" / "release" / "bin"


class ReleaseError(Exception):
    """Something is not fit to be published; the message says what."""


def build(folder: Path) -> list[Path]:
    """Make both distributions with the locked build backend.

    Args:
        folder: Where they go.

    Returns:
        The source distribution and the wheel.
    """
    run("hatchling", "build", "-d", str(folder), cwd=SOURCE)
    return [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]


def check(folder: Path) -> list[Path]:
    """Build both distributions, and look at them as an index and an installer would.

    Args:
        folder: Where they go, in a folder of their own, with those that they are compared with.

    Returns:
        What may be published.

    Raises:
        ReleaseError: One is not as it should be.
    """
    built = build(folder / "dist")
    run("twine", "check", "--strict", *map(str, built))
    run("check-wheel-contents", *(str(path) for path in built if path.suffix == ".whl"))
    for path, again in zip(built, build(folder / "again"), strict=True):
        if path.read_bytes() != again.read_bytes():
            raise ReleaseError(f"two builds of {path.name} differ")
    for path in built:
        if missing := sources() - contents(path):
            raise ReleaseError(f"{path.name} lacks {', '.join(sorted(missing))}")
    return built


def sources() -> set[str]:
    """The package's files, as they are called in a wheel."""
    package = SOURCE / PACKAGE
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(SOURCE).as_posix() for path in files}


def contents(distribution: Path) -> set[str]:
    """The files in a wheel or a source distribution, without the folder that the latter puts around them."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return set(wheel.namelist())
    with tarfile.open(distribution) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def run(program: str, *arguments: str, cwd: Path = ROOT) -> str:
    """Run a program of the release's environment.

    Returns:
        What it printed.

    Raises:
        ReleaseError: It failed; the message is what it said.
    """
    path = PROGRAMS / program
    if not path.exists():
        raise ReleaseError(f"{path.relative_to(ROOT)} is missing: make .work/envs/release/.ready")
    done = subprocess.run([path, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise ReleaseError(f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


if __name__ == "__main__":
    print(*build(Path(sys.argv[1])), sep="\n")
