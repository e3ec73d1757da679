"""The end of an execution environment that cannot serve well any more: after its answer, never before.

Lambda starts a fresh environment where the runtime's process has ended. The moment is between two of the runtime's own
steps: it has sent the answer, and has not asked for the next invocation. Earlier the answer would be lost; later the
environment may be frozen, and the end would come in the middle of the next invocation.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .observe import count, logger

RUNTIME_CLIENT = "awslambdaric.lambda_runtime_client"
"""The module of Lambda's runtime that talks to the Runtime API."""


def end_after_answer() -> bool:
    """Have the process end when the runtime has sent the answer of the present invocation.

    Returns:
        Whether it will: outside Lambda's Python runtime there is nobody who would start another.
    """
    client: Any = getattr(sys.modules.get(RUNTIME_CLIENT), "LambdaRuntimeClient", None)
    if not hasattr(client, "wait_next_invocation"):
        logger.warning("tools hold too many threads, and this process cannot be ended")
        return False
    count("EnvironmentsEnded")
    logger.warning("tools hold too many threads: this environment ends after its answer")
    client.wait_next_invocation = _end
    return True


def _end(*_: object) -> None:
    # Not sys.exit: it would wait for the threads that hang.
    os._exit(0)
