"""Who takes part, and in which environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENTS = ROOT / ".work" / "envs"


@dataclass(frozen=True)
class Contender:
    """One way to keep a conversation.

    Attributes:
        name: Short, for files and the command line.
        title: For the report.
        label: For the chart.
        environment: Folder of the Python environment that it runs in.
        worker: Module that does its turns.
        options: The contender's own, given to the worker.
        colour: In the chart.
        dash: Of its line in the chart, as SVG's stroke-dasharray; empty for a solid line.
        in_chart: Whether the chart shows it.
    """

    name: str
    title: str
    label: str
    environment: Path
    worker: str
    colour: str
    options: Mapping[str, Any] = field(default_factory=dict)
    dash: str = ""
    in_chart: bool = True

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        return self.environment / "bin" / "python"

    @property
    def is_there(self) -> bool:
        """Whether its environment was made."""
        return self.python.exists()


_OURS = Path(sys.prefix)  # the developer's environment, which this program runs in
_BLUE, _RED, _AMBER, _GREEN, _GREY = "#1f6feb", "#cf222e", "#b8860b", "#1a7f37", "#6e7781"

WARM = Contender(
    "warm", "this library, segments cached", "this library, segments cached", _OURS, "sessions", _BLUE, {"cache": True}
)
COLD = Contender(
    "cold",
    "this library, nothing cached",
    "this library, nothing cached",
    _OURS,
    "sessions",
    _BLUE,
    {"cache": False},
    dash="7 4",
)
REFERENCE = Contender(
    "reference",
    "openai-agents-session 0.1.0",
    "openai-agents-session 0.1.0",
    _ENVIRONMENTS / "bench-reference",
    "sessions",
    _RED,
)
STRANDS = Contender(
    "strands",
    "strands-dynamodb-storage 0.2.0",
    "strands-dynamodb-storage 0.2.0",
    _ENVIRONMENTS / "bench-strands",
    "strands",
    _AMBER,
)
STRANDS_TUNED = Contender(
    "strands-gzip",
    "the same, compression on",
    "strands, compression on",
    _ENVIRONMENTS / "bench-strands",
    "strands",
    _AMBER,
    {"compression": "gzip"},
    dash="7 4",
)
LANGGRAPH = Contender(
    "langgraph",
    "langgraph-checkpoint-aws 1.2.6",
    "langgraph-checkpoint-aws 1.2.6",
    _ENVIRONMENTS / "bench-langgraph",
    "langgraph",
    _GREEN,
)
LANGGRAPH_TUNED = Contender(
    "langgraph-tuned",
    "the same, compression on, durability “exit”",
    "langgraph, compression, “exit”",
    _ENVIRONMENTS / "bench-langgraph",
    "langgraph",
    _GREEN,
    {"enable_checkpoint_compression": True, "durability": "exit"},
    dash="7 4",
)
FLOOR = Contender("floor", "floor: each batch once, one read", "floor", _OURS, "floor", _GREY, dash="2 3")
FLOOR_DEFLATED = Contender(
    "floor-deflated",
    "floor, each batch deflated",
    "floor, deflated",
    _OURS,
    "floor",
    _GREY,
    {"deflate": True},
    in_chart=False,
)

ALL = (WARM, COLD, REFERENCE, STRANDS, STRANDS_TUNED, LANGGRAPH, LANGGRAPH_TUNED, FLOOR, FLOOR_DEFLATED)
OURS = (WARM, COLD)
FLOORS = (FLOOR, FLOOR_DEFLATED)
