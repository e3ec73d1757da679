"""Real DynamoDB engines, each a process of its own that listens on 127.0.0.1 only.

    python -m tools.emulation.engines                   # which are there, and why one is not
    with engines.start("dynoxide") as engine: ...     # engine.endpoint_url

What an engine is known to get wrong is listed with it, so that no test asks for it there (`pytest.mark.needs`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".work" / "engines"
HOST = "127.0.0.1"
_START_SECONDS = 60
_DYNAMODB_LOCAL_PORT = 8000  # in a network namespace of its own


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        name: One of `KINDS`.
        endpoint_url: Where it listens.
        process_id: Of the process that was started.
    """

    name: str
    endpoint_url: str
    process_id: int


@dataclass(frozen=True)
class Kind:
    """A kind of engine.

    Attributes:
        missing: Tells why it cannot run here, or None.
        start: Starts it on a free port.
        faults: What it is known to get wrong, in the words of `pytest.mark.needs`.
    """

    missing: Callable[[], str | None]
    start: Callable[[], tuple[subprocess.Popen[str], str]]
    faults: frozenset[str]


@functools.cache
def available() -> dict[str, str | None]:
    """Every engine's name, with the reason why it cannot run here, or None where it can."""
    return {name: kind.missing() for name, kind in KINDS.items()}


@contextmanager
def start(name: str) -> Iterator[Engine]:
    """Run an engine for the time of a with-block.

    Args:
        name: One of `KINDS`.

    Raises:
        RuntimeError: the engine is missing, or did not answer in time.
    """
    if reason := KINDS[name].missing():
        raise RuntimeError(f"{name} cannot run: {reason}")
    process, endpoint_url = KINDS[name].start()
    try:
        _wait_until_it_answers(name, process, endpoint_url)
        yield Engine(name, endpoint_url, process.pid)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _moto_missing() -> str | None:
    return None  # it is among the locked requirements


def _start_moto() -> tuple[subprocess.Popen[str], str]:
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    process = _spawn(sys.executable, ROOT / "tools" / "local_dynamodb.py", "--until-eof", stdin=subprocess.PIPE)
    assert process.stdout
    return process, process.stdout.readline().strip()


def _dynoxide() -> Path:
    return PROGRAMS / "dynoxide" / "dynoxide"


def _dynoxide_missing() -> str | None:
    return None if _dynoxide().exists() else "its program was not fetched (make engines)"


def _start_dynoxide() -> tuple[subprocess.Popen[str], str]:
    port = _free_port()
    return _spawn(_dynoxide(), "serve", "--host", HOST, "--port", port), f"http://{HOST}:{port}"


def _emulator() -> Path:
    return PROGRAMS / "dynamodb-local" / "emulator"


def _dynamodb_local_missing() -> str | None:
    if not (_emulator() / "DynamoDBLocal.jar").exists():
        return "its archive was not fetched (make engines)"
    if not _java():
        return "it needs Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
    if not _unshare():
        return "it listens on all interfaces and needs a network namespace (unshare --net), which is not allowed here"
    return None


def _start_dynamodb_local() -> tuple[subprocess.Popen[str], str]:
    java, unshare = _java(), _unshare()
    assert java
    assert unshare
    listener = socket.create_server((HOST, 0), backlog=1024)
    with listener:
        process = _spawn(
            *unshare,
            *(sys.executable, ROOT / "tests" / "support" / "isolated.py", listener.fileno(), _DYNAMODB_LOCAL_PORT),
            *(java, "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *(f"-Djava.library.path={_emulator() / 'DynamoDBLocal_lib'}", "-jar", _emulator() / "DynamoDBLocal.jar"),
            *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", _DYNAMODB_LOCAL_PORT),
            inherited=(listener.fileno(),),
        )
        return process, f"http://{HOST}:{listener.getsockname()[1]}"


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if not java:
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = answer.stderr.partition('"')[2].partition(".")[0].partition('"')[0]
    return java if version.isdigit() and int(version) >= 17 else None


def _unshare() -> tuple[str, ...] | None:
    """The command that makes a network namespace, for root or else for a user."""
    ways = (("unshare", "--net", "--"), ("unshare", "--net", "--map-root-user", "--"))
    return next((way for way in ways if shutil.which(way[0]) and _runs(*way, "true")), None)


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


KINDS: Mapping[str, Kind] = {
    "moto": Kind(
        _moto_missing,
        _start_moto,
        frozenset(
            {
                "item size limit",
                "transaction tokens",
                "expired items deleted",
                "long list_append",
                "key types",
                "index units",
            }
        ),
    ),
    "dynoxide": Kind(
        _dynoxide_missing,
        _start_dynoxide,
        frozenset({"expired items deleted", "multi-index remove", "set past the end"}),
    ),
    "dynamodb-local": Kind(_dynamodb_local_missing, _start_dynamodb_local, frozenset()),
}
"""The engines, the quickest to start first; each listens on a free port."""


CAPABILITIES = frozenset[str]().union(*(kind.faults for kind in KINDS.values()))
"""What at least one engine gets wrong: the words that `pytest.mark.needs` takes."""


def _spawn(
    *command: str | int | Path, stdin: int = subprocess.DEVNULL, inherited: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=stdin,
        stdout=subprocess.PIPE if stdin == subprocess.PIPE else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROGRAMS,  # one of them writes a file where it starts
        pass_fds=inherited,
        preexec_fn=_end_with_parent,
    )


_libc = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL = 1


def _end_with_parent() -> None:
    """A killed test run must not leave an engine behind."""
    if sys.platform == "linux":
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(name: str, process: subprocess.Popen[str], endpoint_url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(endpoint_url):
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended at once with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not answer within {_START_SECONDS} s")
        time.sleep(0.02)


def _answers(endpoint_url: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint_url, timeout=_START_SECONDS):  # noqa: S310 - our own http URL
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True  # it refuses a GET, but it listens
    except OSError:
        return False


def main() -> None:
    """Print which engines are there."""
    for name, reason in available().items():
        print(f"{name}: {f'missing, {reason}' if reason else 'there'}")


if __name__ == "__main__":
    main()
