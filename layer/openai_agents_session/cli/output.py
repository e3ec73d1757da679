"""Where results, notes and progress go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

_PIPED_WIDTH = 160
"""Columns of a table that no terminal bounds."""


class Output:
    """What one command prints.

    Args:
        as_json: Whether results are for machines.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._results = _console(stderr=False)
        self._notes = _console(stderr=True)

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._results.width

    def result(self, renderable: RenderableType, data: Any) -> None:
        """Print a result: for people, or the data as one line of JSON."""
        if self.as_json:
            self.line(json.dumps(plain(data)))
        else:
            self._results.print(renderable)

    def line(self, text: str) -> None:
        """Print a line as it is."""
        typer.echo(text)

    def note(self, text: str, style: str = "dim") -> None:
        """Say something beside the result; not to machines."""
        if not self.as_json:
            self._notes.print(Text(text, style=style, overflow="fold"))

    def error(self, text: str, kind: str) -> None:
        """Say what went wrong."""
        if self.as_json:
            typer.echo(json.dumps({"error": text, "kind": kind}), err=True)
        else:
            self._notes.print(Text.assemble(("error: ", "bold red"), text, overflow="fold"))

    def confirmed(self, question: str, *, yes: bool) -> bool:
        """Whether to go on: already said on the command line, or asked now."""
        return yes or typer.confirm(question, err=True)

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Shows how many there have been, while nobody knows how many there will be."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,.0f}"),
            TimeElapsedColumn(),
        )
        with self._progress(*columns) as progress:
            task = progress.add_task(what, total=None)
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def advancing(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows how many of so many are done."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeElapsedColumn(),
        )
        with self._progress(*columns) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)

    def _progress(self, *columns: Any) -> Progress:
        disabled = self.as_json or not self._notes.is_terminal
        return Progress(*columns, console=self._notes, transient=True, disable=disabled)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED_WIDTH)
    return console


def plain(data: Any) -> Any:
    """Data that json can print."""
    if is_dataclass(data) and not isinstance(data, type):
        return plain(asdict(data))
    if isinstance(data, dict):
        return {name: plain(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    return data
