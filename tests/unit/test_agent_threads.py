"""The threads of a turn: those that a tool of an earlier turn holds are not used."""

from __future__ import annotations

import asyncio
import threading

from openai_agents_session.service.threads import give_free_threads


async def test_a_thread_that_hangs_is_left_to_the_turn_that_it_hangs_in() -> None:
    give_free_threads()
    first = await asyncio.to_thread(threading.current_thread)
    give_free_threads()
    assert await asyncio.to_thread(threading.current_thread) is first
    ends = threading.Event()
    hanging = asyncio.ensure_future(asyncio.to_thread(ends.wait))
    await asyncio.sleep(0.01)
    give_free_threads()
    assert await asyncio.to_thread(threading.current_thread) is not first
    ends.set()
    await hanging
