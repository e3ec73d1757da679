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

from tools import interpreters, interrupts  # noqa: E402

WORK = ROOT / ".work"
LOCKS = ROOT / "requirements"
UV = WORK / "bootstrap" / "bin" / "uv"


def main() -> int:
    """Make the environment that the command line names."""
    arguments = _arguments()
    path = (ROOT / arguments.path) if arguments.path else WORK / "envs" / arguments.name
    asked = time.time()
    try:
        with _alone(".lock"):
            if _ready_since(path) < asked:  # otherwise another set-up made it while this one waited
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
    interpreter = fetched(python) or interpreters.best(python)
    _say(f"{name}: {path.relative_to(ROOT)} on {interpreter}")
    if not (_ready_since(path) and _is_of(path, interpreter)):  # one that was torn off may have half a package
        _uv("venv", "--quiet", "--clear", "--python", str(interpreter), str(path))
    (path / ".ready").unlink(missing_ok=True)
    _say(f"{name}: installing {lock.read_text().count('==')} packages")
    _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(path), str(lock))
    if editable:
        options = ("--quiet", "--no-deps", "--no-build-isolation")
        _uv("pip", "install", *options, "--python", str(path), "--editable", str(ROOT / editable))
    (path / ".ready").touch()
    _say(f"{name}: ready in {time.monotonic() - began:.0f} s")


def bootstrap() -> None:
    """Install the installer, unless the locked one is there."""
    lock, path = LOCKS / "bootstrap.txt", UV.parents[1]
    with _alone(".bootstrap.lock"):
        if _ready_since(path) >= lock.stat().st_mtime:
            return
        _say("installer: .work/bootstrap")
        _run(sys.executable, "-m", "venv", "--clear", str(path), hint="is the venv module there?")
        pip = (str(path / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
        _run(*pip, "install", "--quiet", "--require-hashes", "--requirement", str(lock))
        (path / ".ready").touch()


def fetched(version: str) -> Path | None:
    """An interpreter of a minor version: this machine's, or else one fetched from the installer's own source.

    Args:
        version: Such as ``"3.13"``.

    Returns:
        Its path, or None where there is none and it could not be fetched.

    Raises:
        subprocess.CalledProcessError: The installer itself could not be installed.
    """
    if found := interpreters.find(version):
        return found
    bootstrap()
    _fetch(version)
    return interpreters.find(version)


def _fetch(version: str) -> None:
    _say(f"Python {version} is not on this machine: trying to fetch it")
    options = ("--quiet", "--no-bin", "--install-dir", str(interpreters.FETCHED))
    command = (str(UV), "python", "install", *options, version)
    try:
        variables = {**os.environ, "UV_HTTP_RETRIES": "0"}
        done = subprocess.run(command, env=variables, capture_output=True, timeout=180, start_new_session=True)
    except subprocess.TimeoutExpired:
        done = None
    if not done or done.returncode:
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
        # In a session of its own, since what a terminal's Ctrl-C interrupts writes a traceback; `interrupts` ends it.
        subprocess.run(command, check=True, cwd=ROOT, env=variables, start_new_session=True)
    except subprocess.CalledProcessError:
        if hint:
            _say(f"{' '.join(command)}: {hint} (Debian: apt-get install python3-venv)")
        raise


def _ready_since(path: Path) -> float:
    """When an environment was completed, in Unix seconds; 0 if it is not complete."""
    try:
        return (path / ".ready").stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two set-ups at once would install over each other."""
    WORK.mkdir(exist_ok=True)
    with (WORK / name).open("w") as lock:
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
    sys.exit(interrupts.run(main))
