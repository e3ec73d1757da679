"""The benchmark's workloads are the same everywhere and no easier than real ones; its verdicts follow from figures."""

from __future__ import annotations

import hashlib
import json
import pydoc_data.topics
import random
from collections.abc import Callable

import pytest

from tools.bench import contenders, prose, report, workloads
from tools.bench.runner import Measure, Run
from tools.bench.workloads import Workload
from tools.emulation.meter import Bill


@pytest.mark.parametrize(
    ("make", "digest"),
    [
        (workloads.chat, "35d17a25db14993bdd6faff8cd5b9f3d"),
        (workloads.tools, "4ff7a2d5689ff654f749da0b428f5b34"),
    ],
)
def test_workloads_are_the_same_on_every_python(make: Callable[[int], Workload], digest: str) -> None:
    text = json.dumps(make(50).turns).encode()
    assert hashlib.md5(text, usedforsecurity=False).hexdigest() == digest


@pytest.mark.parametrize("make", [workloads.chat, workloads.tools, workloads.ciphertext])
def test_a_conversation_is_the_beginning_of_a_longer_one(make: Callable[[int], Workload]) -> None:
    assert make(30).turns[:12] == make(12).turns


def test_workloads_have_the_sizes_that_the_report_names() -> None:
    question, answer = (batch[0] for batch in workloads.chat(1).turns[0])
    assert len(question["content"]) == 200
    assert len(answer["content"][0]["text"]) == 800
    assert workloads.tools(100).bytes_of(100) / 100 == pytest.approx(4_650, rel=0.02)


@pytest.mark.parametrize("size", [200, 800, 4_000, 16_000, 32_000])
def test_the_text_is_no_more_compressible_than_real_prose(size: int) -> None:
    real = " ".join("\n".join(pydoc_data.topics.topics.values()).split())
    ours = prose.Writer(random.Random(7)).text(320_000)
    assert prose.deflate_ratio(real, size) <= prose.deflate_ratio(ours, size) <= prose.deflate_ratio(real, size) + 0.06


def test_incompressible_text_stays_incompressible() -> None:
    turns = workloads.ciphertext(40).turns
    text = "".join(answer[0]["content"][0]["text"] for _, answer in turns)
    assert prose.deflate_ratio(text, 16_000) > 0.75


def _run(contender: str, write_units: float, *, turns: int = 1000, requests: int = 3, workload: str = "chat") -> Run:
    bill = Bill(requests=requests, write_units=write_units, read_units=1)
    measure = Measure(bill, cpu=0.004, seconds=0.01)
    read = Measure(bill, cpu=0.004, seconds=0.21, latency=0.1)
    raw = [Measure(bill, cpu=0.003, seconds=0.01)] * 80
    return Run(contender, workload, [measure] * turns, raw, {200: read, 1000: read})


def _runs(ours: float, **others: float) -> list[Run]:
    runs = [_run(name, ours) for name in ("warm", "cold")] + [_run(name, units) for name, units in others.items()]
    return runs + [_run(run.contender, run.turns[0].bill.write_units, turns=200, workload="tools") for run in runs]


def test_targets_are_met_by_figures_that_meet_them() -> None:
    assert [target.measure for target in report.targets(_runs(5, reference=200, floor=3)) if not target.met] == []


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        (lambda runs: _runs(5, reference=60, floor=3), "dollars, chat"),
        (lambda runs: _runs(20, reference=2000, floor=3), "tools and reasoning"),
        (lambda runs: [_slower_reads(run) for run in runs], "round trips"),
        (lambda runs: [_grown(run) for run in runs], "write units a turn"),
        (lambda runs: [_busier(run) for run in runs], "client CPU"),
        (
            lambda runs: [_run(run.contender, 5, requests=4, workload=run.workload) for run in runs],
            "requests of a turn",
        ),
    ],
)
def test_targets_are_missed_by_figures_that_miss_them(change: Callable[[list[Run]], list[Run]], missed: str) -> None:
    verdicts = [
        target for target in report.targets(change(_runs(5, reference=200, floor=3))) if missed in target.measure
    ]
    assert verdicts
    assert not any(target.met for target in verdicts)


def _slower_reads(run: Run) -> Run:
    read = Measure(Bill(requests=3), cpu=0.004, seconds=0.31, latency=0.1)
    run.reads = {200: read, 1000: read}
    return run


def _grown(run: Run) -> Run:
    late = Measure(Bill(requests=3, write_units=20), cpu=0.004, seconds=0.01)
    run.turns[900:] = [late] * len(run.turns[900:])
    return run


def _busier(run: Run) -> Run:
    run.turns = [Measure(turn.bill, cpu=0.01, seconds=0.01) for turn in run.turns]
    return run


def test_a_short_run_is_no_evidence_for_the_targets() -> None:
    short = [_run(name, 5, turns=24) for name in ("warm", "cold", "reference", "floor")]
    assert report.targets(short) == []
    assert "24 turns" in report.tables(short)


def test_a_run_that_ended_has_no_price_beyond_its_end() -> None:
    ended = _run("reference", 100, turns=150)
    ended.failure = "too large"
    results = report.Results([ended])
    assert results.dollars(contenders.REFERENCE, 100)
    assert results.dollars(contenders.REFERENCE, 200) is None
    assert "ends at turn 151" in report.tables([ended])
