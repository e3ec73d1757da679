"""The commands. Each reads its arguments, asks ``survey`` or the library, and hands the answer to ``reports``."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from enum import IntEnum
from typing import Annotated, Any, get_type_hints

import typer
from botocore.exceptions import BotoCoreError

from ..errors import CorruptSessionError, InvalidInputError, SessionError, WrongOwnerError
from ..runs import PendingRuns
from ..storage.description import SessionInfo
from . import conversation, pricing, reports, survey, transfer
from .output import Output
from .store import Connection, Store, opened


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    PROBLEMS = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


app = typer.Typer(
    name="openai-agents-session",
    help="See, move, check, repair and delete the sessions of openai-agents in a DynamoDB table.",
    epilog=(
        "Exit codes: 0 done; 1 problems found, nothing there, or declined; 2 wrong usage; 3 DynamoDB or AWS cannot be "
        "used; 130 interrupted. Results go to stdout, everything else to stderr."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PLACE = "Where the table is"
_EVERYWHERE: dict[str, tuple[Any, Any]] = {
    "table": (
        Annotated[
            str, typer.Option("--table", "-t", envvar="SESSION_TABLE", help="The table.", rich_help_panel=_PLACE)
        ],
        inspect.Parameter.empty,
    ),
    "region": (
        Annotated[
            str | None,
            typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="AWS region.", rich_help_panel=_PLACE),
        ],
        None,
    ),
    "endpoint_url": (
        Annotated[
            str | None,
            typer.Option(
                envvar=["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"],
                help="Another endpoint than AWS's.",
                rich_help_panel=_PLACE,
            ),
        ],
        None,
    ),
    "profile": (
        Annotated[
            str | None, typer.Option(envvar="AWS_PROFILE", help="Of the AWS configuration.", rich_help_panel=_PLACE)
        ],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")], False),
}

Work = Callable[..., Awaitable[int]]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="Its id.", show_default=False)]
SessionIds = Annotated[list[str] | None, typer.Argument(metavar="[SESSION]...", help="Their ids.", show_default=False)]
Owner = Annotated[str | None, typer.Option(help="All sessions bound to this owner.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def command(name: str) -> Callable[[Work], Work]:
    """Make a command of a coroutine function, which gets the open table and the output first.

    Every command has the options that say where the table is, and ends with the exit code that it returns.
    """

    def register(work: Work) -> Work:
        hints = get_type_hints(work, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(work).parameters.values())[2:]
        ]
        common = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in _EVERYWHERE.items()
        ]

        def run(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in _EVERYWHERE}
            out = Output(as_json=given.pop("as_json"))
            raise typer.Exit(_finished(work, Connection(**given), out, arguments))

        run.__doc__ = work.__doc__
        run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
        app.command(name)(run)
        return work

    return register


def _finished(work: Work, connection: Connection, out: Output, arguments: dict[str, Any]) -> int:
    """Do the work; what goes wrong becomes a message and an exit code."""

    async def do() -> int:
        async with opened(connection) as store:
            return await work(store, out, **arguments)

    try:
        return asyncio.run(do())
    except KeyboardInterrupt:
        out.note("interrupted", "bold red")
        return Exit.INTERRUPTED
    except CorruptSessionError as error:
        out.error(f"{_said(error)} (openai-agents-session repair)", "CorruptSessionError")
        return Exit.PROBLEMS
    except (WrongOwnerError, transfer.TransferError) as error:
        out.error(_said(error), type(error).__name__)
        return Exit.PROBLEMS
    except InvalidInputError as error:
        out.error(_said(error), "InvalidInputError")
        return Exit.USAGE
    except (SessionError, BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is not a URL
        out.error(_said(error), type(error).__name__)
        return Exit.UNAVAILABLE


def _said(error: BaseException) -> str:
    return reports.printable(str(error).partition(" Call recover()")[0])


# --- looking ---------------------------------------------------------------------------------------------------------


@command("list")
async def list_sessions(
    store: Store,
    out: Output,
    owner: Owner = None,
    expired: Annotated[bool, typer.Option("--expired", help="Only expired ones.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="At most so many; 0 for all. Default: 100, with --json all.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on after this one, as the last page said.")
    ] = None,
) -> int:
    """List sessions with items, size, last write, expiry and owner. Reads the table up to where the list ends."""
    most = limit if limit is not None else (0 if out.as_json else 100)
    shown: list[survey.Listed] = []
    more: str | None = None
    with out.counting("sessions read:") as on_page:
        async for entry in survey.listing(store, on_page=on_page, after=after):
            if not _wanted(entry, owner, expired):
                continue
            if most and len(shown) == most:
                more = shown[-1].session_id
                break
            shown.append(entry)
            if out.as_json:
                out.result("", _listed(entry))
    if out.as_json:
        return Exit.DONE
    out.result(reports.listing(sorted(shown, key=_updated, reverse=True), store.now()), None)
    out.note(f"{reports.many(len(shown), 'session')}, {_spent(store)}")
    if more is not None:
        out.note(f"there are more: --after {more!r}, or --limit 0", "yellow")
    return Exit.DONE


def _wanted(entry: survey.Listed, owner: str | None, expired: bool) -> bool:
    if expired and not entry.expired:
        return False
    return owner is None or (entry.info is not None and entry.info.owner == owner)


def _updated(entry: survey.Listed) -> int:
    return entry.info.updated_at if entry.info else 0


def _listed(entry: survey.Listed) -> dict[str, Any]:
    described = asdict(entry.info) if entry.info else {"session_id": entry.session_id}
    return {**described, "expired": entry.expired, "damaged": entry.info is None}


def _spent(store: Store) -> str:
    spent = store.spent
    written = f" and {spent.write_units:,.0f} write units" if spent.write_units else ""
    return f"{reports.many(spent.requests, 'request')}, {spent.read_units:,.1f} read units{written}"


@command("show")
async def show(
    store: Store,
    out: Output,
    session_id: SessionId,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many items; 0 for all.")] = 50,
    full: Annotated[bool, typer.Option("--full", help="Do not fold tools' arguments and outputs.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The items as they are stored, one line of JSON each.")] = False,
) -> int:
    """Show a session as a conversation: who said what, which tools ran, what waits for approval."""
    session = store.session(session_id)
    info = await _present(store, out, session_id)
    if info is None:
        return Exit.PROBLEMS
    items: list[Any] = list(await session.get_items(limit or None))
    if raw:
        for item in items:
            out.line(transfer.dump(item))
        return Exit.DONE
    run = await PendingRuns(session).get()
    entries = conversation.entries(items, first=max(1, info.items - len(items) + 1))
    data = {"session": info, "items": items, "run": run}
    out.result(reports.conversation(info, entries, run, store.now(), full=full), data)
    return Exit.DONE


async def _present(store: Store, out: Output, session_id: str) -> SessionInfo | None:
    """What the table holds of a session, expired or not; says so if there is none."""
    store.session(session_id)
    item = await store.table.read_item(session_id, store.patience())
    if item is None:
        out.error(f"there is no session {session_id!r} in table {store.table.name!r}", "NoSuchSession")
        return None
    store.engine(session_id).decoded(item)
    return survey.listed(item, store.now()).info


@command("cost")
async def cost(
    store: Store,
    out: Output,
    session_id: SessionId,
    appends: Annotated[int, typer.Option(min=1, help="Appends a turn: the question, then one an answer.")] = 2,
    read_price: Annotated[float, typer.Option(min=0, help="Dollars for a million read units.")] = pricing.READ_PRICE,
    write_price: Annotated[float, typer.Option(min=0, help="Dollars for a million write units.")] = pricing.WRITE_PRICE,
) -> int:
    """Tell what a turn of a session costs now, at on-demand prices (default: us-east-1)."""
    info = await _present(store, out, session_id)
    if info is None:
        return Exit.PROBLEMS
    head = store.engine(session_id).decoded(await store.table.read_item(session_id, store.patience()))
    sealing = pricing.sealing_units(head, appends, store.options)
    turn = pricing.turn_cost(info, sealing, appends, read_price, write_price)
    out.result(reports.cost(turn, read_price, write_price), turn)
    return Exit.DONE


@command("ping")
async def ping(store: Store, out: Output) -> int:
    """Check that the table can be read with these credentials, and how long that takes."""
    times: list[float] = []
    for _ in range(4):
        began = time.perf_counter()
        await store.table.read_item("ping", store.patience())
        times.append((time.perf_counter() - began) * 1000)
    first, best = times[0], min(times[1:])
    endpoint, _ = store.table.identity
    data = {"table": store.table.name, "endpoint": endpoint, "first_ms": round(first, 1), "ms": round(best, 1)}
    out.result(f"{store.table.name} at {endpoint}: {best:.1f} ms a read ({first:.1f} ms with the connection)", data)
    return Exit.DONE


# --- moving ----------------------------------------------------------------------------------------------------------


@command("export")
async def export(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session that has not expired.")] = False,
    owner: Owner = None,
    output: Annotated[
        typer.FileTextWrite, typer.Option("--output", "-o", help="The file; - for stdout.", encoding="utf-8")
    ] = "-",  # type: ignore[assignment]
) -> int:
    """Write sessions as JSON lines, to be imported again: a line for each session, then one for each item."""
    wanted = await _selected(store, out, session_ids, owner=owner, everything=everything)
    exported: list[dict[str, Any]] = []
    failed = 0
    with out.advancing("sessions exported", len(wanted)) as advance:
        for session_id in wanted:
            try:
                session = store.session(session_id)
                info = await session.describe()
                items = await session.get_items()
            except CorruptSessionError as error:
                out.error(f"{_said(error)} (not exported)", "CorruptSessionError")
                failed += 1
                continue
            if not info.exists:
                out.error(f"there is no session {session_id!r} in table {store.table.name!r}", "NoSuchSession")
                failed += 1
                continue
            for line in transfer.lines(info, items):
                output.write(f"{line}\n")
            exported.append({"session_id": session_id, "items": len(items)})
            advance(1)
    items_in_all = sum(entry["items"] for entry in exported)
    out.note(f"{reports.many(len(exported), 'session')} with {reports.many(items_in_all, 'item')}, {_spent(store)}")
    return Exit.PROBLEMS if failed else Exit.DONE


async def _selected(
    store: Store,
    out: Output,
    session_ids: Sequence[str] | None,
    *,
    owner: str | None,
    everything: bool = False,
    expired: bool = False,
) -> list[str]:
    """The sessions that a command line names, one by one or by what they are."""
    if bool(session_ids) + (owner is not None) + everything + expired != 1:
        raise InvalidInputError("name sessions, or say which with one of the options (see --help)")
    if session_ids:
        for session_id in session_ids:
            store.session(session_id)
        return list(dict.fromkeys(session_ids))
    found: list[str] = []
    damaged = 0
    with out.counting("sessions read:") as on_page:
        async for entry in survey.listing(store, on_page=on_page):
            if entry.info is None:
                damaged += 1
            if _wanted(entry, owner, expired) and not (everything and entry.expired):
                found.append(entry.session_id)
    if damaged and owner is not None:
        out.note(f"{reports.many(damaged, 'session')} with a damaged head: whose, nobody knows. See verify.", "yellow")
    return found


@command("import")
async def import_sessions(
    store: Store,
    out: Output,
    source: Annotated[
        typer.FileText, typer.Argument(metavar="FILE", help="What export wrote; - for stdin.", encoding="utf-8")
    ],
    append: Annotated[bool, typer.Option("--append", help="Add to sessions that exist.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the imported history in place of an old one.")
    ] = False,
    rename: Annotated[
        str | None, typer.Option("--as", metavar="SESSION", help="Import under this id; the file holds one session.")
    ] = None,
    ttl_seconds: Annotated[
        int | None, typer.Option(min=1, help="Let them expire so many seconds from now. Default: when they would have.")
    ] = None,
) -> int:
    """Read sessions from JSON lines. Each is stored whole or not at all; one that exists is left alone."""
    if append and replace:
        raise InvalidInputError("--append and --replace exclude each other")
    outcomes: list[dict[str, Any]] = []
    with out.counting("items read:") as on_item, ExitStack() as told:
        told.callback(lambda: out.result(_imported(outcomes), outcomes))  # also when the file turns out to be cut off
        for exported in transfer.sessions(_counted(source, on_item)):
            if rename is not None and outcomes:
                raise InvalidInputError(f"--as {rename!r}: the file holds more than one session")
            outcome = await _store(store, exported, rename or exported.session_id, append, replace, ttl_seconds)
            outcomes.append(
                {"session_id": rename or exported.session_id, "items": len(exported.items), "outcome": outcome}
            )
    return Exit.DONE if all(entry["outcome"] in _STORED for entry in outcomes) else Exit.PROBLEMS


_STORED = {"imported", "appended", "replaced"}


async def _store(
    store: Store, exported: transfer.Exported, session_id: str, append: bool, replace: bool, ttl_seconds: int | None
) -> str:
    if ttl_seconds is None and exported.ttl is not None:
        ttl_seconds = exported.ttl - store.now()
        if ttl_seconds <= 0:
            return "not imported, it has expired: --ttl-seconds imports it all the same"
    session = store.session(session_id, ttl_seconds=ttl_seconds, owner=exported.owner)
    exists = (await session.describe()).items > 0
    if exists and not append and not replace:
        return "not imported, the session exists: --append or --replace"
    if exists and replace:
        await session._atomic_replace_items(exported.items)
        return "replaced"
    await session.add_items(exported.items)
    return "appended" if exists else "imported"


def _counted(source: Iterable[str], on_item: Callable[[int], None]) -> Iterator[str]:
    for line in source:
        on_item(1)
        yield line


def _imported(outcomes: Sequence[dict[str, Any]]) -> str:
    lines = [f"{entry['session_id']}: {reports.many(entry['items'], 'item')} {entry['outcome']}" for entry in outcomes]
    return reports.printable("\n".join(lines)) if lines else "nothing to import"


# --- deleting --------------------------------------------------------------------------------------------------------


@command("delete")
async def delete(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    owner: Owner = None,
    expired: Annotated[bool, typer.Option("--expired", help="All that have expired, now.")] = False,
    yes: Yes = False,
) -> int:
    """Delete sessions for good: heads, parts, parked runs, and parts that no head knows of."""
    wanted = await _selected(store, out, session_ids, owner=owner, expired=expired)
    if not wanted:
        out.result("nothing has expired" if expired else "there is no such session", [])
        return Exit.DONE if expired else Exit.PROBLEMS
    what = repr(wanted[0]) if len(wanted) == 1 else reports.many(len(wanted), "session")
    if not out.confirmed(f"Delete {reports.printable(what)} from table {store.table.name!r} for good?", yes=yes):
        out.note("nothing was deleted")
        return Exit.PROBLEMS
    done: list[survey.Erased] = []
    with out.advancing("sessions deleted", len(wanted)) as advance, ExitStack() as told:
        told.callback(lambda: out.result(reports.erased(done), done))  # also when it is interrupted
        for session_id in wanted:
            done.append(await survey.erase(store, session_id, owner))
            advance(1)
    if owner is not None:
        out.note("Parts of sessions deleted earlier carry no owner: verify finds any, repair deletes them.")
    return Exit.DONE if any(one.existed for one in done) else Exit.PROBLEMS


# --- checking --------------------------------------------------------------------------------------------------------


@command("verify")
async def verify(store: Store, out: Output, session_ids: SessionIds = None) -> int:
    """Check sessions, or the whole table: every head and part is read. Changes nothing."""
    found = await _surveyed(store, out, session_ids)
    out.result(reports.survey(found, store.now()), found)
    out.note(_spent(store))
    return Exit.PROBLEMS if found.problems else Exit.DONE


async def _surveyed(store: Store, out: Output, session_ids: Sequence[str] | None) -> survey.Survey:
    for session_id in session_ids or ():
        store.session(session_id)
    with out.counting("items read:") as on_page:
        if session_ids:
            found, suspects = await survey.collect_sessions(store, dict.fromkeys(session_ids))
        else:
            found, suspects = await survey.collect_table(store, on_page)
    with out.advancing("sessions examined", len(suspects)) as advance:
        await survey.examine_all(store, found, suspects, advance)
    return found


@command("repair")
async def repair(
    store: Store,
    out: Output,
    session_ids: SessionIds = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    yes: Yes = False,
) -> int:
    """Recover damaged sessions, as far as they can be read, and delete what no session uses."""
    found = await _surveyed(store, out, session_ids)
    problems = [*found.problems, *found.leftovers]
    if not problems:
        out.result("there is nothing to repair", [])
        return Exit.DONE
    if dry_run:
        out.result(reports.plan(problems), problems)
        return Exit.PROBLEMS if found.problems else Exit.DONE
    if found.is_doubtful and not session_ids:
        out.error(
            "most sessions look damaged: rather than the table, this version of the command is likely the wrong one. "
            "Repair sessions by their ids if you are sure.",
            "TooMuchDamage",
        )
        return Exit.PROBLEMS
    sessions: dict[str, list[survey.Problem]] = {}
    for problem in problems:
        sessions.setdefault(problem.session_id, []).append(problem)
    if not yes and not out.as_json:
        out.result(reports.plan(problems), None)
    if not out.confirmed(
        f"Repair {reports.many(len(sessions), 'session')}? What is given up is gone for good.", yes=yes
    ):
        out.note("nothing was repaired")
        return Exit.PROBLEMS
    done = await _repaired(store, out, sessions)
    out.result(reports.repairs(done), done)
    return Exit.PROBLEMS if any(one.left or one.failed for one in done) else Exit.DONE


async def _repaired(store: Store, out: Output, sessions: dict[str, list[survey.Problem]]) -> list[survey.Repair]:
    done: list[survey.Repair] = []
    with out.advancing("sessions repaired", len(sessions)) as advance:
        for session_id, problems in sessions.items():
            try:
                done.append(await survey.repair(store, session_id, problems))
            except SessionError as error:
                done.append(survey.Repair(session_id, None, False, (), tuple(problems), failed=_said(error)))
            advance(1)
    return done
