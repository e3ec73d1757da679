"""Make a Python environment from a lock file. Runs on the standard library alone.

    python3 tools/environment.py dev --path .work/venv --python 3.13 --editable layer
    python3 tools/environment.py NAME          # requirements/NAME.txt -> .work/envs/NAME

The installer (uv) is itself installed from a lock file, into .work/bootstrap. Every package is checked against its
hash. A file `.ready` in the environment says that it is complete; make compares its time with the lock file's.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import interpreters  # noqa: E402

WORK = ROOT / ".work"
LOCKS = ROOT / "requirements"
UV = WORK / "bootstrap" / "bin" / "uv"


def main() -> int:
    """Make the environment that the command line names."""
    arguments = _arguments()
    path = (ROOT / arguments.path) if arguments.path else WORK / "envs" / arguments.name
    try:
        with _alone():
            make(arguments.name, path, arguments.python, arguments.editable)
    except (subprocess.CalledProcessError, LookupError) as error:
        print(f"\nsetup failed: {error}", file=sys.stderr)
        return 1
    return 0


def make(name: str, path: Path, python: str, editable: str | None = None) -> None:
    """Make or update one environment.

    Args:
        name: The lock file's name in requirements/, without suffix.
        path: Where the environment goes.
        python: Preferred Python version; the newest supported one stands in for it.
        editable: A local project to install beside the locked packages, or None.

    Raises:
        LookupError: no supported interpreter was found.
        subprocess.CalledProcessError: an installer failed; its output says why.
    """
    began = time.monotonic()
    lock = LOCKS / f"{name}.txt"
    bootstrap()
    if not interpreters.find(python):
        _fetch(python)
    interpreter = interpreters.best(python)
    _say(f"{name}: {path.relative_to(ROOT)} on {interpreter}")
    if not _is_of(path, interpreter):
        _uv("venv", "--quiet", "--clear", "--python", str(interpreter), str(path))
    _say(f"{name}: installing {lock.read_text().count('==')} packages")
    _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(path), str(lock))
    if editable:
        options = ("--quiet", "--no-deps", "--no-build-isolation")
        _uv("pip", "install", *options, "--python", str(path), "--editable", str(ROOT / editable))
    (path / ".ready").touch()
    _say(f"{name}: ready in {time.monotonic() - began:.0f} s")


def bootstrap() -> None:
    """Install the installer, unless the locked one is there."""
    lock = LOCKS / "bootstrap.txt"
    if UV.exists() and UV.stat().st_mtime >= lock.stat().st_mtime:
        return
    _say("installer: .work/bootstrap")
    _run(sys.executable, "-m", "venv", "--clear", str(WORK / "bootstrap"), hint="is the venv module there?")
    pip = (str(WORK / "bootstrap" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
    _run(*pip, "install", "--quiet", "--require-hashes", "--requirement", str(lock))
    UV.touch()


def _fetch(version: str) -> None:
    """Try to get an interpreter that is missing from the installer's own source; where that fails, another will do."""
    _say(f"Python {version} is not on this machine: trying to fetch it")
    options = ("--quiet", "--no-bin", "--install-dir", str(interpreters.FETCHED))
    command = (str(UV), "python", "install", *options, version)
    try:
        fetched = subprocess.run(command, env={**os.environ, "UV_HTTP_RETRIES": "0"}, capture_output=True, timeout=180)
    except subprocess.TimeoutExpired:
        fetched = None
    if not fetched or fetched.returncode:
        _say(f"Python {version} could not be fetched")


def _is_of(path: Path, interpreter: Path) -> bool:
    settings = path / "pyvenv.cfg"
    return settings.exists() and f"home = {interpreter.parent}\n" in settings.read_text()


def _uv(*arguments: str) -> None:
    _run(str(UV), *arguments)


def _run(*command: str, hint: str = "") -> None:
    # An active environment must not redirect the installer; the paths above are explicit.
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        subprocess.run(command, check=True, cwd=ROOT, env=variables)
    except subprocess.CalledProcessError:
        if hint:
            _say(f"{' '.join(command)}: {hint} (Debian: apt-get install python3-venv)")
        raise


@contextmanager
def _alone() -> Iterator[None]:
    """Two setups at once would install over each other."""
    WORK.mkdir(exist_ok=True)
    with (WORK / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a Python environment from requirements/NAME.txt.")
    parser.add_argument("name")
    parser.add_argument("--path", help="where it goes, from the project's top (default: .work/envs/NAME)")
    parser.add_argument("--python", default="3.13", help="preferred Python version (default: %(default)s)")
    parser.add_argument("--editable", help="a local project to install with it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
