"""Built layers are kept in .work/layer, and made again only when something that goes into them has changed.

The packages and the library are kept apart, since one of them changes every few weeks and the other every few minutes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.layers import assemble, page
from tools.layers.assemble import ROOT, SOURCE, Target

CACHE = ROOT / ".work" / "layer"
_KEPT = CACHE / ".kept"
_UNFINISHED = "unfinished-"
_BUILDS_TO_KEEP = 3  # a running program may still import from an older one


def build(target: Target) -> Path:
    """Make a layer, unless it is there as it would be made.

    Args:
        target: What to build.

    Returns:
        A folder with the layer's ``python`` folder. Do not write to it.

    Raises:
        assemble.BuildError: A package has no wheel for the target, a binary would not load there, or no interpreter of
            the target's version is to be had.
    """
    with alone():
        of_packages = _hash(target, _package_sources(target))
        of_all = _hash(target, [*_package_sources(target), *_library_sources()])
        packages = _keep(f"packages-{target.name}", of_packages, lambda tree: assemble.add_packages(target, tree))

        def add_library(tree: Path) -> None:
            shutil.copytree(packages / "python", tree, copy_function=os.link)  # nobody writes to either
            assemble.add_library(target, tree)

        built = _keep(target.name, of_all, add_library)
        _point(CACHE / target.name, built)
    return CACHE / target.name


def archive(target: Target) -> Path:
    """Make a layer's zip file, as ``aws lambda publish-layer-version`` takes it. Raises as `build`."""
    folder = build(target).resolve()
    packed = folder / "layer.zip"
    with alone():
        if not packed.exists():
            assemble.write_zip(folder / "python", packed.with_suffix(".new"))
            packed.with_suffix(".new").replace(packed)
    return CACHE / target.name / packed.name


def report(target: Target) -> str:
    """Where a layer is and how large, in a line."""
    sizes = [size / 1e6 for size in (size_of(build(target) / "python"), archive(target).stat().st_size)]
    return f"{(CACHE / target.name).relative_to(ROOT)}: {sizes[0]:.1f} MB unzipped, zip {sizes[1]:.1f} MB"


def size_of(tree: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


def _package_sources(target: Target) -> list[Path]:
    tools = [*Path(__file__).parent.glob("*.py"), ROOT / "requirements" / "bootstrap.txt"]
    return [*tools, SOURCE / assemble.VARIANTS[target.variant], SOURCE / "bytecode.txt", SOURCE / "deferred.toml"]


def _library_sources() -> list[Path]:
    modules = [path for path in (SOURCE / assemble.PACKAGE).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return [*modules, *page.SOURCES, SOURCE / "pyproject.toml", SOURCE / "README.md", SOURCE / "requirements-build.txt"]


def _hash(target: Target, sources: Iterable[Path]) -> str:
    """What a build depends on, as one hash: its sources and tools, and the interpreter that compiles."""
    digest = hashlib.sha256(f"{target} {_version(assemble.interpreter_of(target.python))}".encode())
    for path in sorted(sources):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _version(interpreter: Path) -> str:
    return subprocess.run([interpreter, "-VV"], check=True, capture_output=True, text=True).stdout


def _keep(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of a build, made in full or not at all; older builds of that name are deleted."""
    kept = _KEPT / f"{name}-{key}"
    if not kept.exists():
        for torn_off in _KEPT.glob(f"{_UNFINISHED}*"):  # a build that was killed: one at a time is made
            shutil.rmtree(torn_off)
        fresh = Path(tempfile.mkdtemp(dir=_KEPT, prefix=_UNFINISHED))
        try:
            make(fresh / "python")
            fresh.chmod(0o755)
            fresh.rename(kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    os.utime(kept)
    builds = sorted(_KEPT.glob(f"{name}-{'?' * len(key)}"), key=lambda path: path.stat().st_mtime)
    for outdated in builds[:-_BUILDS_TO_KEEP]:
        shutil.rmtree(outdated)
    return kept


def _point(name: Path, kept: Path) -> None:
    """Exchange a symbolic link in one step, so that who reads a layer never sees half of one."""
    link = name.with_name(f".{name.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(kept.relative_to(CACHE), target_is_directory=True)
    link.replace(name)


@contextmanager
def alone() -> Iterator[None]:
    """Two builds at once would each do the other's work."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
