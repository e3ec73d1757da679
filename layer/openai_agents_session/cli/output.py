"""Where results, notes and progress go: results to stdout, everything else to stderr.

Nothing here fails because of an encoding: what the terminal's has no character for is written in ASCII.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from . import interrupt, words

_UNBOUNDED = 100_000
"""Columns where nothing bounds them: what reads a pipe wants each entry on one line."""

_IN_ASCII = {
    "→": "->",
    "←": "<-",
    "…": "...",
    "✓": "ok",
    "✗": "x",
    "–": "-",
    "━": "-",
    "\N{REPLACEMENT CHARACTER}": "?",
}
_ERRORS = "in-ascii"


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    shown = (_IN_ASCII.get(character) or _escaped(character) for character in missing)
    return "".join(shown), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


codecs.register_error(_ERRORS, _in_ascii)


def write_anything() -> None:
    """Let the standard streams write every text, whatever their encoding is."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)


class Output:
    """What one command prints.

    Args:
        as_json: Whether results are for machines.
    """

    def __init__(self, *, as_json: bool) -> None:
        write_anything()
        self.as_json = as_json
        self._results = _console(stderr=False)
        self._notes = _console(stderr=True)

    @property
    def width(self) -> int:
        """Columns of the terminal that shows results."""
        return self._results.width

    @property
    def encoding(self) -> str:
        """Of the terminal that shows notes."""
        return self._notes.encoding

    def result(self, renderable: RenderableType, data: Any) -> None:
        """Print a result: for people, or the data as one line of JSON."""
        if self.as_json:
            self.line(json_line(data))
        else:
            self._results.print(Group(renderable), crop=False)  # a bare Text would be wrapped

    def results(self, renderables: Iterable[RenderableType]) -> None:
        """Print results for people one after the other, however many there are."""
        for renderable in renderables:
            self._results.print(Group(renderable), crop=False)  # a bare Text would be wrapped

    def line(self, text: str) -> None:
        """Print a line as it is."""
        sys.stdout.write(f"{text}\n")

    def stored(self, value: Any) -> None:
        """Print a stored value as a line of JSON: with its own characters where these can be shown."""
        text = json.dumps(value, ensure_ascii=False)
        self.line(text if words.is_showable(text, self._results.encoding) else json.dumps(value))

    def note(self, text: str, style: str = "dim") -> None:
        """Say something beside the result; not to machines."""
        if not self.as_json:
            self._notes.print(Text(text, style=style), soft_wrap=True)  # the terminal wraps: no id is broken

    def aside(self, renderable: RenderableType) -> None:
        """Show something beside the result, for a person who is asked about it."""
        self._notes.print(Group(renderable), crop=False)

    def error(self, text: str, kind: str) -> None:
        """Say what went wrong."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": text, "kind": kind}) + "\n")
        else:
            self._notes.print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)

    def flush(self) -> None:
        """Write out what was printed. Raises ``OSError`` when that cannot be done, as on a full disk."""
        sys.stdout.flush()

    def confirmed(self, question: str, *, yes: bool, word: str | None = None) -> bool:
        """Whether to go on: already said on the command line, or asked now.

        Args:
            question: What to ask.
            yes: Whether it was said on the command line.
            word: What has to be typed; None for y.
        """
        if yes:
            return True
        self.flush()
        with interrupt.at_once():
            sys.stderr.write(f"{question} {f'Type {word} to go on' if word else '[y/N]'}: ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            sys.stderr.write("\n")
        said = answer.strip().lower()
        return said.replace(",", "") == word if word else said in {"y", "yes"}

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Shows how many there have been, while nobody knows how many there will be."""
        columns = (
            SpinnerColumn("line"),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,.0f}"),
            TimeElapsedColumn(),
        )
        with self._progress(*columns) as progress:
            task = progress.add_task(what, total=None)
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def advancing(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows how many of so many are done, and the time left."""
        columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"), *_LEFT)
        with self._progress(*columns) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def reading(self, what: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """Shows how far into a file of so many bytes one is, and the time left."""
        columns = (TextColumn("{task.description}"), DownloadColumn(), *_LEFT)
        with self._progress(*columns) as progress:
            task = progress.add_task(what, total=size)
            yield lambda position: progress.update(task, completed=position)

    def _progress(self, *columns: Any) -> Progress:
        disabled = self.as_json or not self._notes.is_terminal
        return Progress(*columns, console=self._notes, transient=True, disable=disabled, refresh_per_second=4)


_LEFT = (BarColumn(), TimeRemainingColumn(), TextColumn("left"))


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        console.width = _UNBOUNDED
    return console


def json_line(data: Any) -> str:
    """Data as a line of JSON, in ASCII: it can be printed everywhere."""
    return json.dumps(plain(data))


def plain(data: Any) -> Any:
    """Data that json can print."""
    if is_dataclass(data) and not isinstance(data, type):
        return plain(asdict(data))
    if isinstance(data, dict):
        return {name: plain(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    return data
