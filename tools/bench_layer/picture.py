"""Draws where the time and the memory of a start go, as SVG written by hand. Pure: profiles in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from tools.bench_layer.profiled import TURN

Profile = Mapping[str, tuple[float, float]]

WIDTH, LEFT, RIGHT = 1040, 250, 60
BAR, GAP, PANEL_TOP = 30, 14, 96
INK, SOFT = "#1f2328", "#59636e"
NARROWEST_LABEL = 34

_OF_MCP = "starlette uvicorn sse_starlette click jwt cryptography jsonschema referencing rpds opentelemetry"

# Colour and packages.
GROUPS = {
    "MCP": ("#cf222e", f"mcp mcp_types {_OF_MCP}"),
    "openai": ("#0969da", "openai httpx2 httpcore2 h11 anyio jiter truststore"),
    "agents": ("#8250df", "agents griffe"),
    "pydantic": ("#bf8700", "pydantic pydantic_core annotated_types typing_inspection"),
    "aiohttp": ("#1a7f37", "aiohttp attr yarl multidict frozenlist propcache aiosignal"),
    "botocore": ("#bc4c00", "botocore aiobotocore urllib3 dateutil jmespath aioitertools wrapt"),
    "Powertools": ("#3192aa", "aws_lambda_powertools aws_xray_sdk"),
    "this project": ("#1f2328", "openai_agents_session app agent models"),
    "first turn": ("#6e7781", TURN),
}
REST = ("Python, and the rest", "#afb8c1")
_GROUP_OF = {package: name for name, (_, packages) in GROUPS.items() for package in packages.split()}


def draw(profiles: Mapping[str, Profile]) -> str:
    """The picture.

    Args:
        profiles: By name of the row, processor seconds and bytes by package.
    """
    panel = len(profiles) * (BAR + GAP) + 50
    height = PANEL_TOP + 2 * panel + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Processor time and memory of a cold start and its first turn, by package</title>",
        "<style>text { font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; } "
        ".head { font-size: 18px; font-weight: 600; } .in { fill: #ffffff; text-anchor: middle; }</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="24" y="34" class="head" fill="{INK}">Where the time and the memory of a start go</text>',
        f'<text x="24" y="56" fill="{SOFT}">Each package without what it imports in turn</text>',
        *_panel("processor time, ms", {name: _grouped(each, 0, 1e-3) for name, each in profiles.items()}, PANEL_TOP),
        *_panel("memory, MB", {name: _grouped(each, 1, 1e6) for name, each in profiles.items()}, PANEL_TOP + panel),
        *_legend(height - 26),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grouped(profile: Profile, index: int, unit: float) -> dict[str, float]:
    """One figure by group, in a unit, in the order of the groups."""
    sums = dict.fromkeys([*GROUPS, REST[0]], 0.0)
    for package, figures in profile.items():
        sums[_GROUP_OF.get(package, REST[0])] += figures[index] / unit
    return sums


def _panel(title: str, rows: Mapping[str, Mapping[str, float]], top: float) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / max(sum(row.values()) for row in rows.values())
    yield f'<text x="24" y="{top:.0f}" fill="{SOFT}">{title}</text>'
    for number, (name, row) in enumerate(rows.items()):
        y = top + 14 + number * (BAR + GAP)
        yield f'<text x="24" y="{y + 20:.0f}" fill="{INK}">{escape(name)}</text>'
        yield from _bar(row, y, scale)


def _bar(row: Mapping[str, float], y: float, scale: float) -> Iterator[str]:
    x = float(LEFT)
    for group, figure in row.items():
        width = max(figure, 0) * scale
        colour = GROUPS[group][0] if group in GROUPS else REST[1]
        yield f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
        if width > NARROWEST_LABEL:
            yield f'<text x="{x + width / 2:.1f}" y="{y + 20:.0f}" class="in">{figure:.0f}</text>'
        x += width
    yield f'<text x="{x + 8:.1f}" y="{y + 20:.0f}" fill="{INK}">{sum(row.values()):.0f}</text>'


def _legend(y: float) -> Iterator[str]:
    x = 24.0
    for name, colour in [*((name, colour) for name, (colour, _) in GROUPS.items()), REST]:
        yield f'<rect x="{x:.0f}" y="{y - 11:.0f}" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 17:.0f}" y="{y:.0f}" fill="{INK}">{escape(name)}</text>'
        x += 34 + 7.2 * len(name)
