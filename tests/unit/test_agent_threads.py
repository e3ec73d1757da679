"""Tools have threads of their own: those that hang take none from what a turn needs besides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from agents import function_span

from openai_agents_session.service import threads
from openai_agents_session.service.threads import FEWEST_FREE, MOST_THREADS, are_exhausted, part_threads


@asynccontextmanager
async def hanging(count: int) -> AsyncIterator[list[int]]:
    """So many tools at once, each of which holds a thread if it gets one; yields who has begun."""
    ends, began = threading.Event(), list[int]()

    def hang(number: int) -> None:
        began.append(number)
        ends.wait(30)

    async def tool(number: int) -> None:
        with function_span("hang"):
            await asyncio.to_thread(hang, number)

    tasks = [asyncio.ensure_future(tool(number)) for number in range(count)]
    try:
        await soon(lambda: len(began) == min(count, MOST_THREADS))
        yield began
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        ends.set()
        await soon(lambda: not are_exhausted())


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
async def parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_given", None)
    part_threads()


async def test_tools_that_hang_leave_the_loops_own_threads_free() -> None:
    async with hanging(MOST_THREADS + 8):
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            assert (await asyncio.to_thread(threading.current_thread)).name.startswith("loop")


async def test_a_tool_that_got_no_thread_in_its_turn_never_begins() -> None:
    async with hanging(MOST_THREADS + 8) as began:
        pass
    await asyncio.to_thread(lambda: None)
    assert len(began) == MOST_THREADS


async def test_threads_are_exhausted_while_too_few_are_free_for_another_turn() -> None:
    async with hanging(MOST_THREADS - FEWEST_FREE):
        assert not are_exhausted()
    async with hanging(MOST_THREADS - FEWEST_FREE + 1):
        assert are_exhausted()
    assert not are_exhausted()


async def test_an_event_loop_has_its_threads_from_its_first_turn_to_its_last() -> None:
    first = threads._given
    part_threads()
    assert threads._given is first
