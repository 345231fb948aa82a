"""What a person sees while claims are run: which of them, trainings done, and the time left. Always on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dlkit.app.review_events import ArmRunFinished, ClaimJudged, ClaimStarted
from dlkit.cli.console import duration
from dlkit.cli.progress import ProgressBar
from dlkit.review.evidence import evidence_of

_LINE_EVERY_SECONDS = 10.0
_ENOUGH = 5  # runs that must end before the time left is shown


class ReviewProgress:
    """A bar on a terminal, and plain lines elsewhere.

    Args:
        console: a rich console on stderr that is a terminal, or None for plain lines through `write`.
        write: prints a plain line on stderr.
    """

    def __init__(self, console: Any, write: Callable[[str], None]) -> None:
        self.write, self.plain = write, console is None
        self.started = self.said = time.monotonic()
        self.claim = ""  # which of them
        self.run = 0  # trainings since then, without those of an earlier review
        self.bar = ProgressBar("reviewing", None, console, whole=True)

    def __enter__(self) -> ReviewProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.__exit__()

    def update(self, event: ClaimStarted | ArmRunFinished | ClaimJudged) -> None:
        if isinstance(event, ClaimStarted):
            self.claim = f"claim {event.number} of {event.claims}"
            self.bar.retitle(f"{self.claim}: {event.claim.name}")
            self.bar.total = event.runs
            self.bar.advance(event.done - self.bar.done)
            if event.missing:
                self.write(f"{self.claim}, {event.claim.name}: {event.missing} runs")
        elif isinstance(event, ArmRunFinished):
            self.run += event.done - self.bar.done
            self.bar.total = event.runs
            self.bar.advance(event.done - self.bar.done)
            now = time.monotonic()
            enough = self.run >= _ENOUGH  # the runs of a stack end all at once
            if self.plain and enough and now - self.said > _LINE_EVERY_SECONDS:
                self.said = now
                left = (now - self.started) / self.run * (event.runs - event.done)
                self.write(f"{self.claim}, {event.done} of {event.runs} runs, {duration(left)} left")
        elif "error" in event.record:
            self.write(f"{event.claim.name}: {evidence_of(event.record)}")
