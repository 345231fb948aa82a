"""The trials of a sweep and their results, as plain values and as lines of runs.jsonl. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlkit.errors import RequestError
from dlkit.strict_json import finite

MOST_RATES = 1000  # learning rates of a grid; more is a typing error
# Further options of an optimizer: keys of its recipe section, with beta1 and beta2 for the two betas.
Options = tuple[tuple[str, float], ...]


@dataclass(frozen=True, order=True)
class Trial:
    """One run of the sweep: an optimizer, its learning rate and options, and a seed."""

    optimizer: str
    lr: float
    seed: int
    options: Options = ()

    @property
    def setting(self) -> tuple[float, Options]:
        """What tuning varies: all but the optimizer and the seed."""
        return self.lr, self.options

    def applied_to(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The optimizer's full options with this trial's learning rate and options filled in."""
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
    """The result of one trial.

    Args:
        trial: the trial.
        steps: steps taken; fewer than asked for if it diverged.
        loss: mean training loss at the end, or the value of the surface.
        metrics: of the final evaluation.
        curve: (step, metrics) of each evaluation.
        diverged: whether a loss became NaN or infinite.
        seconds_share: this run's share of the wall time of the sweep.
        start: metrics before the first step, of the split that is judged; empty if they are not known.
    """

    trial: Trial
    steps: int
    loss: float
    metrics: dict[str, float]
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])
    diverged: bool = False
    seconds_share: float = 0.0
    start: dict[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def begin(cls, trial: Trial, steps: int) -> TrialResult:
        """The result of a trial before its first step; `steps` is what it is going to take."""
        return cls(trial, steps, math.nan, {})

    def record(self) -> dict[str, Any]:
        """A line of runs.jsonl."""
        trial = self.trial
        return {
            "kind": "run",
            "optimizer": trial.optimizer,
            "lr": trial.lr,
            "seed": trial.seed,
            **({"options": dict(trial.options)} if trial.options else {}),
            "steps": self.steps,
            "loss": finite(self.loss),
            "metrics": finite(self.metrics),
            "diverged": self.diverged,
            "seconds_share": self.seconds_share,
            **({"start": finite(self.start)} if self.start else {}),
            "curve": [[step, finite(metrics)] for step, metrics in self.curve],
        }

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> TrialResult:
        """The result recorded in a line of runs.jsonl. Raises RequestError if the record is malformed."""
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
                {name: _number(value) for name, value in record.get("start", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(
                f"no record of a run: {str(record)[:80]}", "it was written by another program"
            ) from error


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def parse_learning_rates(text: str) -> list[float]:
    """Learning rates from `1e-4:1:9`, nine evenly spaced in the logarithm, or from `0.1,0.3`.

    Raises:
        RequestError: a rate is not a positive number or is given twice, or the range is malformed.
    """
    hint = "write `lr` 1e-4:1:9 (from, to, how many) or `lr` 0.01,0.1"
    try:
        if ":" in text:
            low, high, count = text.split(":")
            first, last, number = float(low), float(high), int(count)
            if not (0 < first <= last < math.inf) or number < 1 or (number == 1) != (first == last):
                raise RequestError(f"`lr` {text}: no grid from {low} to {high} of {count}", hint)
            if number > MOST_RATES:
                raise RequestError(f"`lr` {text}: {number:,} learning rates are more than {MOST_RATES:,}", hint)
            ratio = (last / first) ** (1 / max(number - 1, 1))
            values = [float(f"{first * ratio**index:.6g}") for index in range(number)]
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"`lr` {text}: no learning rates", hint) from None
    if not all(0 < value < math.inf for value in values) or len(set(values)) < len(values):
        raise RequestError(f"`lr` {text}: learning rates must be above 0, each once", hint)
    return sorted(values)


def trial_grid(optimizers: list[str], lrs: list[float], seeds: int) -> list[Trial]:
    """Every optimizer at every learning rate from every seed; the seeds of a setting are adjacent."""
    return [Trial(name, lr, seed) for name in optimizers for lr in lrs for seed in range(seeds)]
