"""What a person sees of a download: a bar for each file and one for all on a terminal, rare plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Any

from dlkit.memory import size_text

_LINE_EVERY_SECONDS = 10.0
_MOST_BARS = 8


class DownloadView:
    """Follows a download from several threads. Use it as a context manager.

    Args:
        console: a rich console on stderr that is a terminal, or None for plain lines through `write`.
        write: prints a plain line on stderr.
    """

    def __init__(self, console: Any, write: Any) -> None:
        self.console, self.write = console, write
        self._lock = threading.Lock()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._total: Any = None
        self._sizes: dict[str, int | None] = {}
        self._offsets: dict[str, int] = {}
        self._name = self._what = ""
        self._count = self._goal = 0
        self._started = self._reported = time.monotonic()
        self._first: int | None = None  # bytes that were here before: they do not count for the rate

    def __enter__(self) -> DownloadView:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        self._tasks = {}

    def note(self, text: str) -> None:
        """A remark above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            self.write(text)

    def begin(self, name: str, sizes: dict[str, int | None]) -> None:
        """A data set of these files is fetched now."""
        with self._lock:
            self._clear()
            self._name, self._sizes, self._offsets, self._what = name, dict(sizes), {}, ""
            self._started = self._reported = time.monotonic()
            self._first = None
            self._goal = sum(size or 0 for size in sizes.values())
            if self.console is not None:
                self._show_bytes()

    def _show_bytes(self) -> None:
        from rich import progress

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=self.console,
            transient=True,
            redirect_stdout=False,
        )
        self._total = self._bars.add_task(self._name, total=self._goal or None)
        self._bars.start()

    def at(self, path: str, offset: int) -> None:
        """So many bytes of a file are here."""
        with self._lock:
            self._offsets[path] = offset
            done = sum(self._offsets.values()) if len(self._offsets) < 64 or self._due() else None
            if self._bars is not None:
                self._update_bar(path, offset, done)
            elif self._due() and done is not None:
                self._tell(done)
            if self._first is None:
                self._first = done or 0

    def _update_bar(self, path: str, offset: int, done: int | None) -> None:
        size = self._sizes.get(path)
        if len(self._sizes) > 1:
            if path not in self._tasks and len(self._tasks) < _MOST_BARS and offset != size:
                self._tasks[path] = self._bars.add_task(f"  {path.rpartition('/')[2]}", total=size)
            if path in self._tasks:
                self._bars.update(self._tasks[path], completed=offset)
                if offset == size:
                    self._bars.remove_task(self._tasks.pop(path))
        if done is not None:
            self._bars.update(self._total, completed=done)

    def _due(self) -> bool:
        return time.monotonic() - self._reported > _LINE_EVERY_SECONDS

    def _tell(self, done: int) -> None:
        self._reported = time.monotonic()
        rate = max(0, done - (self._first or 0)) / (self._reported - self._started)
        left = f", {(self._goal - done) / rate:.0f} s left" if rate > 0 and self._goal else ""
        goal = f" of {size_text(self._goal)}" if self._goal else ""
        self.write(f"{self._name}: {size_text(done)}{goal}, {size_text(rate)}/s{left}")

    def phase(self, name: str, what: str, total: int) -> None:
        """Something else begins that counts up to `total`: rows, bytes, files."""
        with self._lock:
            self._clear()
            self._name, self._what, self._goal, self._count = name, what, total, 0
            self._reported = time.monotonic()
            if self.console is None:
                return
            from rich import progress

            columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn())
            self._bars = progress.Progress(
                *columns, progress.TimeRemainingColumn(), console=self.console, transient=True, redirect_stdout=False
            )
            self._total = self._bars.add_task(f"{name}: {what}", total=total)
            self._bars.start()

    def step(self, count: int) -> None:
        """So much more of the phase is done."""
        with self._lock:
            self._count += count
            if self._bars is not None:
                self._bars.update(self._total, completed=self._count)
            elif self._due():
                self._reported = time.monotonic()
                self.write(f"{self._name}: {self._what}, {self._count / max(1, self._goal):.0%}")
