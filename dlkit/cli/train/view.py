"""What a person sees while a model trains: a live view on a terminal, rare plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from dlkit.app.trained_run import Started
from dlkit.cli.console import duration
from dlkit.cli.narrow import bar, packed
from dlkit.training.events import Evaluated, Event, StepDone

_BARS = "▁▂▃▄▅▆▇█"
_LINE_EVERY_SECONDS = 10.0
_WIDTH = 32
_KEPT_LOSSES = 2048


def sparkline(values: list[float], width: int = _WIDTH) -> str:
    """A small curve of at most `width` characters: each stands for the mean of its share of the values."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(_BARS[int((value - low) / span * (len(_BARS) - 1) + 0.5) if span else 0] for value in means)


class TrainingView:
    """Follows the events of a run. Taking an event in costs next to nothing; drawing happens a few times a second.

    Args:
        run: what is being trained, and how far it goes.
        console: a rich console on stderr that is a terminal, or None for plain lines through `write`.
        write: prints a plain line on stderr.
    """

    def __init__(self, run: Started, console: Any, write: Callable[[str], None]) -> None:
        self.title = f"{run.recipe}  {run.device} {run.precision}  {run.parameters:,} parameters  {run.run}"
        self.total, self.per_epoch = run.total_steps, run.steps_per_epoch
        self.epochs = -(-self.total // self.per_epoch)
        self.first, self.unit, self.write = run.first_step, run.unit, write
        self.step: StepDone | None = None
        self.logged: dict[str, float] = {}
        self.losses: list[float] = []
        self.evaluated: Evaluated | None = None
        self.best: Evaluated | None = None
        self.recent: deque[tuple[float, int]] = deque(maxlen=32)  # (time, samples so far) at logged steps
        self.samples = 0
        self.started = self.line_at = time.monotonic()
        self.stage: str | None = None  # what happens between two steps
        self.live: Any = None
        if console is not None:
            from rich.live import Live

            self.live = Live(
                get_renderable=self.render, console=console, refresh_per_second=4, transient=True, redirect_stdout=False
            )

    def __enter__(self) -> TrainingView:
        if self.live is not None:
            self.live.start()
        else:
            self.write(self.title)
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, Evaluated):
            self._evaluation(event)

    @contextmanager
    def follow(self, title: str, total: int | None) -> Generator[Callable[[int], None]]:
        """A listener of `dlkit.progress`: an evaluation may take longer than the steps before it."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.stage = f"{title} {done:,}" + (f"/{total:,}" if total else "")
            now = time.monotonic()
            if self.live is None and now - self.line_at >= _LINE_EVERY_SECONDS:
                self.line_at = now
                self.write(self.stage)

        try:
            yield advance
        finally:
            self.stage = None

    def _step(self, step: StepDone) -> None:
        self.step = step
        self.samples += step.samples
        if step.metrics is not None:
            self.logged = step.metrics
            self.losses.append(step.metrics["train/loss"])
            if len(self.losses) >= _KEPT_LOSSES:
                self.losses = [(a + b) / 2 for a, b in zip(self.losses[::2], self.losses[1::2], strict=False)]
            now = time.monotonic()
            self.recent.append((now, self.samples))
            # the last step's line waits for its evaluation
            if self.live is None and now - self.line_at >= _LINE_EVERY_SECONDS and step.step < self.total:
                self._line(now)

    def _evaluation(self, evaluated: Evaluated) -> None:
        self.evaluated = evaluated
        if evaluated.best:
            self.best = evaluated
        if self.live is None and evaluated.step >= self.total:
            self._line(time.monotonic())

    def rate(self) -> float:
        """Samples a second over the last logged steps."""
        if len(self.recent) < 2:
            return 0.0
        (t0, n0), (t1, n1) = self.recent[0], self.recent[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0

    def _remaining(self) -> str:
        done = (self.step.step if self.step else self.first) - self.first
        elapsed = time.monotonic() - self.started
        return duration(elapsed / done * (self.total - self.first - done)) if done else "?"

    def _facts(self) -> list[str]:
        facts = [f"{name.removeprefix('train/')} {value:.4f}" for name, value in self.logged.items()]
        if self.step is not None:
            facts.append(f"lr {self.step.lr:.3g}")
        if self.rate():
            facts.append(f"{self.rate():,.0f} {self.unit}/s")
        return facts

    def _scores(self, evaluated: Evaluated | None) -> list[str]:
        return [f"{name} {value:.4f}" for name, value in evaluated.metrics.items()] if evaluated else []

    def _line(self, now: float) -> None:
        self.line_at = now
        assert self.step is not None
        position = f"epoch {self.step.epoch + 1}/{self.epochs} step {self.step.step}/{self.total}"
        scores = self._scores(self.evaluated)
        if self.evaluated is not None and self.evaluated.step < self.step.step:
            scores.append(f"(of step {self.evaluated.step})")
        self.write("  ".join([position, *self._facts(), *scores, f"{self._remaining()} left"]))

    def render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        step = self.step.step if self.step else self.first
        epoch = min(step // self.per_epoch + 1, self.epochs)
        width = self.live.console.width if self.live is not None else 80
        position = f"epoch {epoch}/{self.epochs}  step {step}/{self.total}"
        lines: list[Any] = [
            Text(self.title, style="bold"),
            bar(position, step / max(self.total, 1), f"{self._remaining()} left", width),
            *map(Text, packed(self._facts(), width)),
        ]
        if self.losses:
            lines.append(Text(f"loss {sparkline(self.losses)}", style="cyan"))
        if (stage := self.stage) is not None:
            lines.append(Text(stage))
        if self.evaluated is not None:
            best = [f"(best at step {self.best.step})"] if self.best else []
            scores = packed([*self._scores(self.evaluated), *best], width)
            lines += [Text(line, style="green") for line in scores]
        return Group(*lines)
