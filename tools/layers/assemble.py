"""Put a layer together: locked packages, trimmed, checked and compiled, then the library itself.

Nothing here needs Docker, nor the target's processor; bytecode alone needs an interpreter of the target's version. The
same sources give the same files, byte for byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import environment, interpreters
from tools.layers import binaries, deferrals, page, trim

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "layer"
PACKAGE = "openai_agents_session"

VARIANTS = {"full": "requirements.txt", "lean": "requirements-lean.txt"}
ARCHITECTURES = {"x86_64": "x86_64-manylinux2014", "arm64": "aarch64-manylinux2014"}
PYTHONS = interpreters.SUPPORTED

# The first second that a zip archive can express.
EPOCH = 315532800
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3


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
        """The target in a folder's name."""
        return f"{'' if self.variant == 'full' else self.variant + '-'}{self.arch}-{self.python}"


def assemble(target: Target, tree: Path) -> None:
    """Make a whole layer, from nothing.

    Args:
        target: What to build.
        tree: The layer's ``python`` folder.

    Raises:
        BuildError: A package has no wheel for the target, or a binary would not load there.
    """
    add_packages(target, tree)
    add_library(target, tree)


def add_packages(target: Target, tree: Path) -> None:
    """Make the part of a layer that is not ours. Raises as `assemble`."""
    install(target, tree)
    trim.trim(tree)
    if wrong := list(binaries.problems(tree, target.arch, target.python)):
        raise BuildError("\n".join(wrong))
    for path in tree.rglob("*.so*"):
        path.write_bytes(binaries.strip(path.read_bytes()))
    for sentence in deferrals.apply(deferrals.read(SOURCE / "deferred.toml"), tree):
        _warn(sentence)
    compile_bytecode(tree, target.python, "/opt/python", hot_modules())
    normalise(tree)


def add_library(target: Target, tree: Path) -> None:
    """Put the library beside its packages, all of it compiled."""
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "python"
        with zipfile.ZipFile(wheel(Path(folder))) as packed:
            packed.extractall(own)
        trim.trim(own)
        if target.variant == "full":  # the lean layer cannot serve it
            add_page_libraries(own)
        modules = (path.relative_to(own).as_posix() for path in own.rglob("*.py"))
        compile_bytecode(own, target.python, "/opt/python", modules)
        normalise(own)
        shutil.copytree(own, tree, dirs_exist_ok=True)


def add_page_libraries(tree: Path) -> None:
    """Put what the chat page needs beside it. Raises ``BuildError`` where it cannot be fetched."""
    try:
        page.add_libraries(tree)
    except page.PageError as error:
        raise BuildError(str(error)) from error


def install(target: Target, tree: Path) -> None:
    """Install the locked packages, whole.

    Args:
        target: What for.
        tree: Where they go.
    """
    lock = SOURCE / VARIANTS[target.variant]
    platform = ("--python-platform", ARCHITECTURES[target.arch], "--python-version", target.python)
    # Copied, because the files are changed afterwards: a hard link would change the installer's cache.
    place = ("--target", str(tree), "--link-mode", "copy", "--python", sys.executable)
    wheels = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock))
    _uv("pip", "install", "--quiet", *place, *platform, *wheels)


def wheel(folder: Path) -> Path:
    """Build the library's wheel, with a locked build tool, into a folder."""
    constraints = ("--build-constraints", str(SOURCE / "requirements-build.txt"), "--require-hashes")
    _uv("build", "--quiet", "--wheel", *constraints, "--python", sys.executable, "--out-dir", str(folder), str(SOURCE))
    return next(folder.glob("*.whl"))


def hot_modules() -> list[str]:
    """The packages' modules that functions import, as paths in the layer.

    Bytecode of the other 1,900 would be a tenth of the archive and hardly ever be loaded.
    """
    return (SOURCE / "bytecode.txt").read_text().splitlines()


def compile_bytecode(tree: Path, python: str, seen_as: str, modules: Iterable[str]) -> None:
    """Compile modules for the runtime's interpreter; where they run is read-only, so each start would do it again.

    An interpreter that this machine lacks is fetched, as for `make demo`.

    Args:
        tree: The folder that they are in.
        python: The runtime's minor version.
        seen_as: Where the folder will be at run time, which tracebacks show.
        modules: Their paths in the folder; those that are not there are left out.

    Raises:
        BuildError: There is no interpreter of that version, and none could be fetched.
    """
    interpreter = interpreter_of(python)
    # Checked by nobody, because the files cannot change; and independent of the times that an archive gives them.
    mode = ("--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", seen_as)
    # The order of a set of constants must not depend on the process's random hash seed.
    variables = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    command = [str(interpreter), "-s", "-m", "compileall", "-q", "-f", "-j", "0", *mode, "-i", "-"]
    paths = "\n".join(str(tree / module) for module in sorted(modules) if (tree / module).exists())
    subprocess.run(command, check=True, env=variables, text=True, input=paths)


def interpreter_of(python: str) -> Path:
    """This machine's interpreter of a minor version, or else a fetched one. Raises as `compile_bytecode`."""
    if found := environment.fetched(python):
        return found
    here = ", ".join(interpreters.installed()) or "none"
    raise BuildError(
        f"Python {python} compiles what Python {python} runs, and is neither on this machine nor could it be fetched. "
        "Without bytecode every cold start would compile all modules, which doubles its time. "
        f"Put python{python} on PATH, or build for a version that is here ({here}): "
        "sam build and sam deploy take --parameter-overrides PythonVersion=..., the builder --python"
    )


def normalise(folder: Path) -> None:
    """Give every file and folder the same time and plain permissions."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def write_zip(tree: Path, archive: Path) -> None:
    """Pack a layer's ``python`` folder so that the same files always give the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(f"python/{path.relative_to(tree).as_posix()}", _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = _REGULAR_FILE
            packed.writestr(entry, path.read_bytes())


def uv_environ() -> dict[str, str]:
    """The installer's variables: an active environment must not redirect it, and what it builds is reproducible."""
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return variables | {"SOURCE_DATE_EPOCH": str(EPOCH)}


def _uv(*arguments: str) -> None:
    environment.bootstrap()
    try:
        subprocess.run([str(environment.UV), *arguments], check=True, env=uv_environ(), cwd=ROOT)
    except subprocess.CalledProcessError as error:
        raise BuildError(f"uv {' '.join(arguments[:2])} failed with exit code {error.returncode}") from error


def _warn(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr, flush=True)
