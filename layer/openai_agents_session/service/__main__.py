"""Serves an agent over HTTP: ``python -m openai_agents_session.service app:service``, on the port that PORT names."""

from __future__ import annotations

import importlib
import sys


def main() -> int:
    """Import the service, and serve until a signal ends it."""
    from .service import AgentService
    from .streaming import serve_http

    module, _, name = (sys.argv[1:] or ["app:service"])[0].partition(":")
    service = getattr(importlib.import_module(module), name or "service", None)
    if not isinstance(service, AgentService):
        sys.exit(f"{module} has no AgentService called {name or 'service'}")
    serve_http(service)
    return 0


if __name__ == "__main__":
    sys.exit(main())
