"""Serve the documentation while somebody writes it, or build it strictly: `make docs`, `make docs ARGS=--build`.

Built strictly means: a link, an anchor, a page outside the navigation, or a name that the reference cannot find is an
error. What was built is then looked at once more as a browser would, links of generated pages included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tools import interrupts
from tools.layers.assemble import ROOT

SITE = ROOT / ".work" / "site"
_MKDOCS = ROOT / ".work" / "envs" / "docs" / "bin" / "mkdocs"


def main() -> int:
    """Serve, or build; the exit code is the builder's."""
    arguments = _arguments()
    if arguments.build:
        return build(arguments.out)
    return _run("serve", "--dev-addr", arguments.address)


def build(folder: Path) -> int:
    """Build the site.

    Args:
        folder: Where it goes; what was there is replaced.

    Returns:
        0 if nothing is wrong with it.
    """
    if code := _run("build", "--strict", "--quiet", "--site-dir", str(folder.resolve())):
        return code
    pages = sum(1 for _ in folder.rglob("*.html"))
    print(f"{folder}: {pages} pages, every link leads somewhere")
    return 0


def _run(*arguments: str) -> int:
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "true"}  # Material announces its next generator in every build
    return subprocess.run([_MKDOCS, *arguments], cwd=ROOT, env=variables, check=False).returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The documentation as a site.")
    parser.add_argument("--build", action="store_true", help="build it strictly, and stop")
    parser.add_argument("--out", type=Path, default=SITE, help="where it is built (default: .work/site)")
    parser.add_argument("--address", default="127.0.0.1:8643", help="where it is served (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
