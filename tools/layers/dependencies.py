"""What a function brings along beside its layer: the packages that its requirements.txt asks for.

They are resolved together with the layer's lock, so that the versions agree, and what the layer has is left out. Only
wheels for the function's target are taken: `sam build` runs on another machine than Lambda.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools import environment
from tools.layers import binaries
from tools.layers.assemble import ARCHITECTURES, ROOT, SOURCE, VARIANTS, BuildError, Target, uv_environ

_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:==|@)")


def install(requirements: Path, target: Target, folder: Path) -> list[str]:
    """Install what a function asks for and its layer does not have.

    Args:
        requirements: The function's requirements.txt; it may be missing or empty.
        target: The layer that the function has, and what it runs on.
        folder: Where the packages go: the function's own folder.

    Returns:
        The names of the packages.

    Raises:
        BuildError: There is no solution beside the layer's packages, no wheel for the target, or a binary would not
            load there.
    """
    if not _asks_for_anything(requirements):
        return []
    lock = SOURCE / VARIANTS[target.variant]
    wanted = _resolve(requirements, target, "--constraints", str(lock))
    packages = {name: wanted[name] for name in sorted(wanted.keys() - _resolve(lock, target, "--no-deps").keys())}
    if not packages:
        return []
    with tempfile.TemporaryDirectory() as temporary:
        pinned = Path(temporary) / "pinned.txt"
        pinned.write_text("\n".join(packages.values()))
        # As constraints for the hashes that it may have, which are checked.
        sources = ("--requirement", str(pinned), "--constraints", str(requirements))
        _uv(target, requirements, "install", "--target", str(folder), "--link-mode", "copy", "--no-deps", *sources)
    shutil.rmtree(folder / "bin", ignore_errors=True)  # commands with this machine's interpreter in their first line
    (folder / ".lock").unlink(missing_ok=True)
    if wrong := list(binaries.problems(folder, target.arch, target.python)):
        raise BuildError("\n".join(wrong))
    return list(packages)


def _asks_for_anything(requirements: Path) -> bool:
    if not requirements.is_file():
        return False
    lines = (line.strip() for line in requirements.read_text(encoding="utf-8-sig").splitlines())
    return any(line and not line.startswith("#") for line in lines)


def _resolve(requirements: Path, target: Target, *options: str) -> dict[str, str]:
    """What a requirements file means for a target: each package's name with its line, such as "idna==3.20"."""
    quiet = ("--no-header", "--no-annotate", "--quiet")
    answer = _uv(target, requirements, "compile", *quiet, *options, str(requirements))
    return {found[1]: line for line in answer.splitlines() if (found := _PINNED.match(line))}


def _uv(target: Target, requirements: Path, command: str, *options: str) -> str:
    environment.bootstrap()
    platform = ("--python-platform", ARCHITECTURES[target.arch], "--python-version", target.python)
    wheels = ("--only-binary", ":all:")
    arguments = [str(environment.UV), "pip", command, *platform, *wheels, *options]
    done = subprocess.run(arguments, capture_output=True, text=True, env=uv_environ(), cwd=ROOT, check=False)
    if done.returncode:
        asked = f"wheels for {target.arch} and Python {target.python} that agree with layer/{VARIANTS[target.variant]}"
        raise BuildError(f"{_shown(requirements)} asks for what there are no {asked}:\n{done.stderr.strip()}")
    return done.stdout


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
