"""The reference library (PyPI `openai-agents-session` 0.1.0), which has our import name, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.emulation.engines import ROOT

ENVIRONMENT = ROOT / ".work" / "envs" / "bench-reference"


class ReferenceFailure(Exception):
    """What the reference raised: its class and message."""


class Reference:
    """The reference library."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def call(self, endpoint_url: str, table: str, session_id: str, method: str, *arguments: Any, ttl: Any) -> Any:
        """What a method of a new session object of the reference returns.

        Args:
            endpoint_url: The engine's.
            table: The table.
            session_id: The session.
            method: The method.
            *arguments: Its arguments.
            ttl: `ttl_seconds` of the object.

        Raises:
            ReferenceFailure: It raised.
        """
        request = {
            "endpoint_url": endpoint_url,
            "session": session_id,
            "table": table,
            "method": method,
            "arguments": arguments,
            "ttl": ttl,
        }
        answer = json.loads(await asyncio.to_thread(self._exchange, json.dumps(request)))
        if "error" in answer:
            raise ReferenceFailure(answer["error"])
        return answer["result"]

    def _exchange(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def reference() -> Iterator[Reference]:
    """Start it, for the time of a with-block."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-I", str(Path(__file__).with_name("reference_worker.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Reference(process)  # leaving the block closes its input, which ends it
