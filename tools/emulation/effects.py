"""The world that tools have effects in: a counter in another process than the function, which may be killed meanwhile.

with Effects() as effects:
    effects.on(2, "after", environment.kill)     # the environment dies when the second effect has happened
    ...                                          # a tool posts {"tool", "call_id", "arguments"} to effects.url
    assert effects.of("pay") == 1
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Literal

from tools.emulation.server import LocalServer, read_body, write

When = Literal["before", "after"]


@dataclass(frozen=True)
class Effect:
    """Something that a tool did.

    Attributes:
        tool: Its name.
        call_id: The id of the model's call.
        arguments: The call's arguments, as JSON text.
    """

    tool: str
    call_id: str
    arguments: str


class Effects(LocalServer):
    """A server that notes what tools do.

    Attributes:
        happened: The effects since the last reset, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noting = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._noting:
            self.happened: list[Effect] = []
            self._arrived = 0
            self._callbacks: dict[tuple[int, When], Callable[[], object]] = {}

    def on(self, number: int, when: When, callback: Callable[[], object]) -> None:
        """Do something before or after an effect, counted from 1 from now on; the tool waits meanwhile."""
        with self._noting:
            self._callbacks[self._arrived + number, when] = callback

    def of(self, tool: str) -> int:
        """How often a tool had its effect."""
        return sum(effect.tool == tool for effect in self.happened)

    def wait_for(self, count: int, seconds: float = 20) -> None:
        """Wait until so many effects have happened since the last reset.

        Raises:
            TimeoutError: They have not.
        """
        with self._noting:
            if not self._noting.wait_for(lambda: len(self.happened) >= count, seconds):
                raise TimeoutError(f"there were {len(self.happened)} effects in {seconds} s, not {count}")

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        effect = Effect(**json.loads(read_body(request)))
        with self._noting:
            self._arrived += 1
            number = self._arrived
        if before := self._callbacks.get((number, "before")):
            before()
            return  # who asked is dead: what it asked for never arrived
        with self._noting:
            self.happened.append(effect)
            self._noting.notify_all()
        if after := self._callbacks.get((number, "after")):
            after()
        with contextlib.suppress(OSError):  # who asked is dead
            write(request, 200, b"{}", {"content-type": "application/json"})
