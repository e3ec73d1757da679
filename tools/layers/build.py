"""Assemble a layer: locked packages and the library's wheel, trimmed, checked, compiled, and the same at every build.

A built layer is kept in .work/layer and used again while everything that goes into it is unchanged. Nothing here needs
Docker, nor the target's processor; bytecode alone needs an interpreter of the target's version.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools import environment, interpreters
from tools.layers import binaries, trim

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "layer"
CACHE = ROOT / ".work" / "layer"

VARIANTS = {"full": "requirements.txt", "lean": "requirements-lean.txt"}
ARCHITECTURES = {"x86_64": "x86_64-manylinux2014", "arm64": "aarch64-manylinux2014"}
PYTHONS = interpreters.SUPPORTED

# The first second that a zip archive can express.
EPOCH = 315532800
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The layer cannot be built, or would not work."""


@dataclass(frozen=True)
class Target:
    """What is built, and for what.

    Attributes:
        variant: ``"full"``, or ``"lean"``: without openai-agents and Powertools.
        arch: ``"x86_64"`` or ``"arm64"``.
        python: The runtime's minor version, such as ``"3.13"``.
    """

    variant: str = "full"
    arch: str = "x86_64"
    python: str = "3.13"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for value, known in ((self.variant, VARIANTS), (self.arch, ARCHITECTURES), (self.python, PYTHONS)):
            if value not in known:
                raise BuildError(f"{value!r} is not one of {', '.join(known)}")

    @property
    def name(self) -> str:
        """The folder's name in the cache."""
        return f"{'' if self.variant == 'full' else self.variant + '-'}{self.arch}-{self.python}"


def build(target: Target) -> Path:
    """Make a layer, unless it is there as it would be made.

    Args:
        target: What to build.

    Returns:
        A folder with the layer's ``python/`` and ``layer.zip``. Do not write to it.

    Raises:
        BuildError: A package has no wheel for the target, or a binary would not load there.
    """
    with _alone():
        kept = CACHE / ".kept" / f"{target.name}-{input_hash(target)[:16]}"
        if not kept.exists():
            environment.bootstrap()
            kept.parent.mkdir(exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=CACHE))
            try:
                assemble(target, fresh)
                fresh.chmod(0o755)
                fresh.rename(kept)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        _point(CACHE / target.name, kept)
        _prune(target)
    return CACHE / target.name


def _point(name: Path, kept: Path) -> None:
    """Exchange a symbolic link in one step, so that who reads a layer never sees half of one."""
    link = name.with_name(f".{name.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(kept.relative_to(CACHE), target_is_directory=True)
    os.utime(kept)
    link.replace(name)


def _prune(target: Target) -> None:
    """Delete a target's older builds, but for the last: a running program may still import from it."""
    builds = sorted((CACHE / ".kept").glob(f"{target.name}-*"), key=lambda path: path.stat().st_mtime)
    for outdated in builds[:-2]:
        shutil.rmtree(outdated)


def assemble(target: Target, folder: Path) -> None:
    """Make a layer in a folder, from nothing.

    Args:
        target: What to build.
        folder: Where ``python/`` and ``layer.zip`` go.

    Raises:
        BuildError: As `build`.
    """
    tree = folder / "python"
    install(target, tree)
    trim.trim(tree)
    if wrong := list(binaries.problems(tree, target.arch, target.python)):
        raise BuildError("\n".join(wrong))
    strip_binaries(tree)
    compile_bytecode(tree, target.python, "/opt/python", hot_modules())
    normalise(folder)
    write_zip(tree, folder / "layer.zip")


def install(target: Target, tree: Path) -> None:
    """Install the locked packages and the library itself, untrimmed.

    Args:
        target: What to build.
        tree: Where they go.
    """
    options = ("--quiet", "--no-deps", "--target", str(tree), "--link-mode", "copy", "--python", sys.executable)
    platform = ("--python-platform", ARCHITECTURES[target.arch], "--python-version", target.python)
    lock = SOURCE / VARIANTS[target.variant]
    _uv("pip", "install", *options, *platform, "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock))
    with tempfile.TemporaryDirectory() as temporary:
        _uv("pip", "install", *options, *platform, str(wheel(Path(temporary))))


def wheel(folder: Path) -> Path:
    """Build the library's wheel, with a locked build tool, into a folder."""
    constraints = ("--build-constraints", str(SOURCE / "requirements-build.txt"), "--require-hashes")
    _uv("build", "--quiet", "--wheel", *constraints, "--python", sys.executable, "--out-dir", str(folder), str(SOURCE))
    return next(folder.glob("*.whl"))


def strip_binaries(tree: Path) -> None:
    """Take the debuggers' symbols out of compiled modules: a third of their size."""
    for path in tree.rglob("*.so*"):
        path.write_bytes(binaries.strip(path.read_bytes()))


def hot_modules() -> list[str]:
    """The modules that functions import, as paths in the layer; the library's own, all of them, among them.

    Bytecode of the other 2,500 would be a fifth of the archive and never be loaded.
    """
    recorded = (SOURCE / "bytecode.txt").read_text().splitlines()
    own = (path.relative_to(SOURCE).as_posix() for path in (SOURCE / "openai_agents_session").rglob("*.py"))
    return sorted({*recorded, *own})


def compile_bytecode(tree: Path, python: str, seen_as: str, modules: list[str]) -> bool:
    """Compile modules for the runtime's interpreter; /opt is read-only, so it could not be done there once for all.

    Args:
        tree: The folder that they are in.
        python: The runtime's minor version.
        seen_as: Where the folder will be at run time, which tracebacks show.
        modules: Their paths in the folder; those that are not there are left out.

    Returns:
        Whether an interpreter of that version was found.
    """
    interpreter = interpreters.find(python)
    if interpreter is None:
        _warn(f"no Python {python} on this machine: the layer works, but carries NO BYTECODE, and every cold start")
        _warn(f"compiles its modules again (about twice the import time). Put python{python} on PATH and build again.")
        return False
    # Checked by nobody, because the files cannot change; and independent of the times that an archive gives them.
    mode = ("--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", seen_as)
    # The order of a set of constants must not depend on the process's random hash seed.
    variables = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    command = [str(interpreter), "-s", "-m", "compileall", "-q", "-f", "-j", "0", *mode, "-i", "-"]
    paths = "\n".join(str(tree / module) for module in modules if (tree / module).exists())
    subprocess.run(command, check=True, env=variables, text=True, input=paths)
    return True


def build_function(source: Path, folder: Path, python: str) -> None:
    """Make a function's artifact: its modules, compiled.

    Args:
        source: The folder with the modules.
        folder: Where they go.
        python: The runtime's minor version.
    """
    modules = sorted(path.name for path in source.glob("*.py"))
    for name in modules:
        shutil.copyfile(source / name, folder / name)
    compile_bytecode(folder, python, "/var/task", modules)
    normalise(folder)


def normalise(folder: Path) -> None:
    """Give every file and folder the same time and plain permissions."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def write_zip(tree: Path, archive: Path) -> None:
    """Pack ``python/`` so that the same files always give the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(tree.parent).as_posix(), _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100644) << 16
            packed.writestr(entry, path.read_bytes())


def input_hash(target: Target) -> str:
    """What the build depends on, as one hash: its sources, its tools, and the interpreter that compiles."""
    tools = [*Path(__file__).parent.glob("*.py"), ROOT / "requirements" / "bootstrap.txt"]
    library = [path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256(repr(target).encode())
    digest.update(str(_version(interpreters.find(target.python))).encode())
    for path in sorted([*tools, *library]):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def size_of(tree: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


def report(folder: Path) -> str:
    """A built layer's sizes, in a line."""
    megabytes = [size / 1e6 for size in (size_of(folder / "python"), (folder / "layer.zip").stat().st_size)]
    return f"{folder.relative_to(ROOT)}: {megabytes[0]:.1f} MB unzipped, zip {megabytes[1]:.1f} MB"


def _version(interpreter: Path | None) -> str | None:
    if interpreter is None:
        return None
    command = [str(interpreter), "-I", "-c", "import sys, json; print(json.dumps(sys.version))"]
    version: str = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return version


def _uv(*arguments: str) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    variables["SOURCE_DATE_EPOCH"] = str(EPOCH)
    try:
        subprocess.run([str(environment.UV), *arguments], check=True, env=variables, cwd=ROOT)
    except subprocess.CalledProcessError as error:
        raise BuildError(f"uv {' '.join(arguments[:2])} failed with exit code {error.returncode}") from error


@contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would each do the other's work."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _warn(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr, flush=True)
