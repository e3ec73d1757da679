"""Long runs: ``python -m tests.simulation --seeds 10000 --scenario leases``. A failing seed prints how to repeat it."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from .scenarios import SCENARIOS
from .world import Report, simulate

_CHUNK = 20


def main() -> int:
    """Make the runs that the command line asks for; returns how the process ends."""
    arguments = _arguments()
    names = arguments.scenario or list(SCENARIOS)
    began = time.monotonic()
    failed: list[Report] = []
    totals = {name: Report(name, arguments.seed) for name in names}
    for reports in _chunks(names, range(arguments.seed, arguments.seed + arguments.seeds), arguments.jobs):
        for report in reports:
            totals[report.scenario].add(report)
            if report.wrong:
                failed.append(report)
                _print_failure(report, full=len(failed) <= arguments.traces)
        if len(failed) >= arguments.failures:
            print(f"stopped after {len(failed)} failures (--failures)")
            break
    for total in totals.values():
        _print_total(total, sum(report.scenario == total.scenario for report in failed))
    _print_kinds(failed)
    total = Report("all", arguments.seed)
    for each in totals.values():
        total.add(each)
    _print_total(total, len(failed))
    for name, counts in (("outcomes", total.outcomes), ("faults", total.faults), ("allowed", total.allowed)):
        print(f"{name}: " + "; ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items())))
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many of each scenario (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first one (default: %(default)s)")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--failures", type=int, default=50, help="stop after so many (default: %(default)s)")
    parser.add_argument("--traces", type=int, default=3, help="for how many to print the events (default: %(default)s)")
    return parser.parse_args()


def _chunks(names: Sequence[str], seeds: range, jobs: int) -> Iterator[list[Report]]:
    work = [(name, seeds[start : start + _CHUNK]) for start in range(0, len(seeds), _CHUNK) for name in names]
    if jobs == 1:
        yield from map(_simulated, work)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(_simulated, work)
        finally:
            pool.shutdown(cancel_futures=True)


def _simulated(work: tuple[str, range]) -> list[Report]:
    logging.disable(logging.CRITICAL)  # the library's warnings are part of the runs
    name, seeds = work
    return [simulate(name, seed) for seed in seeds]


def _print_failure(report: Report, *, full: bool) -> None:
    print(f"\n{report.scenario}, seed {report.seed}: {report.wrong[0]}")
    if full:
        for more in report.wrong[1:6]:
            print(f"  then {more}")
        print(report.trace)
    print(
        f"repeat it: make simulate ARGS=\"--scenario '{report.scenario}' --seed {report.seed} --seeds 1\"", flush=True
    )


def _print_total(total: Report, failed: int) -> None:
    print(
        f"{total.scenario}: {total.operations:,} operations, {total.requests:,} requests, "
        f"{total.unknown:,} unknown, {failed} seeds failed"
    )


def _print_kinds(failed: Sequence[Report]) -> None:
    kinds = Counter(re.sub(r"\d+(\.\d+)?|\(.*", "#", report.wrong[0].partition(" ")[2])[:100] for report in failed)
    for kind, count in kinds.most_common():
        print(f"  {count} times: {kind}")


if __name__ == "__main__":
    sys.exit(main())
