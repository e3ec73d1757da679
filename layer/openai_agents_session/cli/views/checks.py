"""What verify found, what repair would do, and what it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..layout import Column, Sheet, Titled, text, unbroken
from ..mend import Repair
from ..recognise import Problem, Survey
from ..words import many, moment, size

_COLUMNS = (Column("SESSION", is_id=True), Column("PROBLEM"), Column("ITEM", is_id=True), Column("WHAT"))


def survey(result: Survey) -> RenderableType:
    """What a look through the table found."""
    shown: list[RenderableType] = [text(_looked_at(result))]
    if result.foreign:
        shown.append(text(f"{many(result.foreign, 'item')} that this library did not write, left alone, such as:"))
        shown += [unbroken(f"  {key}") for key in result.foreign_keys]
    if result.leftovers:
        last = max(problem.expires or 0 for problem in result.leftovers)
        leftovers = (
            f"{many(len(result.leftovers), 'leftover')} of expired sessions, {size(_bytes(result.leftovers))}: "
            f"DynamoDB deletes them after {moment(last)[:10]}, repair does so now"
        )
        shown.append(text(leftovers, "dim"))
    if result.problems:
        shown += ["", _problems(result.problems), "", text(_verdict(result.problems), "bold red")]
    elif not result.foreign:
        shown.append(Text("everything is in order", style="bold green"))
    elif not result.is_somebody_elses:
        shown.append(text("the sessions are in order", "bold"))
    return Group(*shown)


def _looked_at(result: Survey) -> str:
    expired = f" ({result.expired:,} expired)" if result.expired else ""
    runs = f", {many(result.runs, 'parked run')}" if result.runs else ""
    return (
        f"{many(result.sessions, 'session')}{expired}{runs}, {many(result.parts, 'part')}: "
        f"{many(result.items, 'item')} of the table, {size(result.bytes)}"
    )


def _problems(found: Iterable[Problem]) -> RenderableType:
    """A table of what is wrong."""
    return Sheet(
        _COLUMNS,
        [
            (
                unbroken(problem.session_id),
                Text(problem.kind, style="yellow" if problem.is_stray else "red"),
                unbroken(problem.key),
                text(_detail(problem)),
            )
            for problem in found
        ],
    )


def _detail(problem: Problem) -> str:
    if problem.total_items is not None:
        return f"{problem.detail}; {problem.intact_items:,} of {many(problem.total_items, 'item')} intact"
    return f"{problem.detail}, {size(problem.bytes)}" if problem.bytes else problem.detail


def _verdict(found: Sequence[Problem]) -> str:
    damaged = len({problem.session_id for problem in found if problem.is_damage})
    unknown = len({problem.session_id for problem in found if problem.kind == "unknown format"})
    foreign = [problem for problem in found if problem.kind == "not ours"]
    strays = [problem for problem in found if problem.is_stray]
    said = [many(damaged, "damaged session")] if damaged else []
    if unknown:
        said.append(f"{many(unknown, 'session')} of a newer version of the library")
    if foreign:
        said.append(f"{many(len(foreign), 'item')} of somebody else under keys of parts")
    if strays:
        said.append(f"{many(len(strays), 'item')} that no session uses, {size(_bytes(strays))}")
    return f"{' and '.join(said)}: see repair --dry-run"


def _bytes(found: Iterable[Problem]) -> int:
    return sum(problem.bytes for problem in found)


def plan(found: Sequence[Problem]) -> RenderableType:
    """What repairing would do."""
    by_session: dict[str, list[Problem]] = {}
    for problem in found:
        by_session.setdefault(problem.session_id, []).append(problem)
    return Group(*(Titled(name, text(f": {'; '.join(_steps(mine))}")) for name, mine in by_session.items()))


def _steps(mine: Sequence[Problem]) -> list[str]:
    steps: list[str] = []
    run_damaged = any(p.is_damage and p.key.startswith(f"{p.session_id}#~run") for p in mine)
    if any(p.kind == "damaged head" and p.needs_a_person for p in mine):
        steps.append("nothing, as its head cannot be read: salvage it into a file, delete it, import the file")
    lost = [p for p in mine if p.kind == "damaged part" and not run_damaged and p.total_items is not None]
    if lost:
        steps.append(f"keep {lost[0].intact_items:,} of {many(lost[0].total_items or 0, 'item')}, give up the others")
    if run_damaged:
        steps.append("discard the parked run")
    if any(p.kind == "unknown format" for p in mine):
        steps.append("nothing: a newer version of the library wrote it")
    if any(p.kind == "not ours" for p in mine):
        steps.append("leave alone what this library did not write")
    strays = [p for p in mine if p.is_stray]
    if strays:
        steps.append(f"delete {many(len(strays), 'item')} that no session uses, {size(_bytes(strays))}")
    return steps


def repairs(done: Sequence[Repair]) -> RenderableType:
    """What repairing did."""
    return Group(*(_repaired(repair) for repair in done))


def _repaired(repair: Repair) -> RenderableType:
    said: list[str] = []
    recovered = repair.recovered
    if recovered is not None and recovered.changed:
        lost = "an unknown number" if recovered.lost_items is None else f"{recovered.lost_items:,}"
        said.append(f"{many(recovered.kept_items, 'item')} kept, {lost} lost")
    if repair.discarded_run:
        said.append("parked run discarded")
    if repair.deleted:
        said.append(f"{many(len(repair.deleted), 'item')} deleted")
    if repair.failed:
        said.append(repair.failed)
    if repair.left:
        said.append(f"{many(len(repair.left), 'problem')} left")
    mark = Text("✗ ", style="red") if repair.left or repair.failed else Text("✓ ", style="green")
    return Titled(repair.session_id, text(f": {'; '.join(said) or 'in order by now'}"), mark)
