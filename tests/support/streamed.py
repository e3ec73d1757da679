"""The streaming function with the tests' agent: what is used of an `Emulator`, served by the other way.

A request is a direct event; it is sent as the HTTP request that asks for the same, with the headers that the Lambda Web
Adapter adds, and its answer is the last event of the stream.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.events import Answer, Client, path_of
from tools.emulation import rie
from tools.emulation.rie import Invocation
from tools.page import HOST, environ_of_server, free_port, wait_for


class StreamEnvironment:
    """One execution environment whose function streams.

    Args:
        folders: What is imported from, in this order.
        environ: Environment variables.
        turn_seconds: The time of an invocation.

    Attributes:
        turn_seconds: The same, for those to come.
    """

    def __init__(self, folders: list[Path], environ: Mapping[str, str], turn_seconds: float) -> None:
        self._port = free_port()
        path = os.pathsep.join(map(str, folders))
        told = {"PYTHONPATH": path, "AWS_LAMBDA_FUNCTION_NAME": "streaming"}
        self._environ = environ_of_server(self._port) | told | dict(environ)
        self.turn_seconds = turn_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory()

    @property
    def process_id(self) -> int:
        """The server's."""
        assert self._process, "the environment is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log"

    def invoke(self, event: dict[str, Any]) -> Invocation:
        """Ask for what a direct event asks for.

        Raises:
            OSError: The server ended.
        """
        began = time.monotonic()
        context = {"request_id": str(uuid.uuid4()), "deadline": int((time.time() + self.turn_seconds) * 1000)}
        headers = {"x-amzn-lambda-context": json.dumps(context)}
        if "idempotency_key" in event:
            headers["idempotency-key"] = event["idempotency_key"]
        try:
            with Client(f"http://{HOST}:{self._port}", headers).ask(*_request(event)) as answer:
                return Invocation(_last(answer), time.monotonic() - began)
        except http.client.HTTPException as error:
            raise ConnectionError("the stream was cut") from error

    def kill(self) -> None:
        """End the environment at once, as it stands."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            command = [str(rie.RUNTIME / "bin" / "python"), "-m", "openai_agents_session.service", "handler:service"]
            self._process = subprocess.Popen(command, env=self._environ, stdout=output, stderr=output)
        wait_for(self._process, self._log, f"http://{HOST}:{self._port}")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()


def _request(event: dict[str, Any]) -> tuple[str, str, Any]:
    path = path_of(event["session_id"])
    match event.get("action", "message"):
        case "message":
            return "POST", path, {"message": event["message"]}
        case "continue":
            return "POST", path, {"continue": True}
        case "history":
            return "GET", f"{path}?limit={event['limit']}", None
        case "approve" | "reject" | "discard" as decision:
            return "POST", f"{path}/approvals", {"decision": decision, "run_id": event["run_id"]}
    raise ValueError(f"nobody asks for {event} here")


def _last(answer: Answer) -> dict[str, Any]:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        body: dict[str, Any] = answer.json()
        return body
    events = [event for event in answer.events() if event[0] != "heartbeat"]
    if not events or events[-1][0] not in ("done", "error"):
        raise ConnectionError(f"the stream was cut after {events[-1:]}")
    return events[-1][1]
