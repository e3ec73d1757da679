"""The libraries that the chat page renders markdown with: from npm, pinned, put into the layer as they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools import npm

FOLDER = Path("openai_agents_session", "service", "page", "vendor")
FILES = {
    ("marked", "lib/marked.esm.js"): "marked.js",
    ("marked", "LICENSE"): "marked.LICENSE",
    ("dompurify", "dist/purify.es.mjs"): "purify.js",
    ("dompurify", "LICENSE"): "purify.LICENSE",
}
"""Files of packages, and their names on the page."""

SOURCES = [Path(npm.__file__), npm.PINS]


class PageError(Exception):
    """The page's libraries could not be fetched."""


def add_libraries(tree: Path) -> None:
    """Put them beside the page.

    Args:
        tree: The layer's ``python`` folder.

    Raises:
        PageError: They could not be fetched, or are not what was pinned.
    """
    (tree / FOLDER).mkdir(parents=True, exist_ok=True)
    for (name, file), target in FILES.items():
        try:
            shutil.copyfile(npm.package(name) / file, tree / FOLDER / target)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise PageError(
                f"{name}, which the chat page needs, could not be fetched: {npm.reason(error)}. It comes from the npm "
                "registry that npm is configured for; the full layer needs it, the lean one (--variant lean) does not"
            ) from error
