"""The workflows under .github: their syntax, their permissions, and that each action is pinned to a commit."""

from __future__ import annotations

import re
from pathlib import Path

from tools.layers.assemble import ROOT
from tools.release.distribution import PROGRAMS, ReleaseError, run

WORKFLOWS = ROOT / ".github" / "workflows"
_USED = re.compile(r"^\s*-?\s*uses:\s*(\S+)\s*(#.*)?$", re.MULTILINE)
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def check(folder: Path = WORKFLOWS) -> int:
    """Lint every workflow.

    Args:
        folder: Where they are.

    Returns:
        How many there are.

    Raises:
        ReleaseError: One has a fault.
    """
    workflows = sorted(folder.glob("*.yml"))
    for path in workflows:
        if loose := unpinned(path.read_text()):
            raise ReleaseError(f"{path.name}: not pinned to a commit, with its version behind it: {', '.join(loose)}")
    files = [str(path) for path in workflows]
    run("actionlint", "-shellcheck", str(PROGRAMS / "shellcheck"), "-pyflakes=", *files)
    run("zizmor", "--offline", "--quiet", "--persona", "pedantic", "--min-severity", "low", *files)
    return len(workflows)


def unpinned(workflow: str) -> list[str]:
    """The actions that a tag or a branch could change under us, or whose version nobody wrote down beside the hash."""
    used = _USED.findall(workflow)
    return [action for action, version in used if not (_PINNED.fullmatch(action) and re.match(r"# v\d", version))]
