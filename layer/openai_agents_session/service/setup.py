"""What a team tells the service about its agent."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .context import TurnContext
from .identity import OwnerOf
from .settings import Settings

if TYPE_CHECKING:
    from agents import Agent, RunConfig

    BuildAgent = Callable[[Settings], Agent[Any]]
    MakeRunConfig = Callable[[Settings], RunConfig]
    ContextOf = Callable[[TurnContext], Any]

MAX_TURNS = 10


@dataclass(frozen=True, eq=False)
class Setup:
    """How an agent is made and run.

    Attributes:
        build_agent: Makes the agent; or its name, as ``"module:function"``, which is imported at the first turn.
        run_config: Makes the SDK's settings of a run, or its name; None for the SDK's own.
        max_turns: How often the model is asked in a turn before it is given up.
        without_effects: Names of tools that may run again without harm.
        handoffs_last: Whether a turn begins with the agent that the conversation was handed over to last.
        owner_of: Says who sends an HTTP event; None for the service's own table.
        context_of: Makes the run's context from the turn's; None for the turn's own.
    """

    build_agent: BuildAgent | str
    run_config: MakeRunConfig | str | None = None
    max_turns: int = MAX_TURNS
    without_effects: frozenset[str] = frozenset()
    handoffs_last: bool = True
    context_of: ContextOf | None = None
    owner_of: OwnerOf | None = None

    def new_agent(self, settings: Settings) -> Agent[Any]:
        """The agent."""
        build = cast("BuildAgent", resolved(self.build_agent))
        return build(settings)

    def new_run_config(self, settings: Settings) -> RunConfig | None:
        """The settings of a run, if the team has any."""
        if self.run_config is None:
            return None
        return cast("MakeRunConfig", resolved(self.run_config))(settings)

    def context_for(self, turn: TurnContext) -> Any:
        """The context of a run."""
        return turn if self.context_of is None else self.context_of(turn)

    def preload(self) -> None:
        """Import what a turn needs, where nobody waits for it."""
        from . import running  # noqa: F401

        resolved(self.build_agent)


def check_named(what: str, given: object) -> None:
    """Refuse, where it is written, what could be no function and no name of one.

    Raises:
        TypeError: It is neither.
    """
    if callable(given) or (isinstance(given, str) and all(given.partition(":"))):
        return
    raise TypeError(f"{what} must be a function, or its name such as 'agent:build_agent', not {given!r}")


def resolved(named: Callable[..., Any] | str) -> Callable[..., Any]:
    """A function, imported if it is given by its name.

    Raises:
        ValueError: The name has not the form module:function, or names no function.
    """
    if callable(named):
        return named
    module, _, name = named.partition(":")
    if not (module and name):
        raise ValueError(f"{named!r} must be of the form module:function, such as agent:build_agent")
    function = getattr(importlib.import_module(module), name, None)
    if callable(function):
        return cast(Callable[..., Any], function)
    raise ValueError(f"{named!r}: module {module} has no function {name}")
