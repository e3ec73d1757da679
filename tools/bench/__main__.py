"""Compare what a turn costs.

make bench                                        # everything: docs/bench.md and docs/bench.svg
make bench ARGS="--quick"                         # short conversations, printed only
make bench ARGS="--only warm --only reference"    # some contenders, printed only
make bench ARGS="--render"                        # docs from the last full run's measurements
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence

from tools import interrupts
from tools.bench import agent_turns, chart, contenders, report, runner, workloads
from tools.bench.contenders import ROOT, Contender
from tools.bench.runner import Plan, Run
from tools.bench.workloads import Workload
from tools.emulation.meter import Bill

RESULTS = runner.FOLDER / "results.json"
DOCS = ROOT / "docs"

FULL = (workloads.chat(1000), workloads.tools(200), workloads.ciphertext(200))
QUICK = (workloads.chat(24), workloads.tools(8))
QUICK_PLAN = Plan(delayed=((3, 4), (21, 22)), compared=(17, 20), read_after=(24,))


def main() -> int:
    """Run what the command line asks for; the exit code is 1 if a target was missed or a contender is not installed."""
    arguments = _arguments()
    if arguments.render:
        stored = json.loads(RESULTS.read_text())
        return _publish(
            [Run.from_json(run) for run in stored["runs"]], [Bill.from_json(bill) for bill in stored["turns"]]
        )
    chosen = [each for each in contenders.ALL if not arguments.only or each.name in arguments.only]
    if missing := [each.name for each in chosen if not each.is_there]:
        print(f"not installed: {', '.join(missing)} (make bench installs them)", file=sys.stderr)
        return 1
    runs = measure(chosen, QUICK if arguments.quick else FULL, QUICK_PLAN if arguments.quick else Plan())
    if arguments.quick or arguments.only:
        print(report.tables(runs))
        return 0
    turns = asyncio.run(agent_turns.measure())
    stored = {"runs": [run.to_json() for run in runs], "turns": [bill.to_json() for bill in turns]}
    RESULTS.write_text(json.dumps(stored))
    return _publish(runs, turns)


def measure(chosen: Sequence[Contender], conversations: Sequence[Workload], plan: Plan) -> list[Run]:
    """Let every contender hold every conversation."""
    runs = []
    for workload in conversations:
        for contender in chosen:
            began = time.monotonic()
            (run,) = asyncio.run(runner.run_all([contender], workload, plan))
            runs.append(run)
            ended = f"ended at turn {len(run.turns) + 1}: {run.failure}" if run.failure else f"{len(run.turns)} turns"
            print(f"{workload.name:10} {contender.name:16} {time.monotonic() - began:4.0f} s  {ended}", file=sys.stderr)
    return runs


def _publish(runs: Sequence[Run], turns: Sequence[Bill]) -> int:
    DOCS.mkdir(exist_ok=True)
    (DOCS / "bench.svg").write_text(chart.draw(runs))
    (DOCS / "bench.md").write_text(report.document(runs, turns))
    print(report.tables(runs), report.turn_table(turns), sep="\n\n")
    return 0 if all(target.met for target in report.targets(runs)) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Compare what a turn costs, at the wire.")
    parser.add_argument("--quick", action="store_true", help="short conversations, printed only")
    names = [each.name for each in contenders.ALL]
    parser.add_argument("--only", action="append", choices=names, help="only this contender; may be repeated")
    parser.add_argument("--render", action="store_true", help="write the docs again from the last full run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
