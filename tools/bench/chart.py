"""Draws cost a turn against the length of the conversation, as SVG written by hand. Pure: runs in, text out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tools.bench import contenders
from tools.bench.contenders import Contender
from tools.bench.runner import Run

WIDTH, HEIGHT = 1040, 560
LEFT, RIGHT, TOP, BOTTOM = 84, 322, 76, 62
LABEL_HEIGHT = 17
FIRST, LARGEST = 5, 1_000
"""Turns shown; the first few say little of a long conversation."""

MILLION = 1_000_000

_FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""
_INK, _SOFT, _GRID = "#1f2328", "#59636e", "#d8dee4"


@dataclass(frozen=True)
class Line:
    """One contender's costs.

    Attributes:
        contender: Whose.
        points: Turns, and dollars per million turns of a conversation that long.
        ended: The turn that did not go through, or None.
    """

    contender: Contender
    points: list[tuple[int, float]]
    ended: int | None

    @property
    def last(self) -> tuple[int, float]:
        """Where it ends."""
        return self.points[-1]

    @property
    def label(self) -> str:
        """What stands at its end."""
        _, dollars = self.last
        if self.ended:
            return f"{self.contender.label}: ends at turn {self.ended}"
        return f"{self.contender.label}: ${dollars:.2f}" if dollars < 100 else f"{self.contender.label}: ${dollars:.0f}"


@dataclass(frozen=True)
class Scale:
    """Where a value stands: turns from left to right, dollars from bottom to top by their logarithm."""

    lowest: float
    highest: float

    def x(self, turns: float) -> float:
        """Pixels from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * turns / LARGEST

    def y(self, dollars: float) -> float:
        """Pixels from the top."""
        share = math.log(dollars / self.lowest) / math.log(self.highest / self.lowest)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def draw(runs: Sequence[Run]) -> str:
    """The chart of the chat workload."""
    lines = sorted(_lines(runs), key=lambda line: line.last[1], reverse=True)
    values = [dollars for line in lines for _, dollars in line.points]
    scale = Scale(10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values))))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {_FONT} font-size="13">',
        "<title>Cost of a turn against the length of the conversation, on a logarithmic scale</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        _text(LEFT, 32, "What a turn costs, by the length of the conversation", size=18, weight="600"),
        _text(LEFT, 54, "Dollars per million turns of chat (1.25 KB each), read and write units on demand", _SOFT),
        *_axes(scale),
        *(_curve(line, scale) for line in reversed(lines)),
        *_labels(lines, scale),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(runs: Sequence[Run]) -> Iterator[Line]:
    by_name = {run.contender: run for run in runs if run.workload == "chat"}
    for contender in contenders.ALL:
        run = by_name.get(contender.name)
        if run and len(run.turns) >= FIRST and contender.in_chart:
            total = itertools.accumulate(turn.bill.dollars() for turn in run.turns)
            means = [(turns, dollars * MILLION / turns) for turns, dollars in enumerate(total, 1)]
            points = means[FIRST - 1 :]
            yield Line(contender, points, len(run.turns) + 1 if run.failure else None)


def _axes(scale: Scale) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for exponent in range(round(math.log10(scale.lowest)), round(math.log10(scale.highest)) + 1):
        y = scale.y(10**exponent)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield _text(LEFT - 10, y + 4.5, f"${10**exponent:,g}", _SOFT, anchor="end")
    for turns in range(0, LARGEST + 1, 200):
        x = scale.x(turns)
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="{_SOFT}"/>'
        yield _text(x, bottom + 21, f"{turns:,}", _SOFT, anchor="middle")
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="{_SOFT}"/>'
    yield _text((LEFT + right) / 2, bottom + 45, "turns in the conversation", _SOFT, anchor="middle")


def _curve(line: Line, scale: Scale) -> str:
    points = " ".join(f"{scale.x(turns):.1f},{scale.y(dollars):.1f}" for turns, dollars in _thinned(line.points))
    dash = f' stroke-dasharray="{line.contender.dash}"' if line.contender.dash else ""
    width = 3 if line.contender in contenders.OURS else 2
    style = f'fill="none" stroke="{line.contender.colour}" stroke-width="{width}" stroke-linejoin="round"{dash}'
    return f'<polyline points="{points}" {style}/>' + (_cross(line, scale) if line.ended else "")


def _thinned(points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Every point at the start, then about one a pixel and a half, and the last."""
    for turns, dollars in points:
        if turns <= 20 or turns % 3 == 0 or turns == points[-1][0]:
            yield turns, dollars


def _cross(line: Line, scale: Scale) -> str:
    x, y = scale.x(line.last[0]), scale.y(line.last[1])
    path = f"M{x - 5:.1f},{y - 5:.1f} l10,10 M{x - 5:.1f},{y + 5:.1f} l10,-10"
    return f'<path d="{path}" stroke="{line.contender.colour}" stroke-width="2.5"/>'


def _labels(lines: Sequence[Line], scale: Scale) -> Iterator[str]:
    """A label at the end of each line, moved down where it would lie on the one above."""
    free: dict[bool, float] = {True: 0.0, False: 0.0}
    for line in lines:
        reaches = line.ended is None
        y = max(scale.y(line.last[1]) - (0 if reaches else 7), free[reaches] + LABEL_HEIGHT)
        free[reaches] = y
        yield _text(scale.x(line.last[0]) + 12, y + 4.5, line.label, line.contender.colour, weight="600")


def _text(
    x: float, y: float, text: str, colour: str = _INK, *, anchor: str = "start", size: int = 13, weight: str = "400"
) -> str:
    style = f'fill="{colour}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    halo = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style} {halo}>{escape(text)}</text>'
