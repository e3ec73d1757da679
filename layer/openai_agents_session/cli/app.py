"""The whole command: every command registered, its help and its version."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from .commands import accounting, check, delete, editing, export, importing, listing, salvage, show, table
from .frame import app

__all__ = [
    "accounting",
    "app",
    "check",
    "delete",
    "editing",
    "export",
    "importing",
    "listing",
    "salvage",
    "show",
    "table",
]

_DISTRIBUTION = "openai-agents-session-layer"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openai-agents-session {importlib.metadata.version(_DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """See, move, check, repair and delete the sessions of openai-agents in a DynamoDB table."""


_ORDER = ("list", "show", "cost", "usage", "rename", "fork", "redact", "export", "import", "delete")
_CHECKS = ("verify", "repair", "salvage")
_AFTER = ("ping", "create-table", "add-index", "help")


@app.command("help")
def help_(
    context: typer.Context, name: Annotated[str | None, typer.Argument(metavar="[COMMAND]", show_default=False)] = None
) -> None:
    """Print this help, or that of a command."""
    parent = context.parent
    assert parent is not None  # noqa: S101 - a command has one
    if name is None:
        typer.echo(parent.get_help())
        return
    commands = typer.main.get_command(app)
    found = commands.get_command(parent, name)  # type: ignore[attr-defined]
    if found is None:
        context.fail(f"No such command '{name}'.")
    typer.echo(found.get_help(typer.Context(found, info_name=name, parent=parent)))


app.registered_commands.sort(key=lambda command: (*_ORDER, *_CHECKS, *_AFTER).index(command.name or ""))
