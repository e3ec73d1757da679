"""The chat page on this machine (`make page`): the streaming server with the built layer, and a table.

It is the same page and the same code as on Lambda, there behind the Lambda Web Adapter. The table lives in memory; what
it holds is written to .work/chat.jsonl, beside those of `make chat`. Conversations of the page have an owner, since
those of nobody are in no list.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools import interrupts, local_stack
from tools.chat_store import STORE, claimed, load, save
from tools.conversation import announce, announce_store, console
from tools.emulation import rie
from tools.local_stack import LocalStack

HOST = "127.0.0.1"
LOG = ".work/page.log"
EXPORTS = ".work/page.env"
START_SECONDS = 60
SAVE_SECONDS = 3
OWNER = "local"
"""Whose the conversations are: those of nobody are in no list."""
PORT = 8642
"""If it is free: a browser keeps its list of conversations for each address."""


@contextmanager
def serving(variables: Mapping[str, str], log: Path, port: int = 0) -> Iterator[str]:
    """Run the streaming server, as the Lambda Web Adapter starts it, for the time of a with-block.

    Args:
        variables: The function's environment variables.
        log: The file that its log is written to.
        port: Where it listens; 0 for a free port.

    Yields:
        Its URL.

    Raises:
        RuntimeError: It ended, or did not answer in time.
    """
    port = port or free_port()
    environ = environ_of_server(port) | dict(variables)
    with log.open("wb") as output, _started(environ, output) as server:
        try:
            wait_for(server, log, url := f"http://{HOST}:{port}")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()


def environ_of_server(port: int) -> dict[str, str]:
    """The environment variables of a streaming server, beside what a function is told."""
    return {
        "PATH": os.pathsep.join((str(rie.RUNTIME / "bin"), os.defpath)),
        "LAMBDA_TASK_ROOT": str(rie.FUNCTION),
        "LAMBDA_RUNTIME_DIR": str(rie.built_layer()),  # which here has what is in /opt/python there
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",  # the built layer is what is shipped
        "ALLOW_ANONYMOUS": "true",  # whoever is at this machine: the server listens to nobody else
        "PORT": str(port),
    }


def _started(environ: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    with interrupts.deferred():
        return subprocess.Popen([rie.FUNCTION / "run.sh"], env=environ, stdout=output, stderr=output)


def free_port(preferred: int = 0) -> int:
    """A port that nobody listens on; the preferred one if that is so."""
    try:
        with socket.create_server((HOST, preferred)) as probe:
            port: int = probe.getsockname()[1]
            return port
    except OSError:
        return free_port()


def wait_for(server: subprocess.Popen[bytes], log: Path, url: str) -> None:
    """Wait until a server answers.

    Raises:
        RuntimeError: It ended, or did not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended at once with exit code {server.returncode}: see {log}")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own http URL
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not answer within {START_SECONDS} s: see {log}")


def main() -> int:
    """Serve until somebody presses Ctrl-C."""
    arguments = _arguments()
    try:
        with claimed(arguments.store) as store, local_stack.running(announce) as stack:
            announce_store(store, arguments.store)
            stack.restore(load(store))
            try:
                serve(stack, store, arguments.port)
            finally:
                save(stack.items(), store)
    except RuntimeError as error:
        console.print(f"[bold red]the page could not be served:[/] {error}")
        return 1
    return 0


def serve(stack: LocalStack, store: Path, port: int) -> None:
    """Serve the page and keep its conversations, until somebody stops it."""
    announce("starting the agent")
    variables = stack.variables() | {"SERVE_PAGE": "true", "LOCAL_OWNER": OWNER}
    (rie.ROOT / EXPORTS).write_text(stack.exports() + "\n")
    with serving(variables, rie.ROOT / LOG, port or free_port(PORT)) as url:
        console.print(f"\n  The {stack.model['MODEL_PROVIDER']} model answers at [bold]{url}[/] (Ctrl-C ends it)")
        console.print(f"  [dim]Its log is {LOG}; with `. {EXPORTS}`, openai-agents-session finds its table.[/]")
        while True:
            time.sleep(SAVE_SECONDS)
            save(stack.items(), store)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the chat page on this machine.")
    parser.add_argument("--port", type=int, default=0, help=f"where to listen (default: {PORT}, or any free port)")
    parser.add_argument("--store", type=Path, default=STORE, help="keeps the conversations (default: .work/chat.jsonl)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
