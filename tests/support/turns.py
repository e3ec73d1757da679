"""A conversation with the built function, whose model is the strict endpoint and whose tools' effects are counted.

with turn_stage() as stage, stage.environment() as one:
    stage.model.script = by_turn(calls("pay", amount=3), says("Paid."))
    assert one.invoke(ask("ada", "Pay 3.")).answer["status"] == 200
    assert stage.effects.of("pay") == 1
    stage.assert_goes_on(one, "ada")
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Stage, agent_stage, until
from tests.support.streamed import StreamEnvironment
from tools.emulation import rie
from tools.emulation.effects import Effects
from tools.emulation.rie import Emulator
from tools.emulation.strict_model import StrictModel
from tools.emulation.strict_script import says

TURN_FUNCTION = Path(__file__).parent / "turn_function"
COME_AGAIN = (409, 503)
WARM_UP = "warm up"
START_SECONDS = 60
"""What the start may take beside the turn, on a machine that is busy; the emulator counts it in."""
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
"""The two functions."""

Environment = Emulator | StreamEnvironment


@dataclass(frozen=True)
class TurnStage:
    """What a test of turns has at hand.

    Attributes:
        stage: The tables.
        model: The model's endpoint.
        effects: The world that tools have effects in.
    """

    stage: Stage
    model: StrictModel
    effects: Effects

    def environment(self, *, turn_seconds: int = 60, handler: str = "handler.handler", **variables: str) -> Emulator:
        """A new execution environment of the function with the tests' agent.

        Args:
            turn_seconds: The time of an invocation, its start excluded.
            handler: Of which of the service's functions.
            **variables: More environment variables, or others.
        """
        folders = [TURN_FUNCTION, rie.built_layer()]
        environ = self._variables(turn_seconds) | variables
        return Emulator(handler, folders, environ, timeout_seconds=turn_seconds + START_SECONDS)

    def _variables(self, turn_seconds: int) -> dict[str, str]:
        return self.stage.variables | {
            "MODEL_PROVIDER": "openai",
            "MODEL_BASE_URL": self.model.base_url,
            "OPENAI_API_KEY": "sk-test",
            "EFFECTS_HOST": self.effects.url.removeprefix("http://"),
            "LEASE_WAIT_SECONDS": "0.2",
            "TURN_SECONDS": str(turn_seconds),
        }

    def streaming(self, *, turn_seconds: int = 60, **variables: str) -> StreamEnvironment:
        """The same of the function that streams."""
        folders = [TURN_FUNCTION, rie.built_layer()]
        return StreamEnvironment(folders, self._variables(turn_seconds) | variables, turn_seconds)

    @contextmanager
    def warm(self, *, streamed: bool = False, **settings: Any) -> Iterator[Environment]:
        """An environment that has served a turn: what follows is not about importing."""
        with (self.streaming if streamed else self.environment)(**settings) as environment:
            self.reset()
            warm_up(environment)
            self.reset()
            yield environment

    def reset(self) -> None:
        """The model and the effects as at the start."""
        self.model.reset()
        self.effects.reset()

    def assert_goes_on(self, environment: Environment, session_id: str, *, mended: bool = False) -> list[Any]:
        """The session is as sessions have to be after anything that happened: readable, and good for another turn.

        Args:
            environment: Where the next turn is taken.
            session_id: The session.
            mended: Whether what the model is sent may differ from what it said.

        Returns:
            The history.
        """
        self.model.script = lambda asked: says(f"You said: {asked.said}")
        refused = len(self.model.refusals)
        answer = invoke_when_free(environment, ask(session_id, "And now?"))
        assert (answer["status"], answer.get("answer")) == (200, "You said: And now?"), (answer, self.model.refusals)
        assert len(self.model.refusals) == refused
        assert mended or self.model.issued.rewritten == []
        return history(environment, session_id)


@contextmanager
def turn_stage() -> Iterator[TurnStage]:
    """Start an engine with the agent's tables, a model and a world."""
    with agent_stage() as stage, StrictModel() as model, Effects() as effects:
        yield TurnStage(stage, model, effects)


def warm_up(environment: Environment) -> None:
    """Let an environment serve a turn; a short time may be over before the first one is."""
    served = until(90, lambda: environment.invoke(ask(new_id(), WARM_UP, idempotency_key="k")).answer["status"] == 200)
    assert served, environment.log


def new_id() -> str:
    """An id that no other test uses."""
    return uuid.uuid4().hex


def ask(session_id: str, message: str, **more: Any) -> dict[str, Any]:
    """A message."""
    return {"session_id": session_id, "message": message, **more}


def go_on(session_id: str, **more: Any) -> dict[str, Any]:
    """A request to continue."""
    return {"session_id": session_id, "action": "continue", **more}


def history(environment: Environment, session_id: str) -> list[Any]:
    """A session's items."""
    request = {"session_id": session_id, "action": "history", "limit": 1000}
    items: list[Any] = environment.invoke(request).answer["items"]
    return items


def invoke_when_free(environment: Environment, request: Any, seconds: float = 30) -> Any:
    """Call again for as long as another turn holds the session, as a client that heeds Retry-After does."""
    deadline = time.monotonic() + seconds
    while True:
        answer = environment.invoke(request).answer
        busy = answer["status"] in COME_AGAIN and "retry_after" in answer
        if not busy or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def kinds(items: list[Any]) -> list[str]:
    """What a history consists of."""
    return [item.get("type", item.get("role")) for item in items]


def said(items: list[Any]) -> list[str]:
    """The users' messages of a history."""
    return [item["content"] for item in items if item.get("role") == "user"]


def outputs(items: list[Any]) -> list[str]:
    """What the tools returned, as a history has it."""
    return [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
