"""Stop gracefully: the first SIGINT or SIGTERM asks, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from dlkit.cli._console import write_stderr

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop:
    """Within this context, `requested` is the number of the signal that asked to stop, or None.

    While `saves` is false there is nothing that a stop could save: a signal then ends the program.

    Args:
        message: what to tell the user on the first signal.
        then: called on the first signal.
        saves: what it is at first.
    """

    def __init__(self, message: str, then: Callable[[], None] = lambda: None, saves: bool = True) -> None:
        self.message = message
        self.saves = saves
        self.then = then
        self.requested: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> GracefulStop:
        self._previous = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            if os.isatty(2):
                os.write(2, b"\x1b[?25h\n")  # the live view had hidden the cursor
            workers: Any = sys.modules.get("multiprocessing")
            for worker in workers.active_children() if workers else ():
                worker.kill()
            os._exit(128 + number)
        if not self.saves:
            raise SystemExit(128 + number)
        self.requested = number
        self.then()
        write_stderr(self.message)
