"""``python -m openai_agents_session.cli``, and the command ``openai-agents-session``."""

from __future__ import annotations

import importlib.util
import sys

from .. import _installation
from . import interrupt


def main() -> None:
    """Run the command; say what is missing where its libraries are not installed."""
    interrupt.end_at_once()
    _installation.require_whole()
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"{' and '.join(missing)} missing: install the library with its extra cli, pip install './layer[cli]'\n"
        )
        sys.exit(2)
    from .app import app
    from .output import write_anything

    write_anything()
    app()


if __name__ == "__main__":
    main()
