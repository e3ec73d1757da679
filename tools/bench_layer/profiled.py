"""What each package adds to a start, in processor time and in memory, and what the first turn adds to that.

Run on its own, with a function and a layer in PYTHONPATH and the function's environment variables; prints JSON:
``{package: [seconds, bytes]}``. Every module's own share is counted, without those that it imports.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TURN = "first-turn"
_PAGE = os.sysconf("SC_PAGE_SIZE")

shares: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
stack: list[list[float]] = []


def now() -> list[float]:
    """Processor seconds and resident bytes of this process."""
    return [time.process_time(), float(Path("/proc/self/statm").read_text().split()[1]) * _PAGE]


def measured(name: str, work: Callable[[], Any]) -> Any:
    """Do some work, and count what it takes by itself for a name."""
    began, inner = now(), [0.0, 0.0]
    stack.append(inner)
    try:
        return work()
    finally:
        stack.pop()
        took = [after - before for after, before in zip(now(), began, strict=True)]
        for index in (0, 1):
            shares[name][index] += took[index] - inner[index]
            if stack:
                stack[-1][index] += took[index]


def count_modules_of(loader: type, method: str) -> None:
    """Count the work of a loader's method for the package of the module that it is asked for."""
    original = getattr(loader, method)

    def counting(self: Any, of: Any) -> Any:
        return measured(of.__name__ if method == "exec_module" else of.name, lambda: original(self, of))

    setattr(loader, method, counting)


def main() -> None:
    """Import the function, let it answer once, and print the shares."""
    count_modules_of(SourceFileLoader, "exec_module")
    count_modules_of(ExtensionFileLoader, "create_module")
    context = SimpleNamespace(
        function_name="agent",
        memory_limit_in_mb=1024,
        invoked_function_arn="",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: 30_000,
    )
    output, sys.stdout = sys.stdout, sys.stderr
    shares["python"] = now()
    function = measured("python", lambda: importlib.import_module("app"))
    measured("python", lambda: importlib.import_module("agent"))
    event = {"session_id": f"profiled-{os.getpid()}", "message": "What is 12 * 12?"}
    answer = measured(TURN, lambda: function.handler(event, context))
    assert answer["status"] == 200, answer
    packages: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, share in shares.items():
        for index in (0, 1):
            packages[name.partition(".")[0]][index] += share[index]
    print(json.dumps(packages), file=output)


if __name__ == "__main__":
    main()
