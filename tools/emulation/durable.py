"""Lambda's durable side on this machine: it starts executions, keeps their checkpoints, and takes callbacks.

    with DurableLambda(lambda: Emulator("durable_app.handler", ...)) as durable:
        ...                                  # boto3, with the variables that durable.variables has
        durable.kill()                       # in the middle; its executions go on in new environments

What an execution is, is AWS's own (``executions.py``, which is not imported before the first request). Of Lambda's
this is: an asynchronous invocation with a name starts one execution, however often it is sent; an environment serves
one invocation at a time and is used again; one that failed or was killed is not.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tools.emulation.rie import Emulator
from tools.emulation.server import LocalServer, read_body, write

if TYPE_CHECKING:
    from tools.emulation.executions import Answer, Executions

FUNCTION = "agent-durable:live"
"""The name of the durable function, with the alias without which Lambda does not invoke it."""

_INVOCATIONS = "/2015-03-31/functions/"

Told = Callable[[str, str], object]
"""Told of a checkpoint: the name of an operation, and what it did, such as ``("model 1", "SUCCEED")``."""


class Environments:
    """The execution environments of a function: as many as it has invocations at a time.

    Args:
        new: Makes one, not started.

    Attributes:
        started: All that ever were.
    """

    def __init__(self, new: Callable[[], Emulator]) -> None:
        self.started: list[Emulator] = []
        self._new = new
        self._idle: list[Emulator] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def invoke(self, event: Any) -> Any:
        """Invoke the function in an environment that is free, or in a new one."""
        environment = self._free()
        try:
            answer = environment.invoke(event).answer
        except BaseException:
            environment.kill()
            raise
        with self._lock:
            self._idle.append(environment)
        return answer

    def _free(self) -> Emulator:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the function is gone")
            if self._idle:
                return self._idle.pop()
            environment = self._new().start()
            self.started.append(environment)
            return environment

    def kill(self, *, closing: bool = False) -> None:
        """Kill them all, whatever they are at."""
        with self._lock:
            self._is_closed = closing
            self._idle.clear()
            for environment in self.started:
                environment.kill()

    @property
    def log(self) -> str:
        """What all of them wrote."""
        return "".join(environment.log for environment in self.started)


class DurableLambda(LocalServer):
    """A durable function's side of Lambda, on a free port of 127.0.0.1.

    Args:
        new: Makes an execution environment of the function, not started.

    Attributes:
        environments: The function's.
        told: Told of each checkpoint when it is kept and before the function is answered. It may kill.
        denied: What of an operation's path stands for no permission to call it, such as ``"callbacks"``.
    """

    takes_get = True

    def __init__(self, new: Callable[[], Emulator]) -> None:
        super().__init__()
        self.environments = Environments(new)
        self.told: Told = lambda name, action: None
        self.denied: str | None = None
        self._beginning = threading.Lock()
        self._executions: Executions | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a function is told to start executions and to take part in them."""
        return {"DURABLE_FUNCTION": FUNCTION, "AWS_ENDPOINT_URL_LAMBDA": self.url}

    def kill(self) -> None:
        """Kill the function's environments; what they were at goes on in new ones."""
        self.environments.kill()

    def stop(self) -> None:
        """End every execution in the middle, with its environment."""
        self._begun().stop()
        self.kill()

    def forget(self) -> None:
        """Forget every execution, as Lambda does some time after it has ended."""
        with self._beginning:
            if self._executions:
                self._executions.close()
            self._executions = None

    @property
    def running(self) -> int:
        """How many executions have not ended: they work, or wait."""
        return self._begun().running()

    @property
    def statuses(self) -> list[str]:
        """What Lambda says of each execution, in the order of their starts."""
        return self._begun().statuses()

    def __exit__(self, *exception: object) -> None:
        """End the environments, which could still ask something of their executions, then these."""
        self.environments.kill(closing=True)
        self.forget()
        super().__exit__(*exception)

    def _begun(self) -> Executions:
        from tools.emulation.executions import Executions

        with self._beginning:
            self._executions = self._executions or Executions(self.environments.invoke)
            return self._executions

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body, executions = read_body(request), self._begun()
        path, _, query = request.path.partition("?")
        if self.denied is not None and self.denied in path:
            answer = _refused(403, "AccessDeniedException", "User is not authorized to perform this")
        elif path.startswith(_INVOCATIONS):
            answer = _invoked(executions, unquote(path.split("/")[3]), request, body)
        else:
            answer = executions.answer(request.command, path, query, body)
            if path.endswith("/checkpoint") and answer.status == 200:
                self._tell(body)
        with contextlib.suppress(OSError):  # who asked is dead
            write(request, answer.status, answer.body, answer.headers)

    def _tell(self, body: bytes) -> None:
        for update in json.loads(body).get("Updates", []):
            self.told(update.get("Name", ""), update["Action"])


def _invoked(executions: Executions, function: str, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
    from tools.emulation.executions import AlreadyStartedError, Answer

    if function == FUNCTION.partition(":")[0]:
        reason = "You cannot invoke a durable function using an unqualified ARN."
        return _refused(400, "InvalidParameterValueException", reason)
    if function != FUNCTION:
        return _refused(404, "ResourceNotFoundException", f"Function not found: {function}")
    if request.headers["x-amz-invocation-type"] != "Event":
        return _refused(400, "InvalidParameterValueException", "this stand-in starts executions asynchronously only")
    try:
        arn = executions.start(function, request.headers["x-amz-durable-execution-name"], body)
    except AlreadyStartedError as error:
        return _refused(409, "DurableExecutionAlreadyStartedException", f"the execution {error} has another payload")
    return Answer(202, {"x-amz-durable-execution-arn": arn})


def _refused(status: int, kind: str, reason: str) -> Answer:
    from tools.emulation.executions import Answer

    return Answer(status, {"x-amzn-errortype": kind}, json.dumps({"message": reason}).encode())
