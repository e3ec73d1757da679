"""The benchmark counts what it says it counts. Times are not asserted: they are the machine's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tools.bench import agent_turns, chart, contenders, report, runner, workloads
from tools.bench.runner import Plan, Run
from tools.bench.workloads import Workload
from tools.emulation import engines
from tools.emulation.engines import Engine
from tools.emulation.meter import Bill

CHAT = replace(workloads.chat(24), name="test-chat")
PLAN = Plan(delayed=((3, 4),), compared=(17, 20), read_after=(24,), read_latency_seconds=0.2)


@pytest.fixture(scope="session")
def endpoint_url(start_engine: Callable[[str], Engine]) -> str:
    there = [name for name, reason in engines.available().items() if not reason]
    return start_engine("dynoxide" if "dynoxide" in there else there[0]).endpoint_url


@pytest.fixture
def named(request: pytest.FixtureRequest) -> Callable[[Workload], Workload]:
    """Gives a workload a name of this test's, so that each has a session of its own."""
    return lambda workload: replace(workload, name=f"{request.node.name}-{workload.name}")


async def test_the_floor_costs_what_the_rules_say(endpoint_url: str, named: Callable[[Workload], Workload]) -> None:
    run = await runner.run(contenders.FLOOR, named(CHAT), PLAN, endpoint_url)

    bill = run.bill(24)
    assert bill
    assert bill.by_operation == {"GetItem": 24, "PutItem": 48}
    assert bill.write_units == 24 * (1 + 2)  # a question below 1 KB, an answer above
    assert bill.read_units == 24
    assert run.bill(25) is None


async def test_this_library_holds_the_conversation_and_both_caches_write_the_same(
    endpoint_url: str, named: Callable[[Workload], Workload]
) -> None:
    warm = await runner.run(contenders.WARM, named(CHAT), PLAN, endpoint_url)
    cold = await runner.run(contenders.COLD, named(CHAT), PLAN, endpoint_url)

    assert (warm.failure, cold.failure) == (None, None)
    assert [turn.bill.requests for turn in warm.turns[:3]] == [3, 3, 3]
    assert [turn.bill.write_units for turn in warm.turns] == [turn.bill.write_units for turn in cold.turns]
    assert report.round_trips(warm.reads[24]) == 1
    assert 1 <= report.round_trips(cold.reads[24]) <= 2


async def test_raw_calls_are_made_beside_the_turns_and_not_counted_with_them(
    endpoint_url: str, named: Callable[[Workload], Workload]
) -> None:
    run = await runner.run(contenders.WARM, named(CHAT), PLAN, endpoint_url)

    assert [raw.bill.by_operation for raw in run.raw] == [{"GetItem": 1, "PutItem": 2}] * 4
    assert len(run.turns) == 24
    assert all(turn.bill.by_operation["GetItem"] == 1 for turn in run.turns)
    assert all(measure.cpu > 0 for measure in [*run.turns, *run.raw])


async def test_a_delay_reaches_the_turns_that_it_is_meant_for(
    endpoint_url: str, named: Callable[[Workload], Workload]
) -> None:
    plan = replace(PLAN, delayed=((3, 4),), latency_seconds=0.05)
    run = await runner.run(contenders.FLOOR, named(workloads.chat(6)), plan, endpoint_url)

    assert [turn.latency for turn in run.turns] == [0, 0, 0.05, 0.05, 0, 0]
    assert all(turn.seconds >= 3 * 0.05 for turn in run.turns[2:4])


async def test_a_contender_that_can_go_no_further_is_reported_with_its_reason(
    endpoint_url: str, named: Callable[[Workload], Workload]
) -> None:
    too_large = [[{"role": "user", "content": "x" * 420_000}]]
    workload = Workload("large", "large", [*workloads.chat(2).turns, too_large])
    run = await runner.run(contenders.FLOOR, named(workload), PLAN, endpoint_url)

    assert len(run.turns) == 2
    assert run.failure
    assert "size" in run.failure


async def test_figures_of_a_wrong_history_are_refused(endpoint_url: str, named: Callable[[Workload], Workload]) -> None:
    question = {"role": "user", "content": "How much?"}
    workload = Workload("double", "double", [[[question, question]], [[question]]])

    with pytest.raises(runner.WrongHistoryError, match="turn 2: 2 questions"):
        await runner.run(contenders.WARM, named(workload), PLAN, endpoint_url)


async def test_measurements_survive_json_and_become_a_report_and_a_chart(
    endpoint_url: str, named: Callable[[Workload], Workload]
) -> None:
    runs = [await runner.run(each, named(CHAT), PLAN, endpoint_url) for each in (contenders.WARM, contenders.FLOOR)]
    for run in runs:
        run.workload = "chat"

    again = [Run.from_json(run.to_json()) for run in runs]
    assert again == runs
    assert f"| {contenders.WARM.title} " in report.tables(again)
    assert "× floor" in report.tables(again)
    drawing = ElementTree.fromstring(chart.draw(again))  # noqa: S314 - it was drawn here
    assert any(contenders.WARM.title in (text.text or "") for text in drawing.iter("{http://www.w3.org/2000/svg}text"))


async def test_a_turn_of_the_agent_is_counted_and_becomes_a_row_of_the_report() -> None:
    turns = agent_turns.TURNS[:1] + agent_turns.TURNS[4:5]
    bills = await agent_turns.measure(turns, measured=2)
    again = [Bill.from_json(bill.to_json()) for bill in bills]
    assert again == bills
    plain, effectful = bills
    assert plain.by_operation["PutItem"] >= 2 * 2
    assert effectful.by_operation["PutItem"] >= plain.by_operation["PutItem"] + 2 * (1 + 1)
    assert agent_turns.table(again, turns, measured=2)[0][:2] == ["no tools", f"{plain.requests / 2:.2f}"]
