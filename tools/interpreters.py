"""Find the real Python interpreters of this machine. Runs on the standard library alone.

    python3 tools/interpreters.py          # every supported one, newest first
    python3 tools/interpreters.py 3.13     # the newest 3.13, or exit code 1

A name on PATH may be a version manager's shim that starts nothing, so each candidate is run, not trusted. Version
managers keep interpreters side by side, so the neighbours of the running one are looked at too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ("3.14", "3.13", "3.12", "3.11")
"""Versions that the library supports, newest first."""

FETCHED = Path(__file__).resolve().parent.parent / ".work" / "python"
"""Where an interpreter that this machine lacked was installed."""

_PROBE = "import sys; print(sys.executable); print('.'.join(map(str, sys.version_info[:3])))"


def find(version: str) -> Path | None:
    """The interpreter of one minor version.

    Args:
        version: Major and minor version, such as ``"3.13"``.

    Returns:
        Path of an executable that really starts, or None.
    """
    return next((found for found in map(_real, _candidates(version)) if found), None)


def installed() -> dict[str, Path]:
    """Every supported interpreter of this machine: minor version to path, newest first."""
    return {version: path for version in SUPPORTED if (path := find(version))}


def best(preferred: str) -> Path:
    """The preferred version's interpreter, else the newest supported one.

    Raises:
        LookupError: no supported interpreter was found.
    """
    found = find(preferred) or next(iter(installed().values()), None)
    if not found:
        raise LookupError(f"no Python among {', '.join(SUPPORTED)} was found")
    return found


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    if on_path := shutil.which(name):
        yield Path(on_path)
    yield from FETCHED.glob(f"*/bin/{name}")
    yield Path(sys.base_prefix) / "bin" / name
    yield from sorted(Path(sys.base_prefix).parent.glob(f"*/bin/{name}"), reverse=True)
    yield Path("/usr/bin") / name
    yield Path("/usr/local/bin") / name


def _real(candidate: Path) -> Path | None:
    if not candidate.is_file():
        return None
    try:
        answer = subprocess.run([candidate, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    executable, full_version = answer.stdout.split()
    return Path(executable) if candidate.name == f"python{full_version.rpartition('.')[0]}" else None


def main(arguments: list[str]) -> int:
    """Print what was asked for; the exit code says whether anything was found."""
    found = installed() if not arguments else {version: path for version in arguments if (path := find(version))}
    for version, path in found.items():
        print(f"{version} {path}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
