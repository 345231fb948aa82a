"""A race as plain values: who runs, how it went, and the lines in which both are written down. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlkit.errors import RequestError

MOST_RATES = 1000  # of a grid; more is a slip of the finger
# Further options of an optimizer, by name: those of its section of a recipe, and beta1 and beta2 for its two betas.
Options = tuple[tuple[str, float], ...]


@dataclass(frozen=True, order=True)
class Trial:
    """One run of the grid, or of the random trials."""

    optimizer: str
    lr: float
    seed: int
    options: Options = ()

    @property
    def setting(self) -> tuple[float, Options]:
        """What an optimizer is tuned by."""
        return self.lr, self.options

    def applied_to(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """An optimizer's options, none left out, with this trial's learning rate and options in their place."""
        changed: dict[str, Any] = {**values, "lr": self.lr}
        for name, value in self.options:
            if name in ("beta1", "beta2"):
                betas = list(changed["betas"])
                betas[name == "beta2"] = value
                changed["betas"] = tuple(betas)
            else:
                changed[name] = value
        return changed


@dataclass
class TrialResult:
    """How a run went.

    Args:
        trial: whose run it was.
        steps: that it took; fewer than asked for if it diverged.
        loss: mean training loss at the end, or the value of the surface.
        metrics: of the evaluation at the end.
        curve: (step, metrics) of each evaluation on the way.
        diverged: a loss was no longer finite.
        seconds_share: wall time of the race that this run accounts for.
    """

    trial: Trial
    steps: int
    loss: float
    metrics: dict[str, float]
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])
    diverged: bool = False
    seconds_share: float = 0.0

    @classmethod
    def begin(cls, trial: Trial, steps: int) -> TrialResult:
        """Of a run that is about to take so many steps."""
        return cls(trial, steps, math.nan, {})

    def record(self) -> dict[str, Any]:
        """As a line of runs.jsonl."""
        who = self.trial
        return {
            "kind": "run",
            "optimizer": who.optimizer,
            "lr": who.lr,
            "seed": who.seed,
            **({"options": dict(who.options)} if who.options else {}),
            "steps": self.steps,
            "loss": _finite(self.loss),
            "metrics": {name: _finite(value) for name, value in self.metrics.items()},
            "diverged": self.diverged,
            "seconds_share": self.seconds_share,
            "curve": [[step, {name: _finite(value) for name, value in m.items()}] for step, m in self.curve],
        }

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> TrialResult:
        """The outcome that a line of runs.jsonl tells. Raises RequestError if it is none."""
        try:
            return cls(
                Trial(
                    record["optimizer"],
                    float(record["lr"]),
                    int(record["seed"]),
                    tuple((str(name), float(value)) for name, value in record.get("options", {}).items()),
                ),
                int(record["steps"]),
                _number(record["loss"]),
                {name: _number(value) for name, value in record["metrics"].items()},
                [(int(step), {k: _number(v) for k, v in metrics.items()}) for step, metrics in record["curve"]],
                bool(record["diverged"]),
                float(record["seconds_share"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(
                f"no record of a run: {str(record)[:80]}", "it was written by another program"
            ) from error


@dataclass(frozen=True)
class TrialsAdvanced:
    """Runs that are not finished, and what is known of them so far; the engine goes on changing these outcomes.

    Args:
        step: that all of them have come to.
        outcomes: of which `metrics` is of the last evaluation.
    """

    step: int
    outcomes: Sequence[TrialResult]


@dataclass(frozen=True)
class StackHalved:
    """A stack of `runs` did not fit into memory: it begins again, in stacks of no more than `size`."""

    runs: int
    size: int


@dataclass(frozen=True)
class StackNotRecorded:
    """The steps of a stack cannot be recorded as a CUDA graph, and why: they are launched one kernel at a time."""

    why: str


# What an engine tells: that a run has finished, where the others stand, or that it goes on in another way.
SweepEvent = TrialResult | TrialsAdvanced | StackHalved | StackNotRecorded


def _finite(value: float) -> float | None:
    """What JSON can say of a number."""
    return value if math.isfinite(value) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def parse_learning_rates(text: str) -> list[float]:
    """Learning rates from `1e-4:1:9`, nine evenly spaced in the logarithm, or from `0.1,0.3`.

    Raises:
        RequestError: they are not above 0, fall, stand twice or are no numbers.
    """
    hint = "write --lr 1e-4:1:9 (from, to, how many) or --lr 0.01,0.1"
    try:
        if ":" in text:
            low, high, count = text.split(":")
            first, last, number = float(low), float(high), int(count)
            if not (0 < first <= last < math.inf) or number < 1 or (number == 1) != (first == last):
                raise RequestError(f"--lr {text}: no grid from {low} to {high} of {count}", hint)
            if number > MOST_RATES:
                raise RequestError(f"--lr {text}: {number:,} learning rates are more than {MOST_RATES:,}", hint)
            ratio = (last / first) ** (1 / max(number - 1, 1))
            values = [float(f"{first * ratio**index:.6g}") for index in range(number)]
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"--lr {text}: no learning rates", hint) from None
    if not all(0 < value < math.inf for value in values) or len(set(values)) < len(values):
        raise RequestError(f"--lr {text}: learning rates must be above 0, each once", hint)
    return sorted(values)


def trial_grid(optimizers: list[str], lrs: list[float], seeds: int) -> list[Trial]:
    """Every optimizer with every learning rate from every seed, those of one optimizer and rate side by side."""
    return [Trial(name, lr, seed) for name in optimizers for lr in lrs for seed in range(seeds)]
