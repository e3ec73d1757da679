"""The picture of a start is of what was measured."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tools.bench_layer import picture
from tools.bench_layer.profiled import TURN

PROFILES = {
    "as published": {"mcp": (0.2, 10e6), "mcp_types": (0.1, 5e6), "openai": (0.3, 20e6), "json": (0.05, 1e6)},
    "the <layer>": {"openai": (0.2, 10e6), TURN: (0.1, 12e6), "asyncio": (0.05, -1e5)},
}


def test_the_picture_shows_every_group_and_the_sum_of_each_row() -> None:
    drawn = picture.draw(PROFILES)
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]  # noqa: S314 - our own
    assert {"as published", "the <layer>", "MCP", "first turn"} <= set(texts)
    assert {"650", "350", "36", "22"} <= set(texts), "milliseconds and megabytes of each row"
    assert texts.count("300") == 2, "MCP's packages as one, and openai's"


def test_bars_are_as_long_as_what_they_stand_for_and_none_is_negative() -> None:
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="30"', picture.draw(PROFILES))]
    groups = len(picture.GROUPS) + 1
    assert len(widths) == 4 * groups
    time_as_published, time_of_the_layer = sum(widths[:groups]), sum(widths[groups : 2 * groups])
    assert round(time_of_the_layer / time_as_published, 2) == round(350 / 650, 2)
