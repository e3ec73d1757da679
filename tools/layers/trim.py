"""What of the installed packages no function needs.

Botocore's service models stay, all of them: an attached function's own boto3 runs on this botocore. Licences stay,
since the layer redistributes what they are about. Of a package's metadata stays what `importlib.metadata` is asked for
at run time: name, version, requirements and entry points.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

# Only as a package's own direct subfolder: `agents.testing` is public, and so may a deeper `tests` be.
FOLDERS = {"tests", "benchmarks"}
SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".pyc"}
NAMES = {"py.typed"}
TOP_LEVEL = {"bin", "share", "wrapt-stubs"}
OPERATORS = ("openai_agents_session", "cli")  # a command for people, whose libraries are not in the layer
METADATA = {"METADATA", "entry_points.txt", "top_level.txt"}
LICENCES = ("LICEN", "COPYING", "NOTICE", "AUTHORS")


def stays(path: PurePosixPath) -> bool:
    """Whether a file, named from the folder that packages were installed in, is part of the layer."""
    top, *_ = path.parts
    if top.endswith(".dist-info"):
        return path.name in METADATA or "licenses" in path.parts or path.name.upper().startswith(LICENCES)
    if top in TOP_LEVEL or path.parts[:2] == OPERATORS or (len(path.parts) > 2 and path.parts[1] in FOLDERS):
        return False
    return path.suffix not in SUFFIXES and path.name not in NAMES


def trim(tree: Path) -> None:
    """Delete what does not stay, and the folders that become empty."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not stays(PurePosixPath(path.relative_to(tree))):
            path.unlink()
    for metadata in tree.glob("*.dist-info/METADATA"):
        metadata.write_text(headers(metadata.read_text(encoding="utf-8")), encoding="utf-8")


def headers(metadata: str) -> str:
    """A package's metadata without its description, which is the whole README."""
    return metadata.replace("\r\n", "\n").partition("\n\n")[0] + "\n"
