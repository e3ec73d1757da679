"""How a command ends when somebody stops it: one line, exit code 128 and the signal's number, nothing left running.

    sys.exit(interrupts.run(main))

Ctrl-C, a closed terminal (SIGHUP) and SIGTERM are one kind. Each raises `Interrupted` in the main thread, so that
with-blocks close what they opened; then every process that still descends from this one is killed. Runs on the
standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

FROM_TERMINALS = (signal.SIGINT, signal.SIGHUP)
"""What a terminal sends to every process in it."""

SIGNALS = (*FROM_TERMINALS, signal.SIGTERM)

_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 0.1
_CHECKPOINT = 0
"""Among the numbers of the signals that came: whether those before it were seen has been checked."""


class Interrupted(KeyboardInterrupt):
    """Somebody stopped the command.

    Attributes:
        number: The signal that said so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(main: Callable[[], int]) -> int:
    """Run a command's main function.

    Started with these signals blocked (`env --block-signal`, as the Makefile does), a command also ends like this when
    it is stopped while Python starts and imports.

    Args:
        main: Does the work.

    Returns:
        What `main` returns. Does not return when the command is stopped: the process then ends, whatever its other
        threads wait for.
    """
    _adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    _insist()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return main()
    except KeyboardInterrupt as stopped:
        _end(stopped)
    finally:
        _ignore()
        kill_descendants()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Put a terminal's signals off until the end of a with-block, for starting a process that only this one may end.

    The process inherits that: a Ctrl-C does not end it before those that still need it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def noted() -> Iterator[threading.Event]:
    """Take Ctrl-C, for the time of a with-block, as no more than a wish: the event is set, and nothing ends."""
    event = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        if event.is_set():
            _checked()  # else it would be sent again, and end the command, once `before` is in its place
        signal.signal(signal.SIGINT, before)


def kill_descendants() -> None:
    """Kill every process that descends from this one. Where there is no /proc, none is found."""
    while left := list(children()):
        for process_id in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        for process_id in left:  # whose own children are ours from now on
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process_id, 0)


def _interrupt(number: int, _: FrameType | None) -> None:
    _ignore()  # a second Ctrl-C must not tear the cleaning up
    raise Interrupted(number)


def _insist() -> None:
    """Have a signal sent again until Python has seen it: one that comes just before a system call does not end that."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _came.write = lambda number: os.write(writing, bytes([number]))

    def insist() -> None:
        while number := os.read(reading, 1):
            if number[0] == _CHECKPOINT:
                _came.checked.set()
                continue
            time.sleep(_PATIENCE_SECONDS)
            if signal.getsignal(number[0]) is _interrupt:  # it puts another in its place
                signal.pthread_kill(threading.main_thread().ident or 0, number[0])

    threading.Thread(target=insist, daemon=True).start()


class _Came:
    """The signals that came, for the thread that insists on them."""

    write: Callable[[int], object] | None = None
    checked = threading.Event()


_came = _Came()


def _checked() -> None:
    """Wait until the thread that insists has done with every signal that came so far."""
    if _came.write:
        _came.checked.clear()
        _came.write(_CHECKPOINT)
        _came.checked.wait()


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, not inherited by what is started now


def _end(stopped: KeyboardInterrupt) -> NoReturn:
    kill_descendants()
    number = stopped.number if isinstance(stopped, Interrupted) else signal.SIGINT
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stdout.flush()
        # Not through sys.stderr: a spinner that is drawn at this moment has taken that over, and is no terminal itself.
        newline = "\n" if os.isatty(2) else ""  # the line has the ^C in it
        os.write(2, f"{newline}stopped: everything that this had started was ended\n".encode())
    os._exit(128 + number)


def _adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends, so that they can be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> Iterator[int]:
    """The processes whose parent is this one."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # "4711 (a name, maybe with spaces) S 1 ...": after the name, the state and the parent.
            if int(entry.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                yield int(entry.parent.name)
