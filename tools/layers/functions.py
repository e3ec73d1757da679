"""How a function's artifact is made: its own files and what its requirements.txt brings, compiled for the runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.layers import dependencies
from tools.layers.assemble import BuildError, Target, compile_bytecode, normalise

NOT_SHIPPED = {"Makefile", "requirements.txt", "template.yaml"}
"""Files of the folder itself that say how it is built."""


def make(source: Path, folder: Path, target: Target) -> None:
    """Make a function's artifact.

    Args:
        source: The folder with the function: modules, packages and whatever else it reads.
        folder: Where the artifact goes.
        target: The layer that the function has, and what it runs on.

    Raises:
        BuildError: A package cannot be had for the target, or has the name of one of the function's own modules.
    """
    packages = dependencies.install(source.resolve() / "requirements.txt", target, folder)
    own = sorted(files(source))
    if taken := sorted({module(path.parts[0]) for path in own} & {module(path.name) for path in folder.iterdir()}):
        raise BuildError(
            f"{', '.join(taken)}: the function has it, and a package of its requirements.txt brings it too "
            f"({', '.join(packages)}); rename the function's"
        )
    for path in own:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    modules = (path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    compile_bytecode(folder, target.python, "/var/task", modules)
    normalise(folder)


def module(name: str) -> str:
    """What imports a file or a folder: the package slugify hides slugify.py beside it."""
    return name.removesuffix(".py")


def files(source: Path) -> Iterator[Path]:
    """A function's own files, named from its folder: all but caches, hidden ones and those that say how it is built."""
    for path in source.rglob("*"):
        name = path.relative_to(source)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden and name.as_posix() not in NOT_SHIPPED and path.suffix != ".pyc":
            yield name
