"""The end of a process in which tools hold too many threads: after its answer, never before.

**Under Lambda's Python runtime** the process ends, and Lambda starts a fresh environment. The moment is between two of
the runtime's own steps: it has sent the answer, and has not asked for the next invocation. Earlier the answer would be
lost; later the environment may be frozen, and the end would come in the middle of the next invocation.

**A web server** is replaced by a new process in its own place: same process id, same listening socket. Behind the
Lambda Web Adapter that is safer than to end: the adapter, which is another process, may still be handing the answer on,
and Lambda would end both. Who connects meanwhile waits until the new process listens.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, NoReturn

from .observe import count, logger, metrics

RUNTIME_CLIENT = "awslambdaric.lambda_runtime_client"
"""The module of Lambda's runtime that talks to the Runtime API."""

LISTENING = "LISTENING_SOCKET"
"""The environment variable in which a process leaves the one that takes its place the number of its socket."""


def end_after_answer() -> bool:
    """Have the process end when the runtime has sent the answer of the present invocation.

    Returns:
        Whether it will: outside Lambda's Python runtime there is nobody who would start another.
    """
    client: Any = getattr(sys.modules.get(RUNTIME_CLIENT), "LambdaRuntimeClient", None)
    if not hasattr(client, "wait_next_invocation"):
        return False
    _report()
    client.wait_next_invocation = _end
    return True


def begin_anew(listening: socket.socket) -> NoReturn:
    """Replace this process by a new one that was started alike.

    Args:
        listening: Its socket, which the new one takes over; see ``inherited``.
    """
    _report()
    metrics.flush_metrics()
    os.set_inheritable(listening.fileno(), True)
    os.environ[LISTENING] = str(listening.fileno())
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves, with our own arguments


def inherited() -> socket.socket | None:
    """The listening socket of the process in whose place this one is; None for one that was started afresh."""
    number = os.environ.pop(LISTENING, None)
    return None if number is None else socket.socket(fileno=int(number))


def _report() -> None:
    count("EnvironmentsEnded")
    logger.error("tools hold too many threads: this process ends")


def _end(*_: object) -> NoReturn:
    sys.stdout.flush()
    os._exit(0)  # not sys.exit: it would wait for the threads that hang
