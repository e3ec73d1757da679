"""A command in a terminal, as a person has it: what it shows, what is typed, and Ctrl-C."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

CTRL_C = "\x03"
_SET_CHILD_SUBREAPER = 36


class Terminal:
    """A running command, ended with the with-block at the latest.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        environ: Its environment variables.
        seconds: How long each thing may take that is waited for.
    """

    def __init__(self, command: list[str], folder: Path, environ: Mapping[str, str], seconds: float = 60) -> None:
        self._command = command
        self._folder = folder
        self._environ = {**environ, "TERM": "xterm", "COLUMNS": "120"}
        self._seconds = seconds
        self._shown = b""

    def __enter__(self) -> Self:
        """Start it. What it leaves running becomes a child of this process."""
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._before = children()
        # A signal that came before the program is there would be lost: it is put off until then.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._process_id, self._terminal = pty.fork()
        if self._process_id:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            while os.tcgetpgrp(self._terminal) != self._process_id:  # until then, Ctrl-C has nobody to go to
                time.sleep(0.001)
        else:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, held)
                os.chdir(self._folder)
                os.execvpe(self._command[0], self._command, self._environ)  # noqa: S606 - a terminal's process
            finally:
                os._exit(127)
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left."""
        for process_id in self.left():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process_id, signal.SIGKILL)
                os.waitpid(process_id, 0)
        with contextlib.suppress(OSError):
            os.close(self._terminal)

    @property
    def process_id(self) -> int:
        """The command's own process."""
        return self._process_id

    @property
    def shown(self) -> str:
        """What it has shown, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace")).replace("\r", "")

    def sees(self, text: str, times: int = 1) -> None:
        """Wait until it has shown a text, so many times."""
        deadline = time.monotonic() + self._seconds
        while self.shown.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.shown}"
            assert self._read(), f"it ended without {text!r}:\n{self.shown}"

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def ends(self) -> int:
        """Wait for its end; the exit code, negative if a signal ended it."""
        deadline = time.monotonic() + self._seconds
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.shown}"
        while True:
            ended, status = os.waitpid(self._process_id, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"it does not end:\n{self.shown}"
            time.sleep(0.01)

    def left(self) -> set[int]:
        """The processes that are there and were not when it began, once they had a moment to end."""
        deadline = time.monotonic() + 1
        while (left := children() - self._before) and time.monotonic() < deadline:
            for process_id in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process_id, os.WNOHANG)
            time.sleep(0.05)
        return left

    def _read(self) -> bool:
        """Take what it shows now; whether it may show more."""
        if select.select([self._terminal], [], [], 0.05)[0]:
            try:
                part = os.read(self._terminal, 65_536)
            except OSError:  # nobody has the terminal any more
                return False
            self._shown += part
            return bool(part)
        return True


def children() -> set[int]:
    """The processes whose parent is this one."""
    from tools import interrupts

    assert sys.platform == "linux", "processes are looked up in /proc"
    return set(interrupts.children())
