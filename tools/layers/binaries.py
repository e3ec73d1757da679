"""Compiled extension modules: the processor they are for, the C library they need, and what in them nobody loads."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

MACHINES = {"x86_64": 62, "arm64": 183}
"""ELF's number for each of Lambda's architectures."""

GLIBC = {"3.11": (2, 26)}
"""The runtimes that are not on Amazon Linux 2023; Python 3.11 is on Amazon Linux 2."""
GLIBC_OF_AMAZON_LINUX_2023 = (2, 34)

# Offsets in the header of a 64-bit ELF file.
_PROGRAM_HEADERS, _PROGRAM_HEADER_SIZE, _PROGRAM_HEADER_COUNT = 32, 54, 56
_SECTION_HEADERS, _SECTION_HEADER_COUNT = 40, 60

_SYMBOL_VERSION = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")


def problems(tree: Path, arch: str, python: str) -> Iterator[str]:
    """What would fail to load in Lambda.

    Args:
        tree: The folder to look through.
        arch: ``"x86_64"`` or ``"arm64"``.
        python: The runtime's minor version, such as ``"3.13"``.

    Yields:
        One sentence a problem.
    """
    available = GLIBC.get(python, GLIBC_OF_AMAZON_LINUX_2023)
    abi = f"cpython-{python.replace('.', '')}-"
    for path in sorted(tree.rglob("*.so*")):
        content, name = path.read_bytes(), path.relative_to(tree)
        if machine(content) != MACHINES[arch]:
            yield f"{name} is not for {arch}"
        if (needed := glibc(content)) > available:
            yield f"{name} needs glibc {_dotted(needed)}; Python {python} on Lambda has {_dotted(available)}"
        if ".cpython-" in path.name and abi not in path.name:
            yield f"{name} is not for Python {python}"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def machine(elf: bytes) -> int | None:
    """The processor that a little-endian ELF file is for, in ELF's numbering; None if it is no such file."""
    if elf[:4] != b"\x7fELF" or elf[5:6] != b"\x01":
        return None
    number: int = struct.unpack_from("<H", elf, 18)[0]
    return number


def glibc(elf: bytes) -> tuple[int, int]:
    """The newest version of glibc whose symbols an ELF file names; (0, 0) if it names none."""
    return max(((int(major), int(minor)) for major, minor in _SYMBOL_VERSION.findall(elf)), default=(0, 0))


def strip(elf: bytes) -> bytes:
    """Cut off what is not loaded: symbols for debuggers, and the table of sections. Works for every processor.

    Args:
        elf: A 64-bit ELF file, whose loaded segments come first, as linkers write them.

    Returns:
        The file up to the end of its last segment.
    """
    table, size, count = (
        struct.unpack_from(format_, elf, offset)[0]
        for format_, offset in (("<Q", _PROGRAM_HEADERS), ("<H", _PROGRAM_HEADER_SIZE), ("<H", _PROGRAM_HEADER_COUNT))
    )
    segments = (struct.unpack_from("<8xQ16xQ", elf, table + number * size) for number in range(count))
    stripped = bytearray(elf[: max(offset + length for offset, length in segments)])
    struct.pack_into("<Q", stripped, _SECTION_HEADERS, 0)
    struct.pack_into("<HH", stripped, _SECTION_HEADER_COUNT, 0, 0)  # their number, and the one with their names
    return bytes(stripped)
