"""What becomes of a command that is asked to stop: by SIGINT, by SIGTERM, or by SIGHUP, when the connection is lost.

A command that nobody asked to outlive its terminal unwinds: what is unfinished is removed, and the exit code is 128
plus the signal's number. Work that can be saved, as in training, is saved first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any

from dlkit.cli.console import note
from dlkit.distributed.torchrun import launched_process

_PASSED_ON_SECONDS = 1.0  # in which torchrun passes a signal on to its processes
HANGUP: Any = getattr(signal, "SIGHUP", None)  # Windows has none


def _heeded(*numbers: Any) -> list[Any]:
    """The signals of these that this process does not ignore: `nohup` lets it ignore SIGHUP, and so it stays."""
    return [n for n in numbers if n is not None and not (n == HANGUP and signal.getsignal(n) == signal.SIG_IGN)]


def _terminals() -> list[int]:
    return [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


def _end_other_programs() -> None:
    """Ask programs that this one has started, such as a compiler, to end, and wait a moment until they have tidied up.

    Processes of Python are left to who started them. Elsewhere than on Linux nothing is done.
    """
    children = _children(os.getpid())
    others = [pid for pid in _descendants(children) if _is_other_program(pid)]
    for pid in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    latest = time.monotonic() + 2
    for pid in {*others} & {*children}:
        with contextlib.suppress(ChildProcessError):
            # its exit code stays for the code that waits for it
            while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) and time.monotonic() < latest:
                time.sleep(0.01)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has just ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def _descendants(children: list[int]) -> list[int]:
    return [pid for child in children for pid in (child, *_descendants(_children(child)))]


def _is_other_program(pid: int) -> bool:
    try:
        return not Path("/proc/self/exe").samefile(f"/proc/{pid}/exe")
    except OSError:  # it has just ended, or is another user's
        return False


def _let_go(terminals: list[int]) -> None:
    """Discard further output if the terminal is gone: writing it would fail in the middle of the stop."""
    for descriptor in terminals:
        if not os.isatty(descriptor):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


class Unwinding:
    """The number of the signal that made a command unwind, or None."""

    signal: int | None = None


@contextlib.contextmanager
def unwinding() -> Generator[Unwinding]:
    """In this context SIGTERM and SIGHUP raise SystemExit in the main thread, as SIGINT does KeyboardInterrupt.

    A library may replace it by an error of its own: an interrupted import is reported as an ImportError.
    """
    state = Unwinding()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    heeded, terminals = _heeded(signal.SIGTERM, HANGUP), _terminals()

    def end(number: int, frame: FrameType | None) -> None:
        state.signal = number
        for other in heeded:  # a shell passes on a hangup that came already; a second SIGTERM ends the process
            signal.signal(other, signal.SIG_IGN if other == HANGUP else signal.SIG_DFL)
        _let_go(terminals)
        _end_other_programs()
        raise SystemExit(128 + number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        state.signal = number
        _end_other_programs()
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, end) for number in heeded}
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        previous[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class GracefulStop:
    """In this context, `requested` is the number of the signal that asked to stop, or None.

    The first signal asks, and a second one ends the process at once: but not SIGHUP, which comes more than once when a
    terminal is closed, and not a signal that torchrun passes on, which this process has got already. While `saves` is
    false there is nothing that a stop could save: a signal then ends the program.

    Args:
        message: what to tell the user on the first signal.
        then: called on the first signal.
        saves: its initial value.
    """

    def __init__(self, message: str, then: Callable[[], None] = lambda: None, saves: bool = True) -> None:
        self.message = message
        self.saves = saves
        self.then = then
        self.requested: int | None = None
        self._asked = 0.0  # when
        self._previous: dict[Any, Any] = {}
        self._terminals: list[int] = []

    def __enter__(self) -> GracefulStop:
        self._terminals = _terminals()
        numbers = _heeded(signal.SIGINT, signal.SIGTERM, HANGUP)
        self._previous = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        _let_go(self._terminals)
        if self.requested is not None:
            if number == HANGUP or (launched_process() and time.monotonic() - self._asked < _PASSED_ON_SECONDS):
                return
            if os.isatty(2):
                os.write(2, b"\x1b[?25h\n")  # the live view had hidden the cursor
            workers: Any = sys.modules.get("multiprocessing")
            for worker in workers.active_children() if workers else ():
                worker.kill()
            os._exit(128 + number)
        if not self.saves:
            _end_other_programs()
            raise SystemExit(128 + number)
        self.requested, self._asked = number, time.monotonic()
        self.then()
        note(self.message)
