"""The frame of every command: where the table is, opening it, and how what happens becomes an exit code."""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_type_hints

import typer

from . import interrupt
from .faults import EXPECTED, Exit, fault
from .output import Output
from .store import Connection, opened

app = typer.Typer(
    name="openai-agents-session",
    help="See, move, check, repair and delete the sessions of openai-agents in a DynamoDB table.",
    epilog=(
        "Exit codes: 0 done; 1 problems found, nothing there, or declined; 2 wrong usage; 3 DynamoDB, AWS or a file "
        "cannot be used; 130 interrupted. Results go to stdout, everything else to stderr."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help fits every width and every encoding
    context_settings={"help_option_names": ["-h", "--help"]},
)

_EVERYWHERE: dict[str, tuple[Any, Any]] = {
    "table": (
        Annotated[str, typer.Option("--table", "-t", envvar="SESSION_TABLE", metavar="NAME", help="The table.")],
        inspect.Parameter.empty,
    ),
    "region": (
        Annotated[
            str | None, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], metavar="NAME", help="AWS region.")
        ],
        None,
    ),
    "endpoint_url": (
        Annotated[
            str | None,
            typer.Option(
                envvar=["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"],
                metavar="URL",
                help="Another endpoint than AWS's.",
            ),
        ],
        None,
    ),
    "profile": (
        Annotated[str | None, typer.Option(envvar="AWS_PROFILE", metavar="NAME", help="Of the AWS configuration.")],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")], False),
}

Work = Callable[..., Awaitable[int]]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="Its id, or how it begins.", show_default=False)]
SessionIds = Annotated[list[str] | None, typer.Argument(metavar="[SESSION]...", help="Their ids.", show_default=False)]
Owner = Annotated[str | None, typer.Option(metavar="OWNER", help="Only sessions of this owner, '' for nobody's.")]
Prefix = Annotated[str | None, typer.Option(metavar="TEXT", help="Only ids that begin so.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only what was written since: 90min, 2h, 3d, 2026-11-25, 2026-11-25T10:30Z."),
]
After = Annotated[
    str | None, typer.Option(metavar="SESSION", help="Go on after this one, in the table's order, as was said before.")
]
AtOnce = Annotated[
    int, typer.Option("--concurrency", min=1, max=10, metavar="NUMBER", help="How many sessions to work on at a time.")
]
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
            given = {name: _as_typed(arguments.pop(name)) for name in _EVERYWHERE}
            out = Output(as_json=given.pop("as_json"))
            own = {name: _as_typed(value) for name, value in arguments.items()}
            raise typer.Exit(_finished(work, Connection(**given), out, own))

        run.__doc__ = work.__doc__
        run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
        app.command(name)(run)
        return work

    return register


def _as_typed(value: Any) -> Any:
    """An argument as it was typed: where the locale is not UTF-8, Python hands over bytes that it could not decode."""
    if isinstance(value, list):
        return [_as_typed(one) for one in value]
    if isinstance(value, str) and any("\udc80" <= character <= "\udcff" for character in value):
        with contextlib.suppress(UnicodeError):
            return value.encode("utf-8", "surrogateescape").decode()
    return value


def _finished(work: Work, connection: Connection, out: Output, arguments: dict[str, Any]) -> int:
    """Do the work; what goes wrong becomes a message and an exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what libraries log, tracebacks and all

    async def do() -> int:
        async with opened(connection) as store:
            code = await work(store, out, **arguments)
        out.flush()
        return code

    try:
        return interrupt.run(do)
    except KeyboardInterrupt:
        out.note("interrupted", "bold red")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return Exit.PROBLEMS  # whoever read the output has had enough
    except EXPECTED as error:
        _forget_stdout()
        found = fault(error)
        out.error(found.text, found.kind)
        return found.code


def _forget_stdout() -> None:
    """What could be written was; what could not would fail again when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.close()
