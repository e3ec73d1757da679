"""``python -m openai_agents_session.cli``, and the command ``openai-agents-session``."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command; say what is missing where its libraries are not installed."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"{' and '.join(missing)} missing: pip install 'openai-agents-session-layer[cli]'\n")
        sys.exit(2)
    from .app import app

    app()


if __name__ == "__main__":
    main()
