"""What a turn of the reference agent costs: the built function in the runtime emulator, its requests counted.

    python -m tools.bench.agent_turns        # prints the table; `make bench` writes it into docs/bench.md

A conversation of 21 turns of one kind is held in one environment; a figure is the mean of all turns but the first. One
step of the model calls all tools of a turn; the answer follows.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.agent import Stage, stage_on
from tools import interrupts
from tools.bench import prose
from tools.emulation import engines, rie
from tools.emulation.meter import Bill
from tools.emulation.proxy import FaultProxy
from tools.emulation.rie import Emulator
from tools.emulation.strict_model import StrictModel
from tools.emulation.strict_script import Asked, Reply, by_turn, calls, says

MEASURED = 20
"""Turns that the mean is taken of: the heads of a session grow and are sealed several times in them."""

EFFECTFUL = Path(__file__).with_name("function")


@dataclass(frozen=True)
class Turn:
    """A kind of turn.

    Attributes:
        title: What the table calls it.
        tools: How many tools its one step calls; 0 for none.
        effects: Whether they count as tools with effects.
        keyed: Whether it is delivered under an idempotency key.
        release_1_0_0: What the same turn cost in release 1.0.0: requests, write units, read units. Measured as here,
            with that release's function and library (commit b892b13) in the place of the present ones.
    """

    title: str
    tools: int = 0
    effects: bool = False
    keyed: bool = False
    release_1_0_0: tuple[float, float, float] = (0, 0, 0)


TURNS = (
    Turn("no tools", release_1_0_0=(5.5, 6.35, 1)),
    Turn("no tools, with an idempotency key", keyed=True, release_1_0_0=(7.5, 9.35, 1)),
    Turn("one tool without effects", tools=1, release_1_0_0=(6.55, 7.35, 1)),
    Turn("three tools without effects", tools=3, release_1_0_0=(6.65, 6.75, 1)),
    Turn("one tool with effects", tools=1, effects=True, release_1_0_0=(6.55, 7.35, 1)),
    Turn("three tools with effects", tools=3, effects=True, release_1_0_0=(6.65, 6.75, 1)),
    Turn("ten tools with effects", tools=10, effects=True, release_1_0_0=(6.9, 6.45, 1)),
)


async def measure(turns: Sequence[Turn] = TURNS, measured: int = MEASURED) -> list[Bill]:
    """What each kind of turn costs, summed over the turns that are measured.

    Args:
        turns: Which kinds.
        measured: Turns of each, after a first one.

    Raises:
        RuntimeError: A turn was not answered.
    """
    async with _table() as (proxy, stage):
        return [await _bill(turn, number, measured, proxy, stage) for number, turn in enumerate(turns)]


async def _bill(turn: Turn, number: int, measured: int, proxy: FaultProxy, stage: Stage) -> Bill:
    with StrictModel() as model, _environment(turn, model, stage.variables) as environment:
        model.script = _script(turn)
        await _take(environment, turn, number, 0)
        proxy.reset()
        for each in range(1, measured + 1):
            await _take(environment, turn, number, each)
        return proxy.bill


def _environment(turn: Turn, model: StrictModel, variables: Mapping[str, str]) -> Emulator:
    handler, first = ("effectful.handler", [EFFECTFUL]) if turn.effects else ("app.handler", [])
    told = {"MODEL_PROVIDER": "compatible", "MODEL_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-test"}
    folders = [*first, rie.FUNCTION, rie.built_layer()]
    return Emulator(handler, folders, {**variables, **told}, timeout_seconds=120)


@asynccontextmanager
async def _table() -> AsyncIterator[tuple[FaultProxy, Stage]]:
    with engines.start("dynoxide") as engine:
        async with FaultProxy(engine.endpoint_url) as proxy:
            there = stage_on(engine.endpoint_url)
            yield proxy, replace(there, variables=there.variables | {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})


def _script(turn: Turn) -> Callable[[Asked], Reply]:
    if not turn.tools:
        return lambda asked: says(_answer(asked))

    def reply(asked: Asked) -> Reply:
        step = Reply(())
        for number in range(turn.tools):
            step += calls("calculate", f"call_{len(asked.items)}_{number}", expression=f"{number} + 2")
        answer: Reply = by_turn(step, says(_answer(asked)))(asked)
        return answer

    return reply


def _answer(asked: Asked) -> str:
    """As long, and as compressible, as in the chat of the other figures."""
    return prose.Writer(random.Random(f"answer {len(asked.items)}")).text(800)


async def _take(environment: Emulator, turn: Turn, number: int, which: int) -> None:
    message = prose.Writer(random.Random(which)).text(200)
    request = {"session_id": f"bench-{number}", "message": message}
    if turn.keyed:
        request["idempotency_key"] = f"key-{which}"
    answer = (await asyncio.to_thread(environment.invoke, request)).answer
    if answer["status"] != 200:
        raise RuntimeError(f"{turn.title}: {answer}")


def table(bills: Sequence[Bill], turns: Sequence[Turn] = TURNS, measured: int = MEASURED) -> list[list[str]]:
    """The rows of the table: the title, then requests, write units and read units, and those of release 1.0.0."""
    return [
        [turn.title, *_means(bill, measured), *(f"{figure:.2f}" for figure in turn.release_1_0_0)]
        for turn, bill in zip(turns, bills, strict=True)
    ]


def _means(bill: Bill, measured: int) -> list[str]:
    return [f"{figure / measured:.2f}" for figure in (bill.requests, bill.write_units, bill.read_units)]


HEADER = ("a turn", "requests", "write units", "read units", "in 1.0.0: requests", "write units", "read units")


def main() -> int:
    """Print the table."""
    for row in [list(HEADER), *table(asyncio.run(measure()))]:
        print(" | ".join(row))
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
