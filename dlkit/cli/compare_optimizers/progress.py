"""What a person sees while a race runs: runs finished, the best so far. Always on stderr.

Live on a terminal, rare plain lines elsewhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from dlkit.app.race import RaceStarted
from dlkit.cli.console import duration
from dlkit.cli.narrow import bar, packed
from dlkit.sweep.events import TrialsAdvanced
from dlkit.sweep.trials import Trial, TrialResult

_LINE_EVERY_SECONDS = 10.0
_SHOWN_AFTER_SECONDS = 0.5

Best = tuple[float, Trial] | None


class RaceProgress:
    """Follows the engine of a race. Taking an event in costs next to nothing; drawing happens a few times a second.

    Args:
        race: how many runs of how many steps, and the loss that the best is judged by.
        console: a rich console on stderr that is a terminal, or None for plain lines through `write`.
        write: prints a plain line on stderr.
    """

    def __init__(self, race: RaceStarted, console: Any, write: Callable[[str], None]) -> None:
        self.runs, self.steps, self.metric = race.runs, race.steps, race.metric
        self.console, self.write = console, write
        self.finished = self.diverged = 0
        self.best: Best = None  # of those finished
        self.underway: TrialsAdvanced | None = None
        self.started = self.line_at = time.monotonic()
        self.live: Any = None

    def __enter__(self) -> RaceProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, event: TrialResult | TrialsAdvanced) -> None:
        if isinstance(event, TrialResult):
            self.underway = None
            self.finished += 1
            self.diverged += event.diverged
            self.best = self._better(event, self.best)
        else:
            self.underway = event
        if self.finished == self.runs:  # figures may be drawn after the last one
            self._stop()
            return
        now = time.monotonic()
        if self.console is None:
            if now - self.line_at >= _LINE_EVERY_SECONDS:
                self.line_at = now
                self.write("  ".join([self.position(), *self.facts(), f"{self.remaining()} left"]))
        elif self.live is None and now - self.started > _SHOWN_AFTER_SECONDS:
            from rich.live import Live

            self.live = Live(
                get_renderable=self.render, console=self.console, refresh_per_second=4, transient=True,
                redirect_stdout=False,
            )  # fmt: skip
            self.live.start()

    def _better(self, outcome: TrialResult, best: Best) -> Best:
        value = outcome.loss if self.metric == "loss" else outcome.metrics.get(self.metric, math.nan)
        better = not outcome.diverged and math.isfinite(value) and (best is None or value < best[0])
        return (value, outcome.trial) if better else best

    def share(self) -> float:
        """Of all steps, those that are done."""
        underway = self.underway  # one read: another thread may replace it while this one draws
        part = underway.step * len(underway.outcomes) if underway else 0
        return (self.finished * self.steps + part) / max(self.runs * self.steps, 1)

    def remaining(self) -> str:
        share, elapsed = self.share(), time.monotonic() - self.started
        return duration(elapsed / share * (1 - share)) if share else "?"

    def position(self) -> str:
        return f"{self.finished}/{self.runs} runs"

    def facts(self) -> list[str]:
        facts: list[str] = []
        diverged, best, underway = self.diverged, self.best, self.underway
        if underway is not None:
            lost = sum(outcome.diverged for outcome in underway.outcomes)
            diverged += lost
            together = len(underway.outcomes)
            facts.append(f"step {underway.step}/{self.steps}" + (f" of {together}" if together > 1 else ""))
            if together > 1:
                facts.append(f"{together - lost} alive")
            for outcome in underway.outcomes:  # unfinished runs may still get worse, so self.best ignores them
                best = self._better(outcome, best)
        if diverged:
            facts.append(f"{diverged} diverged")
        if best is not None:
            value, who = best
            facts.append(f"best {who.optimizer} lr {who.lr:.3g}: {self.metric} {value:.4g}")
        return facts

    def render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        width = self.live.console.width if self.live is not None else 80
        line = bar(self.position(), self.share(), f"{self.remaining()} left", width)
        return Group(line, *(Text(facts, style="green") for facts in packed(self.facts(), width)))
