"""Write what was measured as a page: docs/bench-layer.md."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version

from tools.bench_layer.measure import PROFILES, TURNS, WARM_TURNS, Cold, Warm, median
from tools.layers.assemble import Target

MB = 1e6
_COLD_HEAD = (
    "layer",
    "cold start to first answer, s",
    "of that processor time, s",
    "imports, s",
    "with an MCP server, s",
    f"peak memory after {TURNS} turns, MB",
)
Row = tuple[str, ...]


def page(
    target: Target, rounds: int, cold: dict[str, Cold], warm: dict[str, Warm], sizes: dict[str, tuple[int, int]]
) -> str:
    """The whole page.

    Args:
        target: What was measured, for which runtime.
        rounds: Fresh processes each.
        cold: Starts, by contender; ours is "ours", and the floor begins with "floor".
        warm: Turns on a kept client and on one an invocation.
        sizes: Bytes unzipped and zipped of our layers, by target, and of the other contenders.
    """
    return f"""# What the layer costs at a start, and in a warm turn

Written by `make bench-layer`. Python {target.python} on {target.arch}, {os.cpu_count()} cores, openai-agents
{version("openai-agents")}, aiobotocore {version("aiobotocore")}. Medians of {rounds} fresh processes each, started
in turn, so that all met the same machine; after a round that is not counted. The function runs in Lambda's runtime
client behind the Runtime Interface Emulator, with the offline model, on a DynamoDB engine on loopback. Nothing may
write bytecode there, as nothing can in /opt.

## Targets

{_table(("measure", "target", "measured", ""), _targets(cold, warm, sizes))}

The stock build is the one of SAM's own two that starts faster. The floor is a handler that does nothing, after
importing `agents` and `aiobotocore` from bytecode: it answers no message and has no table. A plain
`pip install --target`, which writes bytecode of everything, starts as fast as the floor and is a third larger.

## Cold

{_table(_COLD_HEAD, _cold_rows(cold))}

Imports: `agents`, `aiobotocore` and `aws_lambda_powertools` in a bare interpreter. With an MCP server: the imports of
`Agent` and `MCPServerStreamableHttp` there, and an agent made of them. Processor time is that of the runtime's process;
other work on the machine stretches the rest.

![Where the time and the memory of a start go](bench-layer.svg)

Each package's own share of the function's imports, and what the first turn adds: medians of {PROFILES} processes each,
whose loaders count processor time and resident memory around every module, without what that imports in turn. The
packages as published are those of `pip install --target`, which compiles them.

What is missing from the layer's bars is loaded when it is first used: `layer/deferred.toml` names each module that the
build rewrites for it, and only where its content is known. From outside these modules are as they were:
`tests/e2e/test_layer_deferred.py` compares names, objects, type hints and pickles with the stock packages, uses them
first from sixteen threads, and forks before, amid and after; `tests/e2e/test_sdk_on_layer.py` runs openai-agents' own
tests of MCP and of saved runs on both.

## Sizes

{_table(("layer", "unzipped, MB", "zip, MB"), _size_rows(sizes))}

## Warm

{WARM_TURNS} turns in each environment, after some that are not counted; the model takes no time.

{_table(("client", "median turn, ms", "connections opened", "service models loaded"), _warm_rows(warm))}
"""


def _targets(cold: dict[str, Cold], warm: dict[str, Warm], sizes: dict[str, tuple[int, int]]) -> Iterable[Row]:
    ours, floor = cold["ours"], next(figures for name, figures in cold.items() if name.startswith("floor"))
    builds = [figures for name, figures in cold.items() if name.startswith("sam build")]
    stock = min(builds, key=lambda figures: median(figures.first_answer))
    full = [size for name, size in sizes.items() if name.startswith("ours, full")]
    kept, per_invocation = warm["kept"], warm["per_invocation"]
    first, processor = median(ours.first_answer), median(ours.processor)
    yield _row("cold start to first answer, against the stock build", 0.38, first / median(stock.first_answer))
    yield _row("the same in processor time", 0.38, processor / median(stock.processor))
    yield _row("cold start to first answer, against the floor", 0.85, first / median(floor.first_answer))
    yield _row("the same in processor time", 0.85, processor / median(floor.processor))
    with_mcp = median(ours.with_mcp) / min(median(figures.with_mcp) for figures in builds)
    yield _row("import of an agent with an MCP server, against the stock build", 0.55, with_mcp)
    yield _row("peak memory, against the floor", 0.95, median(ours.peak_memory) / median(floor.peak_memory))
    yield _row("larger architecture, unzipped, MB", 105, max(unzipped for unzipped, _ in full) / MB)
    yield _row("the same, zip, MB", 46, max(zipped for _, zipped in full) / MB)
    yield _row(
        "warm turn, against a client an invocation",
        0.2,
        median(kept.milliseconds) / median(per_invocation.milliseconds),
    )
    yield _row("connections opened and models loaded in warm turns", 0, kept.connections + kept.models)


def _row(measure: str, target: float, measured: float) -> Row:
    return (
        measure,
        f"at most {target:g}",
        f"{measured:.2f}".removesuffix(".00"),
        "yes" if measured <= target else "**no**",
    )


def _cold_rows(cold: dict[str, Cold]) -> Iterable[Row]:
    for name, figures in cold.items():
        seconds = (figures.first_answer, figures.processor, figures.imports, figures.with_mcp)
        yield name, *(f"{median(each):.2f}" for each in seconds), f"{median(figures.peak_memory) / MB:.0f}"


def _size_rows(sizes: dict[str, tuple[int, int]]) -> Iterable[Row]:
    return ((name, f"{unzipped / MB:.1f}", f"{zipped / MB:.1f}") for name, (unzipped, zipped) in sizes.items())


def _warm_rows(warm: dict[str, Warm]) -> Iterable[Row]:
    names = {"kept": "ours, kept by the environment", "per_invocation": "one made for each invocation"}
    for key, figures in warm.items():
        yield names[key], f"{median(figures.milliseconds):.1f}", str(figures.connections), str(figures.models)


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
