"""Tables and lines that fit any width. An id is never cut or broken: what is beside it yields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.text import Text

from .words import identity, printable

_GAP = 2


def text(value: str, style: str = "") -> Text:
    """Text of a stranger's making, to be wrapped."""
    return Text(printable(value), style=style, overflow="fold")


def unbroken(value: str, style: str = "") -> Text:
    """An id: on one line, however narrow the terminal is."""
    return Text(identity(value), style=style, no_wrap=True, overflow="ignore")


def one_line(value: str, style: str = "") -> Text:
    """Text of a stranger's making that takes one line, to be wrapped where that is too long."""
    return Text(identity(value), style=style, overflow="fold")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: What stands above it.
        label: How a value of it reads where there is no title: ``"expires {}"``.
        right: Whether its values stand to the right.
        is_id: Whether its values must stay whole.
        is_spare: Whether it may be left out, as another column says the same.
    """

    title: str
    label: str = "{}"
    right: bool = False
    is_id: bool = False
    is_spare: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table; where the width is too small for it, a few lines for each row.

    Attributes:
        columns: Its columns, of which the first is an id.
        rows: A text for each column.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Its lines."""
        return self.lines(options.max_width)

    def lines(self, width: int) -> Iterator[RenderableType]:
        """Its lines: a table, without what can be spared, or else some for each row."""
        widths = [self._width(number) for number in range(len(self.columns))]
        for shown in (range(len(self.columns)), [n for n, c in enumerate(self.columns) if not c.is_spare]):
            if sum(widths[number] + _GAP for number in shown) - _GAP <= width:
                return self._table(list(shown), widths)
        return (line for row in self.rows for line in self._apart(row))

    def _width(self, number: int) -> int:
        return max(cell_len(self.columns[number].title), *(row[number].cell_len for row in self.rows), 0)

    def _table(self, shown: Sequence[int], widths: Sequence[int]) -> Iterator[RenderableType]:
        yield self._line([Text(column.title, style="bold") for column in self.columns], shown, widths)
        for row in self.rows:
            yield self._line(row, shown, widths)

    def _line(self, cells: Sequence[Text], shown: Sequence[int], widths: Sequence[int]) -> Text:
        line = Text(no_wrap=True, overflow="ignore")
        for number in shown:
            room = " " * (widths[number] - cells[number].cell_len)
            line.append_text(Text(room) if self.columns[number].right else cells[number])
            line.append_text(cells[number] if self.columns[number].right else Text(room))
            line.append(" " * _GAP)
        line.rstrip()
        return line

    def _apart(self, row: Sequence[Text]) -> Iterator[RenderableType]:
        ids = [cell for cell, column in zip(row, self.columns, strict=True) if column.is_id and cell.plain]
        yield _whole(ids[0], 0)
        for other in ids[1:]:
            if other.plain != ids[0].plain:
                yield _whole(other, _GAP)
        said = Text("  ").join(
            Text.assemble(*_labelled(column.label, cell))
            for cell, column in zip(row, self.columns, strict=True)
            if not column.is_id and cell.plain and not column.is_spare
        )
        said.overflow = "fold"
        if said.plain:
            yield Padding(said, (0, 0, 0, _GAP), expand=False)


def _labelled(label: str, cell: Text) -> tuple[str, Text, str]:
    before, _, after = label.partition("{}")
    return before, cell, after


def _whole(cell: Text, indent: int) -> Text:
    return Text.assemble(" " * indent, cell, no_wrap=True, overflow="ignore")


@dataclass(frozen=True, slots=True)
class Titled:
    """A line about an id; where the width is too small for it, the id on a line of its own and the rest below.

    Attributes:
        name: The id.
        rest: What is said of it.
        mark: What stands before it.
        style: Of the id.
    """

    name: str
    rest: Text
    mark: Text | str = ""
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """One line, or the id and what is said."""
        title = Text.assemble(self.mark, unbroken(self.name, self.style), no_wrap=True, overflow="ignore")
        if title.cell_len + self.rest.cell_len <= options.max_width:
            yield Text.assemble(title, self.rest, no_wrap=True, overflow="ignore")
            return
        yield title
        rest = self.rest.copy()
        rest.overflow, rest.no_wrap = "fold", False
        rest = rest[_leading(rest.plain) :]
        yield Padding(rest, (0, 0, 0, _GAP), expand=False)


def _leading(plain: str) -> int:
    return len(plain) - len(plain.lstrip(": "))


@dataclass(frozen=True, slots=True)
class Trailed:
    """A text with an id behind it; where the width is too small for both, the id on a line of its own.

    Attributes:
        text: What is said.
        name: The id.
        indent: Where the id begins on its own line.
    """

    text: Text
    name: str
    indent: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """One line, or the text and the id."""
        name = unbroken(self.name, "dim")
        if "\n" not in self.text.plain and self.text.cell_len + _GAP + name.cell_len <= options.max_width:
            yield Text.assemble(self.text, " " * _GAP, name, no_wrap=True, overflow="ignore")
        else:
            yield self.text
            yield _whole(name, self.indent)
