"""``verify`` and ``repair``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ...errors import SessionError
from .. import faults, mend, pool, recognise, selection, survey, views, words
from ..faults import Exit
from ..frame import AtOnce, SessionIds, Yes, command
from ..output import Output
from ..store import Store


@command("verify")
async def verify(store: Store, out: Output, session_ids: SessionIds = None, at_once: AtOnce = pool.AT_ONCE) -> int:
    """Check sessions, or the whole table.

    Every head and part is read. Nothing is changed.
    """
    found, missing = await _surveyed(store, out, session_ids, at_once)
    for session_id in missing:
        selection.missing(store, out, session_id)
    if missing and not found.items:
        return Exit.PROBLEMS
    out.result(views.survey(found), found)
    out.note(views.spent(store.spent))
    _tell_whose(store, out, found)
    return Exit.PROBLEMS if found.problems or found.foreign or missing else Exit.DONE


def _tell_whose(store: Store, out: Output, found: recognise.Survey) -> None:
    if found.is_somebody_elses:
        out.error(f"table {store.table.name!r} holds no sessions, and items of something else", "NotOursError")


async def _surveyed(
    store: Store, out: Output, session_ids: Sequence[str] | None, at_once: int
) -> tuple[recognise.Survey, list[str]]:
    missing: list[str] = []
    with out.counting("items read:") as on_page:
        if session_ids:
            named = selection.checked_ids(store, session_ids)
            found, suspects, missing = await survey.collect_sessions(store, named)
        else:
            found, suspects = await survey.collect_table(store, on_page)
    with out.advancing("sessions examined", len(suspects)) as advance:
        await survey.examine_all(store, found, suspects, advance, at_once)
    return found, missing


@command("repair")
async def repair(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    yes: Yes = False,
    at_once: AtOnce = pool.AT_ONCE,
) -> int:
    """Give up what cannot be read, delete what nobody uses.

    A head that cannot be read is not made anew: salvage what is left of it, delete it, import what was salvaged.
    """
    found, missing = await _surveyed(store, out, session_ids, at_once)
    for session_id in missing:
        selection.missing(store, out, session_id)
    _tell_whose(store, out, found)
    problems = [*found.problems, *found.leftovers]
    if not problems:
        out.result("there is nothing to repair", [])
        return Exit.PROBLEMS if missing or found.is_somebody_elses else Exit.DONE
    if dry_run:
        out.result(views.plan(problems), problems)
        return Exit.PROBLEMS if found.problems or missing else Exit.DONE
    if found.is_doubtful and not session_ids:
        out.error(
            "most sessions look damaged: rather than the table, this version of the command is likely the wrong one. "
            "Repair sessions by their ids if you are sure.",
            "TooMuchDamage",
        )
        return Exit.PROBLEMS
    return max(await _repaired(store, out, problems, yes=yes), Exit.PROBLEMS if missing else Exit.DONE)


async def _repaired(store: Store, out: Output, problems: Sequence[recognise.Problem], *, yes: bool) -> int:
    sessions: dict[str, list[recognise.Problem]] = {}
    for problem in problems:
        sessions.setdefault(problem.session_id, []).append(problem)
    mendable = {name: mine for name, mine in sessions.items() if not all(one.needs_a_person for one in mine)}
    if not yes and not out.as_json:
        out.result(views.plan(problems), None)
    question = f"Repair {words.many(len(mendable), 'session')}? What is given up is gone for good."
    if mendable and not out.confirmed(question, yes=yes):
        out.note("nothing was repaired")
        return Exit.PROBLEMS
    done = [mend.Repair(name, None, False, (), tuple(mine)) for name, mine in sessions.items() if name not in mendable]
    try:
        with out.advancing("sessions repaired", len(mendable)) as advance:
            for session_id, mine in mendable.items():
                done.append(await _mended(store, session_id, mine))
                advance(1)
    finally:  # also when it is interrupted
        out.result(views.repairs(done), done)
        out.note(views.spent(store.spent))
    return Exit.PROBLEMS if any(one.left or one.failed for one in done) else Exit.DONE


async def _mended(store: Store, session_id: str, problems: Sequence[recognise.Problem]) -> mend.Repair:
    try:
        return await mend.repair(store, session_id, problems)
    except SessionError as error:
        return mend.Repair(session_id, None, False, (), tuple(problems), failed=faults.fault(error).text)
