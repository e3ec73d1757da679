"""Files of sessions: read in whatever encoding they have, written whole or under another name."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import interrupt
from .transfer import TransferError

STDIN_OR_STDOUT = Path("-")

_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_NOT_WHOLE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_PEEK_BYTES = 16
_BUFFER_BYTES = 1 << 16


# --- reading ---------------------------------------------------------------------------------------------------------


class Source:
    """The lines of a file, and how far they were read.

    Args:
        raw: The file, open for bytes.
        size: Of the file in bytes, or None where nobody knows.
    """

    def __init__(self, raw: Any, size: int | None) -> None:
        self._raw = raw
        self.size = size
        self._text = _text(_unpacked(raw))
        self.lines = _lines(self._text)

    def close(self) -> None:
        """Let go of the file, without closing it."""
        with contextlib.suppress(OSError, ValueError):
            self._text.detach()

    def position(self) -> int:
        """How many bytes of the file have been read."""
        return 0 if self.size is None else int(self._raw.tell())


@contextmanager
def reading(path: Path) -> Iterator[Source]:
    """A file of lines: UTF-8, UTF-16 or UTF-32, with or without a byte order mark, compressed or not.

    Args:
        path: The file; ``-`` for stdin.

    Raises:
        OSError: It cannot be read.
        TransferError: Also from the lines: it is not text, or its compressed form was cut off.
    """
    with contextlib.ExitStack() as stack:
        raw, size = sys.stdin.buffer, None
        if path != STDIN_OR_STDOUT:
            with interrupt.at_once():
                raw = stack.enter_context(path.open("rb"))  # of a pipe this waits for who writes to it
            size = path.stat().st_size if path.is_file() else None
        source = Source(raw, size)
        stack.callback(source.close)
        yield source


def _unpacked(raw: Any) -> Any:
    source = _peeked(raw)
    opening = next((found for magic, found in _COMPRESSED.items() if source.head.startswith(magic)), None)
    return source.stream if opening is None else opening(source.stream)


@dataclass(frozen=True, slots=True)
class _Peeked:
    """A stream, and its beginning."""

    stream: Any
    head: bytes


def _peeked(stream: Any) -> _Peeked:
    """Look at the beginning of a stream, which may be a pipe."""
    buffered = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    with interrupt.at_once():
        return _Peeked(buffered, buffered.peek(_PEEK_BYTES)[:_PEEK_BYTES])


def _text(packed: Any) -> io.TextIOWrapper:
    try:
        source = _peeked(packed)
    except _NOT_WHOLE as error:
        raise TransferError(f"the compressed file is damaged or was cut off ({error})") from error
    encoding = json.detect_encoding(source.head)  # as json.loads does
    return io.TextIOWrapper(source.stream, encoding=encoding)


def _lines(source: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while True:
        try:
            with interrupt.at_once():
                line = source.readline()
        except UnicodeError as error:
            raise TransferError(
                f"after line {number}: the file is not text in UTF-8 or UTF-16 ({error}). Is it a file that export "
                "wrote?"
            ) from error
        except _NOT_WHOLE as error:
            raise TransferError(
                f"after line {number}: the compressed file is damaged or was cut off ({error})"
            ) from error
        if not line:
            return
        number += 1
        yield line


# --- writing ---------------------------------------------------------------------------------------------------------


class Sink:
    """Lines that go to a file, in UTF-8.

    A file gets its name once it is whole; until then it is called ``FILE.part``. What is no file, such as a pipe, is
    written to directly.

    Args:
        path: The file; ``-`` for stdout.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve() if path != STDIN_OR_STDOUT else path
        self.part: Path | None = None
        if path == STDIN_OR_STDOUT:
            sys.stdout.flush()
            self._file: Any = sys.stdout.buffer
        elif path.exists() and not path.is_file():
            self._file = path.open("wb")
        else:
            self.part = self._path.with_name(f"{self._path.name}.part")
            self._file = _locked(self.part)

    def write(self, lines: list[str]) -> None:
        """Write lines, all of them or, where that fails, none that anybody takes for whole."""
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def done(self) -> None:
        """The file is whole: give it its name. Raises ``OSError`` when it could not be written."""
        self._file.flush()
        if self.part is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self.part.replace(self._path)
            self.part = None

    def close(self, *, keep: bool) -> None:
        """Close it.

        Args:
            keep: Whether what was written so far stays, under the name that says that it is a part.
        """
        if self._path == STDIN_OR_STDOUT:
            return
        with contextlib.suppress(OSError):
            self._file.close()
        if self.part is not None and not keep:
            self.part.unlink(missing_ok=True)


def _locked(part: Path) -> Any:
    """The file, open and empty, and nobody else's: two exports to one file would mix their lines."""
    file = part.open("ab", buffering=_BUFFER_BYTES)
    try:
        _lock(file, part)
        file.truncate(0)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: Any, part: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows does not let two write one file anyway
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransferError(f"{part}: another export is writing this file") from error
