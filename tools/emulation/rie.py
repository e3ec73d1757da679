"""The function in Lambda's own runtime client, behind the Runtime Interface Emulator: an execution environment.

    with Emulator("app.handler", [FUNCTION, layer], {"SESSION_TABLE": ...}) as environment:
        answer = environment.invoke({"session_id": "ada", "message": "Hello"})

Each `Emulator` is one execution environment and takes one call at a time, as Lambda's do; several are several
environments. `kill` ends one as Lambda does: without asking. A cold start is a new one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = ROOT / "functions" / "agent"
RUNTIME = ROOT / ".work" / "envs" / "emulator"
"""The Python environment of the runtime client and the emulator (`make .work/envs/emulator/.ready`)."""

HOST = "127.0.0.1"
_START_SECONDS = 10
_START_ATTEMPTS = 3


class FunctionError(Exception):
    """The function raised, or ended without an answer.

    Attributes:
        kind: The exception's type, or Lambda's name for what happened.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class Invocation:
    """One call's outcome.

    Attributes:
        answer: What the handler returned.
        seconds: How long the caller waited.
    """

    answer: Any
    seconds: float


class Emulator:
    """One execution environment.

    Args:
        handler: Module and function, such as "app.handler".
        pythonpath: Folders that the function imports from, before the runtime's own; its own folder is the first.
        environ: Environment variables beside those that Lambda sets.
        timeout_seconds: The function's timeout; it includes the start, as the emulator counts.
    """

    def __init__(
        self, handler: str, pythonpath: Sequence[Path], environ: Mapping[str, str], *, timeout_seconds: int = 30
    ) -> None:
        self._handler = handler
        self._folder = pythonpath[0]
        self._environ = _lambda_environ(pythonpath, timeout_seconds) | dict(environ)
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._calling = threading.Lock()
        self._ending = threading.Lock()
        self._output: IO[bytes] | None = None
        self._log = ""

    def start(self) -> Self:
        """Start the environment; the function itself is imported at the first call.

        Raises:
            RuntimeError: it did not start.
        """
        self.kill()
        for _ in range(_START_ATTEMPTS):
            if self._starts():
                return self
            self.kill()
        raise RuntimeError(f"the Runtime Interface Emulator did not start:\n{self.log}")

    def invoke(self, event: Any) -> Invocation:
        """Call the function; a call from another thread waits for its turn, since two at once crash the emulator.

        Args:
            event: Its event, as plain JSON.

        Raises:
            FunctionError: the function raised or timed out.
        """
        url = f"http://{HOST}:{self._port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, json.dumps(event).encode())
        with self._calling:
            began = time.monotonic()
            body = _fetch(request, self._timeout_seconds + _START_SECONDS)
            return Invocation(_answer(body), time.monotonic() - began)

    def kill(self) -> None:
        """End the environment at once, as it stands. It is dead when this returns, also if another thread is at it."""
        with self._ending:
            process, self._process = self._process, None
            if process:
                _kill_session(process)
            self._log, output, self._output = self.log, self._output, None
            if output:
                output.close()

    @property
    def process_id(self) -> int:
        """The emulator's; the runtime's own process is its child."""
        assert self._process, "the environment is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the function and its runtime wrote since the start."""
        if self._output is None:
            return self._log
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _starts(self) -> bool:
        self._port, api_port = free_ports(2)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill
        self._process = subprocess.Popen(
            [
                _program(),
                *("--runtime-interface-emulator-address", f"{HOST}:{self._port}"),
                *("--runtime-api-address", f"{HOST}:{api_port}"),
                *(RUNTIME / "bin" / "python", "-m", "awslambdaric", self._handler),
            ],
            env=self._environ,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # by which the runtime is known, to die with the emulator
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False  # somebody took the port in the meantime
            if _listens(self._port):
                return True
            time.sleep(0.005)
        return False


def python_version() -> str:
    """The Python version, such as "3.13", that functions run on here."""
    settings = (RUNTIME / "pyvenv.cfg").read_text()
    version = next(line.partition("=")[2] for line in settings.splitlines() if line.startswith("version_info"))
    return ".".join(version.strip().split(".")[:2])


def architecture() -> str:
    """This machine's, in Lambda's words: "x86_64" or "arm64"."""
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


@functools.cache
def built_layer() -> Path:
    """The folder that the built layer adds to a function's import path; builds the layer if its sources changed.

    Raises:
        RuntimeError: it could not be built.
    """
    builder = str(ROOT / "tools" / "build_layer.py")
    command = [sys.executable, builder, "--arch", architecture(), "--python", python_version()]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"the layer was not built: {built.stderr or built.stdout}")
    return ROOT / ".work" / "layer" / f"{architecture()}-{python_version()}" / "python"


def _program() -> Path:
    name = f"aws-lambda-rie-{architecture()}"
    found = next(RUNTIME.glob(f"lib/python*/site-packages/samcli/local/rapid/{name}"), None)
    if not found:
        raise RuntimeError(f"{name} is not installed: run `make .work/envs/emulator/.ready`")
    return found


def _lambda_environ(pythonpath: Sequence[Path], timeout_seconds: int) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": os.pathsep.join(map(str, pythonpath)),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "LAMBDA_TASK_ROOT": str(pythonpath[0]),  # by which the X-Ray SDK knows that it is on Lambda
        "AWS_LAMBDA_FUNCTION_NAME": "agent",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_SAM_LOCAL": "true",  # as under `sam local`: tells Powertools that nobody collects traces
    }


def _fetch(request: urllib.request.Request, timeout_seconds: float) -> str:
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310 - our own http URL
            return str(response.read().decode())
    except urllib.error.HTTPError as error:  # the runtime could not start, or ended by itself
        with error:
            return error.read().decode()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, and wait until none of it runs.

    The emulator gives the runtime a process group of its own. Killed by its group alone, the runtime would live on,
    finish its invocation and have its effects; the session is what the two have in common. The emulator goes first: it
    would start another runtime in the place of one that has died.

    Raises:
        RuntimeError: Something of it still runs.
    """
    deadline = time.monotonic() + _START_SECONDS
    while members := processes_of(process.pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the processes {members} do not end")
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.005)
    process.wait()


def processes_of(session: int) -> list[int]:
    """The processes of a session that still run, its leader first."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _runs_in(entry, session)]
    return sorted(found, key=lambda member: member != session)


def _runs_in(entry: Path, session: int) -> bool:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended in the meantime
        return False
    state, its_session = fields[0], int(fields[3])
    return its_session == session and state not in "ZX"


def _answer(body: str) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        raise FunctionError("Runtime", body) from None
    if isinstance(answer, dict) and "errorMessage" in answer:
        raise FunctionError(answer.get("errorType", "Unknown"), answer["errorMessage"])
    return answer
