"""The operator's command on a large table: it stays quick, and its memory does not grow with the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bulk import PATTERN, fill
from tests.support.operating import create_table, environment
from tools.emulation.engines import Engine

pytestmark = pytest.mark.one_engine

MOST_MEGABYTES = 200
CPU_SECONDS_A_THOUSAND = {"list": 1.7, "verify": 2.2, "export": 8.6, "import": 11.8}
"""For a thousand sessions: four times what docs/operating.md tells, so that slow machines pass and loops do not."""


LAUNCHER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def measured(where: dict[str, str], *arguments: str) -> tuple[float, float, float]:
    """Run the command: seconds, its processor seconds, and the most memory in MB."""
    began = time.monotonic()
    command = [sys.executable, "-m", "openai_agents_session.cli", *arguments]
    # A process's peak counts what its parent had when it was forked: a small one stands in between.
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command], env=os.environ | where, stdout=subprocess.PIPE, check=True
    )
    returncode, processor, kilobytes = json.loads(launched.stdout)
    assert returncode == 0, arguments
    return time.monotonic() - began, processor, kilobytes / 1024


@pytest.mark.timeout(1_800)
async def test_a_large_table_is_read_and_moved_quickly_in_little_memory(
    request: pytest.FixtureRequest,
    start_engine: Callable[[str], Engine],
    connect: Callable[..., Any],
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    """Of a table of 20,000 sessions (1,000 without --exhaustive) each command takes what it may, and under 200 MB."""
    count = 20_000 if request.config.getoption("--exhaustive") else 1_000
    engine = start_engine("dynoxide")
    client = await connect(engine.endpoint_url)
    figures: list[str] = []
    tables = [f"large-{os.getpid()}", f"copy-{os.getpid()}"]
    for name in tables:
        await create_table(client, name)
    try:
        await fill(client, tables[0], count)
        where = environment(engine.endpoint_url, tables[0])
        file = str(tmp_path / "large.jsonl")
        for command, arguments in {
            "list": ["--limit", "0"],
            "verify": [],
            "export": ["--all", "-o", file],
            "import": [file, "--table", tables[1]],
        }.items():
            seconds, processor, megabytes = measured(where, command, *arguments)
            figures.append(f"{command} {seconds:.1f} s, processor {processor:.1f} s, {megabytes:.0f} MB")
            assert megabytes < MOST_MEGABYTES
            assert processor < 3 + CPU_SECONDS_A_THOUSAND[command] * count / 1_000
        record_property("sample", f"{count:,} sessions: {'; '.join(figures)}")
        lines = Path(file).read_text().splitlines()
        items = count // len(PATTERN) * sum(PATTERN)
        assert lines[-1] == f'{{"exported": {{"sessions": {count}, "items": {items}}}}}'
    finally:
        for name in tables:
            await client.delete_table(TableName=name)
