"""A progress bar for bytes or runs: on a terminal, and only once the work takes a while; elsewhere rare plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from dlkit import progress
from dlkit.app.events import Prepared, Work
from dlkit.cli.console import Output, live_console, note

_SHOWN_AFTER_SECONDS = 0.5
_LINE_EVERY_SECONDS = 20.0


class ProgressBar:
    """Use it as a context manager.

    Args:
        title: shown before the bar.
        total: in bytes; None if unknown.
        console: a rich console on stderr that is a terminal, or None for nothing at all.
        whole: count things instead of bytes.
        plain: without a console, write a line from time to time.
    """

    def __init__(self, title: str, total: int | None, console: Any, whole: bool = False, plain: bool = False) -> None:
        self.title, self.total, self.console, self.whole, self.plain = title, total, console, whole, plain
        self.done = 0
        self.started = self.said = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> ProgressBar:
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
        elif self.plain and self.console is None and time.monotonic() - self.said > _LINE_EVERY_SECONDS:
            self.said = time.monotonic()
            unit, size = (1, "") if self.whole else (1e6, " MB")
            whole = f" of {self.total / unit:,.4g}" if self.total else ""
            note(f"{self.title}: {self.done / unit:,.4g}{whole}{size} in {self.said - self.started:.0f} s")

    def retitle(self, title: str) -> None:
        """Change the title."""
        self.title = title
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=title)

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


def preparing(quiet: bool) -> AbstractContextManager[None]:
    """In this context, a bar shows the progress of slow preparation of data and of evaluation, as counts."""
    return nullcontext() if quiet else progress.report_to(_count_bar)


def prepare(work: Work[Any, Any], output: Output) -> None:
    """Read events until recipe, data and model are known to fit; a bar shows slow steps on the way.

    The first is the import of torch, a second or more; so a terminal shows a line before it.
    """
    if "torch" not in sys.modules and sys.stderr is not None and sys.stderr.isatty():
        output.say("loading PyTorch, the data and the model")
    with preparing(output.quiet):
        next((event for event in output.without_remarks(work) if isinstance(event, Prepared)), None)


def reading(quiet: bool, plain: bool = True) -> AbstractContextManager[None]:
    """In this context, a bar shows the bytes read of a stream; without a terminal, plain lines do if `plain`."""

    @contextmanager
    def byte_bar(title: str, total: int | None) -> Generator[Callable[[int], None]]:
        with ProgressBar(title, total, live_console(), plain=plain) as bar:
            yield bar.advance

    return nullcontext() if quiet else progress.report_to(byte_bar)


@contextmanager
def _count_bar(title: str, total: int | None) -> Generator[Callable[[int], None]]:
    with ProgressBar(title, total, live_console(), whole=True, plain=True) as bar:
        yield bar.advance
