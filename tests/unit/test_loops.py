"""Closing the event loop leaves nothing behind, also when the interpreter ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from openai_agents_session._loops import close_runner
from tools import interpreters

LAYER = Path(__file__).resolve().parents[2] / "layer"

# The module alone, since the library's dependencies are not installed for every interpreter.
AT_EXIT = """
import asyncio, atexit, importlib.util, sys
spec = importlib.util.spec_from_file_location("loops", sys.argv[1])
loops = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loops)
runner = asyncio.Runner()
async def looks_up_a_name():
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
runner.run(looks_up_a_name())
atexit.register(loops.close_runner, runner)
"""


@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_a_program_that_looked_up_a_name_ends_in_silence(version: str) -> None:
    if (python := interpreters.find(version)) is None:
        pytest.skip(f"there is no Python {version} here")
    module = LAYER / "openai_agents_session" / "_loops.py"
    command = [python, "-I", "-X", "dev", "-c", AT_EXIT, module]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_asynchronous_generators_end_and_the_loop_is_closed() -> None:
    ended = []

    async def numbers() -> object:
        try:
            yield 1
        finally:
            ended.append(True)

    async def takes_one() -> None:
        kept.append(numbers())
        await anext(kept[0])

    kept: list[object] = []
    runner = asyncio.Runner()
    runner.run(takes_one())
    loop = runner.get_loop()
    close_runner(runner)
    assert ended == [True]
    assert loop.is_closed()
