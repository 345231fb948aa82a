"""The state of a training run, saved to and restored from a checkpoint: everything that its future depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.training import rng
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.ema import ExponentialMovingAverage
from dlkit.training.optimizer_state import flatten_optimizer_state, unflatten_optimizer_state
from dlkit.training.running_metrics import RunningMetrics, summed_tensors
from dlkit.training.weights import drop_tied_duplicates, load_weights


@dataclass
class TrainProgress:
    """How far a run has come.

    Training data continues at batch `batch` of epoch `epoch`. These do not follow from `step`: a stream of images
    leaves out batches that are damaged as a whole.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0  # steps left out because their loss or gradient was not finite
    seconds: float = 0.0
    warm_up: float = 0.0  # seconds of compiling and capturing, not included in `seconds`
    best: float | None = None
    best_step: int = 0
    waited: int = 0  # evaluations since the best one
    unevaluated: bool = False  # whether the evaluation after `step` was broken off, and comes first
    metrics: dict[str, float] = field(default_factory=dict[str, float])

    def judge(self, value: float, lower: bool) -> bool:
        """Whether the monitored metric is finite and the best so far; `lower` if that is the lowest."""
        sign = -1 if lower else 1
        better = math.isfinite(value) and (self.best is None or sign * value > sign * self.best)
        self.waited = 0 if better else self.waited + 1
        if better:
            self.best, self.best_step = value, self.step
        return better


@dataclass
class TrainState:
    """What changes as a run trains."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    base_lrs: list[float]
    progress: TrainProgress
    sums: RunningMetrics
    ema: ExponentialMovingAverage | None = None
    scaler: torch.amp.GradScaler | None = None

    def capture(self, description: dict[str, Any]) -> Checkpoint:
        """Everything that the rest of the run depends on, as a checkpoint; `description` is of its data."""
        progress, optimizer = self.progress, self.optimizer.state_dict()
        loss, right, samples = self.sums.totals()
        generators, generator_values = rng.gather_states(self.sums.device, self.sums.world)
        tensors = {"model": drop_tied_duplicates(self.model.state_dict())}
        if self.ema is not None:
            tensors["ema"] = drop_tied_duplicates(self.ema.state())
        rest = {f"random.{name}": value for name, value in generators.items()}
        scalars: dict[str, dict[str, Any]] = {}
        for index, moments in optimizer["state"].items():
            if numbers := {name: value for name, value in moments.items() if not isinstance(value, Tensor)}:
                scalars[str(index)] = numbers
        tensors["optimizer"] = rest | flatten_optimizer_state(optimizer["state"], "state") | summed_tensors(loss, right)
        # pairs, since a checkpoint sorts the keys of its state while records list metrics in their own order;
        # null for an undefined correlation, since JSON has no NaN
        metrics = [[name, value if math.isfinite(value) else None] for name, value in progress.metrics.items()]
        summed = {"summed_steps": self.sums.steps, "summed_samples": samples}
        state = {
            "progress": vars(progress) | {"metrics": metrics} | summed,
            "optimizer_scalars": scalars,
            "base_lrs": self.base_lrs,
            "random": generator_values,
            "data": description,
            "scaler": self.scaler.state_dict() if self.scaler else None,
        }
        return Checkpoint(progress.step, tensors, state)

    def restore(self, checkpoint: Checkpoint, batches_per_epoch: int, accumulate: int) -> None:
        """Continue exactly where the checkpoint was taken."""
        state, rest = checkpoint.state, checkpoint.tensors["optimizer"]
        load_weights(self.model, checkpoint.tensors["model"])
        optimizer = self.optimizer.state_dict()
        moments = unflatten_optimizer_state(rest, "state")
        for index, numbers in state["optimizer_scalars"].items():
            moments.setdefault(int(index), {}).update(numbers)
        self.optimizer.load_state_dict({**optimizer, "state": moments})
        saved: dict[str, Any] = dict(state["progress"])
        self.sums.load(rest, saved.pop("summed_steps"), saved.pop("summed_samples"))
        if "batch" not in saved:  # earlier versions did not save the position in the data
            saved["epoch"], within = divmod(saved["step"], math.ceil(batches_per_epoch / accumulate))
            saved["batch"] = within * accumulate
        saved["metrics"] = {name: math.nan if value is None else value for name, value in saved["metrics"]}
        self.progress = TrainProgress(**saved)
        if self.ema is not None:
            self.ema.load(checkpoint.tensors["ema"], self.progress.step - self.progress.skipped)
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])
        generators = {name.removeprefix("random."): v for name, v in rest.items() if name.startswith("random.")}
        rng.scatter_states(generators, state["random"], self.sums.device, self.sums.world)
