"""Turns measurements into tables and verdicts. Pure: runs in, Markdown out."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tools.bench import agent_turns, contenders, prose, workloads
from tools.bench.contenders import Contender
from tools.bench.runner import Measure, Plan, Run
from tools.emulation.meter import Bill

MILLION = 1_000_000
LENGTHS = {"chat": (20, 100, 200, 1000), "tools": (100, 200), "ciphertext": (200,)}
"""Conversations that the tables show, in turns."""

PLAN = Plan()
PARTS_OF_A_TURN = ("read", "append", "append")
NOT_REACHED = "–"


@dataclass(frozen=True)
class Target:
    """One thing to reach.

    Attributes:
        measure: What is measured.
        goal: What it should be.
        found: What it is.
        met: Whether that is good enough.
    """

    measure: str
    goal: str
    found: str
    met: bool


class Results:
    """Runs by contender and workload."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {(run.contender, run.workload): run for run in runs}

    def run(self, contender: Contender, workload: str = "chat") -> Run | None:
        """One contender's run, or None if it did not take part."""
        return self._runs.get((contender.name, workload))

    def present(self, workload: str) -> list[Contender]:
        """Who held the conversation."""
        return [contender for contender in contenders.ALL if self.run(contender, workload)]

    def dollars(self, contender: Contender, turns: int, workload: str = "chat") -> float | None:
        """Dollars per million conversations of so many turns."""
        run = self.run(contender, workload)
        bill = run.bill(turns) if run else None
        return bill.dollars() * MILLION if bill else None

    def ratio(self, contender: Contender, other: Contender, turns: int, workload: str = "chat") -> float | None:
        """One's dollars over another's."""
        mine, theirs = self.dollars(contender, turns, workload), self.dollars(other, turns, workload)
        return mine / theirs if mine and theirs else None


# --- the targets -----------------------------------------------------------------------------------------------------


def targets(runs: Sequence[Run]) -> list[Target]:
    """What was to be reached, and what was; nothing unless the measurements are those of a full run."""
    results = Results(runs)
    if not _is_full(results):
        return []
    warm, cold = results.run(contenders.WARM), results.run(contenders.COLD)
    if not warm or not cold:
        return []
    return [
        _against_reference(results, contenders.COLD, least=20, aim=27),
        _against_reference(results, contenders.WARM, least=25, aim=31),
        _flat(warm),
        _against_floor(results),
        _requests_of_short_turns(cold),
        _requests_of_long_turns(warm),
        _round_trips(cold, 200),
        _round_trips(cold, 1000),
        _cpu(warm, sealed=False),
        _cpu(warm, sealed=True),
    ]


def _against_reference(results: Results, contender: Contender, least: int, aim: int) -> Target:
    ratio = results.ratio(contenders.REFERENCE, contender, 200) or 0
    cached = "segments cached" if contender == contenders.WARM else "nothing cached"
    return Target(
        f"dollars, chat of 200 turns, a new session object a turn, {cached}",
        f"at most 1/{least} of the reference's, aiming for 1/{aim}",
        f"1/{ratio:.0f}",
        ratio >= least,
    )


def _flat(run: Run) -> Target:
    at_100, at_1000 = mean_write_units(run, 1, 100), mean_write_units(run, 1, 1000)
    late = mean_write_units(run, 901, 1000)
    found = f"{at_1000:.2f} up to turn 1,000 (the last 100: {late:.2f}) against {at_100:.2f} up to turn 100"
    met = max(at_1000, late) <= 1.2 * at_100 if late else False
    return Target("chat of 1,000 turns: write units a turn", "works; at most 1.2 times those at turn 100", found, met)


def _against_floor(results: Results) -> Target:
    ratios = [results.ratio(contender, contenders.FLOOR, 200, "tools") for contender in contenders.OURS]
    worst = max((ratio for ratio in ratios if ratio), default=0.0)
    found = f"{worst:.2f} times, nothing cached" if all(ratios) else "does not work"
    return Target(
        "dollars, tools and reasoning, 200 turns",
        "works; at most 4 times the floor",
        found,
        bool(all(ratios)) and worst <= 4,
    )


def _requests_of_short_turns(run: Run) -> Target:
    found = requests(run, 1, 3)
    return Target("requests of a turn of a short session", "3", f"{found:g}", found == 3)


def _requests_of_long_turns(run: Run) -> Target:
    most_often = statistics.mode(turn.bill.requests for turn in run.turns[100:])
    mean = requests(run, 101, len(run.turns))
    found = f"{most_often}, or {mean:.2f} on average with the seals"
    return Target("requests of a turn of a long session, warm", "3, plus a seal now and then", found, mean < 4)


def _round_trips(run: Run, turns: int) -> Target:
    read = run.reads.get(turns)
    found = round_trips(read) if read else 0
    return Target(f"round trips to read {turns:,} turns, nothing cached", "at most 2", str(found), 1 <= found <= 2)


def _cpu(run: Run, *, sealed: bool) -> Target:
    turns = [turn for turn in beside_raw(run) if sealed or turn.bill.requests == len(PARTS_OF_A_TURN)]
    ours, raw = cpu(turns), cpu(run.raw)
    ratio = ours / raw if raw else 0
    what = "on average with the seals" if sealed else "of three requests"
    return Target(
        f"client CPU of a turn on 200 turns and more, warm, {what}",
        "at most 1.5 times three raw calls",
        f"{ratio:.2f} times ({ours * 1e3:.1f} ms against {raw * 1e3:.1f} ms)",
        0 < ratio <= 1.5,
    )


# --- measures of a run -----------------------------------------------------------------------------------------------


def mean_write_units(run: Run, first: int, last: int) -> float:
    """Write units a turn from one turn to another, both included; 0 where the run ended before."""
    turns = run.turns[first - 1 : last]
    return sum(turn.bill.write_units for turn in turns) / len(turns) if len(run.turns) >= last else 0.0


def requests(run: Run, first: int, last: int) -> float:
    """Requests a turn, on average."""
    return statistics.mean(turn.bill.requests for turn in run.turns[first - 1 : last])


def round_trips(read: Measure) -> int:
    """How many requests of a read waited for one another, told from the delay that each was given."""
    return int(read.seconds / read.latency)


def cpu(turns: Sequence[Measure]) -> float:
    """Mean processor time of a turn (seconds), without the dearest and the cheapest tenth: the machine is shared."""
    tenth = len(turns) // 10
    kept = sorted(turn.cpu for turn in turns)[tenth : len(turns) - tenth]
    return statistics.mean(kept) if kept else 0.0


def beside_raw(run: Run) -> list[Measure]:
    """The turns beside which the raw calls were made."""
    first, _ = PLAN.compared
    return run.turns[first - 1 : first - 1 + len(run.raw)]


def seconds(run: Run, first: int, last: int) -> float | None:
    """Median elapsed time of turns whose requests were delayed."""
    turns = run.turns[first - 1 : last]
    return statistics.median(turn.seconds for turn in turns) if len(run.turns) >= last else None


# --- the document ----------------------------------------------------------------------------------------------------


def tables(runs: Sequence[Run]) -> str:
    """The measurements alone."""
    results = Results(runs)
    parts = [_target_table(runs)] if targets(runs) else []
    parts += [_cost_table(results, workload) for workload in LENGTHS if results.present(workload)]
    parts += [_count_table(results, min(200, _longest(results, "chat"))), _write_unit_table(results)]
    if _is_full(results):
        parts.append(_time_table(results))
    return "\n\n".join(part for part in parts if part)


def turn_table(bills: Sequence[Bill]) -> str:
    """What the turns of ``agent_turns`` cost."""
    return _table(agent_turns.HEADER, agent_turns.table(bills))


def document(runs: Sequence[Run], turns: Sequence[Bill]) -> str:
    """The whole of docs/bench.md.

    Args:
        runs: The contenders' conversations.
        turns: What the turns of ``agent_turns`` cost.
    """
    results = Results(runs)
    return _TEMPLATE.read_text().format(
        targets=_target_table(runs),
        chat=_cost_table(results, "chat"),
        tools=_cost_table(results, "tools"),
        ciphertext=_cost_table(results, "ciphertext"),
        counts=_count_table(results, 200),
        turns=turn_table(turns),
        write_units=_write_unit_table(results),
        times=_time_table(results),
        failures=_failures(results),
        prose=_prose_table(),
        machine=_machine(),
    )


def _is_full(results: Results) -> bool:
    run = results.run(contenders.WARM)
    return bool(run and len(run.turns) >= PLAN.compared[1])


def _lengths(results: Results, workload: str) -> tuple[int, ...]:
    """The lengths to show: what was asked of the contenders, or the longest run's where it reached none of them."""
    longest = _longest(results, workload)
    ended = any(run.failure for each in results.present(workload) if (run := results.run(each, workload)))
    return tuple(turns for turns in LENGTHS[workload] if turns <= longest or ended) or (longest,)


def _longest(results: Results, workload: str) -> int:
    runs = [run for each in results.present(workload) if (run := results.run(each, workload))]
    return max((len(run.turns) for run in runs), default=0)


def _target_table(runs: Sequence[Run]) -> str:
    rows = [(each.measure, each.goal, each.found, "met" if each.met else "**not met**") for each in targets(runs)]
    return _table(("measure", "target", "measured", ""), rows)


def _cost_table(results: Results, workload: str) -> str:
    lengths = _lengths(results, workload)
    rows = []
    for contender in results.present(workload):
        cells = [_cost(results, contender, turns, workload) for turns in lengths]
        rows.append((contender.title, *cells))
    return _table((f"{_TITLES[workload]}, $ per million", *(f"{turns:,} turns" for turns in lengths)), rows)


def _cost(results: Results, contender: Contender, turns: int, workload: str) -> str:
    run, dollars = results.run(contender, workload), results.dollars(contender, turns, workload)
    if dollars is None:
        return f"ends at turn {len(run.turns) + 1}" if run and run.failure else NOT_REACHED
    floor = results.ratio(contender, contenders.FLOOR, turns, workload)
    return f"{dollars:,.0f}" + (f" ({floor:.2f} × floor)" if floor and contender not in contenders.FLOORS else "")


def _count_table(results: Results, turns: int) -> str:
    rows = []
    for contender in results.present("chat"):
        run = results.run(contender)
        bill = run.bill(turns) if run else None
        if bill is None:
            continue
        moved = (bill.bytes_sent + bill.bytes_received) / 1e6
        times = results.ratio(contender, contenders.REFERENCE, turns)
        rows.append(
            (
                contender.title,
                f"{bill.requests:,}",
                f"{moved:.1f}",
                f"{bill.write_units:,.0f}",
                f"{bill.read_units:,.0f}",
                f"1/{1 / times:.0f}" if times and times < 1 else f"{times:.2g}" if times else NOT_REACHED,
            )
        )
    header = (f"chat, {turns:,} turns", "requests", "MB moved", "write units", "read units", "$ of the reference's")
    return _table(header, rows)


def _write_unit_table(results: Results) -> str:
    rows = []
    for contender in results.present("chat"):
        run = results.run(contender)
        assert run
        spans = [mean_write_units(run, max(1, turns - 19), turns) for turns in LENGTHS["chat"]]
        whole = [mean_write_units(run, 1, turns) for turns in (100, 1000)]
        rows.append((contender.title, *(f"{units:,.1f}" if units else NOT_REACHED for units in (*spans, *whole))))
    lengths = (f"turns {max(1, turns - 19):,}–{turns:,}" for turns in LENGTHS["chat"])
    return _table(("write units a turn, chat", *lengths, "mean of 100", "mean of 1,000"), rows)


def _time_table(results: Results) -> str:
    (short, long), rows = PLAN.delayed, []
    for contender in results.present("chat"):
        run = results.run(contender)
        if not run or len(run.turns) < long[1]:
            continue
        read = run.reads.get(200)
        processor = cpu(run.turns[long[1] : long[1] + 40])
        rows.append(
            (
                contender.title,
                _milliseconds(seconds(run, *short)),
                _milliseconds(seconds(run, *long)),
                str(round_trips(read)) if read else NOT_REACHED,
                f"{requests(run, 1, 3):.1f}",
                f"{requests(run, 101, min(len(run.turns), 1000)):.1f}",
                f"{processor * 1e3:.1f}" if processor else NOT_REACHED,
            )
        )
    header = (
        "chat, 5 ms a request",
        f"ms a turn, turns {short[0]}–{short[1]}",
        f"turns {long[0]}–{long[1]}",
        "round trips to read 200 turns",
        "requests a turn, turns 1–3",
        "after turn 100",
        "client CPU, ms a turn at 200",
    )
    return _table(header, rows)


def _milliseconds(value: float | None) -> str:
    return f"{value * 1e3:.0f}" if value else NOT_REACHED


def _failures(results: Results) -> str:
    lines = []
    for workload in LENGTHS:
        for contender in results.present(workload):
            run = results.run(contender, workload)
            if run and run.failure:
                where = f"{contender.label}, {_TITLES[workload]}, turn {len(run.turns) + 1}"
                lines.append(f"- {where}: `{run.failure}`")
    return "\n".join(lines)


def _prose_table() -> str:
    sizes = (200, 800, 4_000, 16_000, 32_000)
    chat = workloads.chat(400).turns
    written = "".join(
        item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
        for turn in chat
        for batch in turn
        for item in batch
    )
    rows = [(name, *_ratios(text, sizes)) for name, text in (("the workloads' text", written), *_real_prose())]
    return _table(("deflated size over size, in pieces of", *(f"{size:,} bytes" for size in sizes)), rows)


def _ratios(text: str, sizes: Sequence[int]) -> list[str]:
    return [f"{prose.deflate_ratio(text, size):.2f}" if len(text) > 2 * size else NOT_REACHED for size in sizes]


def _real_prose() -> list[tuple[str, str]]:
    """Prose that comes with Python, white space folded as in a chat."""
    import pydoc_data.topics

    texts = [("Python's documentation of its language", "\n".join(pydoc_data.topics.topics.values()))]
    licence = Path(os.__file__).parent / "LICENSE.txt"
    if licence.exists():
        texts.append(("Python's licence", licence.read_text()))
    return [(name, " ".join(text.split())) for name, text in texts]


def _machine() -> str:
    library, engine = metadata.version("openai-agents-session-layer"), _engine_version()
    return (
        f"Version {library} of the library; Python {platform.python_version()}, {os.cpu_count()} processors, {engine}."
    )


def _engine_version() -> str:
    stamp = contenders.ROOT / ".work" / "engines" / "dynoxide" / ".version"
    return stamp.read_text().strip() if stamp.exists() else "Dynoxide"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str], fill: Callable[[str, int], str] = str.ljust) -> str:
        padded = [
            fill(cell, width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


_TEMPLATE = Path(__file__).with_name("document.md")
_TITLES = {"chat": "chat", "tools": "tools and reasoning", "ciphertext": "chat, incompressible"}
