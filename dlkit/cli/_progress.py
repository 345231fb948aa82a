"""A progress bar for bytes or runs: on a terminal only, and only once the work takes a while."""

from __future__ import annotations

import time
from typing import Any

_SHOWN_AFTER_SECONDS = 0.5


class Progress:
    """Use it as a context manager.

    Args:
        title: what is going on.
        total: bytes, None where nobody knows.
        console: a rich console on stderr that is a terminal, or None for nothing at all.
        whole: count things instead of bytes.
    """

    def __init__(self, title: str, total: int | None, console: Any, whole: bool = False) -> None:
        self.title, self.total, self.console, self.whole = title, total, console, whole
        self.done = 0
        self.started = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)
        elif self.console is not None and time.monotonic() - self.started > _SHOWN_AFTER_SECONDS:
            self._show()

    def _show(self) -> None:
        from rich import progress

        amount = (
            (progress.MofNCompleteColumn(),)
            if self.whole
            else (progress.DownloadColumn(), progress.TransferSpeedColumn())
        )
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            *amount,
            progress.TimeRemainingColumn(),
        )
        self.bar = progress.Progress(*columns, console=self.console, transient=True, redirect_stdout=False)
        self.bar.add_task(self.title, total=self.total, completed=self.done)
        self.bar.start()
