"""The training loop, as a generator of events. It never prints, and asks the device for a number only on logged steps.

For step t of T, with B the micro-batches of the step:
    g_t     = gradient of the mean over B of loss(model(x), y)
    theta_t = optimizer(theta_(t-1), g_t, lr = base lr * schedule(t, T))
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dlkit.errors import DivergedError, DlkitError
from dlkit.train import random_state
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.ema import ExponentialMovingAverage
from dlkit.train.evaluate import Batches, Meter, evaluate, watched
from dlkit.train.events import Checkpointed, Evaluated, Event, Finished, StepDone
from dlkit.train.settings import Settings, steps_between

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_SHAPES = 64  # of a batch, that a model is compiled for; torch's own 8 would leave grown images uncompiled


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which the matrix products of a forward pass are in this precision."""
    dtype = AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


class Task(Protocol):
    """What is learned: a loss to train on, and a meter to evaluate with.

    A batch begins with its inputs, one row each, and its targets, one a prediction: `unit` says of what. `forward`
    returns the mean loss over the predictions and, where it is cheap to know, how many of them are right.
    """

    @property
    def unit(self) -> str: ...
    @property
    def main_metric(self) -> str: ...
    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]: ...
    def meter(self, device: torch.device) -> Meter: ...


class Store(Protocol):
    """Where checkpoints go. `save` is called with everything that the loop needs to go on."""

    def save(self, checkpoint: Checkpoint, best: bool) -> Any: ...


@dataclass
class Training:
    """Everything that a run is made of. `settings` has no `auto` left in it."""

    model: nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int, int], float]
    batches: Batches
    evaluations: dict[str, Batches]
    settings: Settings
    device: torch.device
    should_stop: Callable[[], bool] = lambda: False
    monitored: str | None = None  # the split that patience and the best checkpoint go by; never a test split
    description: dict[str, Any] = field(default_factory=dict[str, Any])  # of the data, saved in each checkpoint

    @functools.cached_property
    def compiled(self) -> Any:
        """The model as full training batches go through it: compiled once for each shape of theirs."""
        if self.settings.compile != "on":
            return self.model
        return torch.compile(self.model, dynamic=False, recompile_limit=MOST_SHAPES)  # pyright: ignore[reportCallIssue]

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.batches) / self.settings.accumulate)

    @property
    def total_steps(self) -> int:
        settings = self.settings
        return settings.steps or (settings.epochs or 0) * self.steps_per_epoch

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        return autocast(self.settings.precision, self.device)


@dataclass
class _Progress:
    """The part of the loop's state that is plain numbers."""

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    summed_steps: int = 0
    summed_samples: int = 0
    metrics: dict[str, float] = field(default_factory=dict[str, float])


def fit(training: Training, store: Store | None = None, resume: Checkpoint | None = None) -> Iterator[Event]:
    """Train; yields an event for each step, evaluation and checkpoint, and `Finished` at the end.

    Raises:
        DivergedError: the loss is no longer finite.
        DlkitError: a checkpoint cannot be saved.
    """
    loop = _Loop(training, store)
    if resume is not None:
        loop.restore(resume)
    return loop.run()


class _Loop:
    def __init__(self, training: Training, store: Store | None) -> None:
        self.training, self.store = training, store
        settings, device = training.settings, training.device
        self.progress = _Progress()
        self.base_lrs = [float(group["lr"]) for group in training.optimizer.param_groups]
        self.parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
        self.ema = ExponentialMovingAverage(training.model, settings.ema) if settings.ema is not None else None
        fp16 = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device.type) if fp16 else None
        # Sums since the last logged step, kept on the device.
        self.loss_sum = torch.zeros((), device=device)
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.counts_right = True

    # ------------------------------------------------------------------ the loop

    def run(self) -> Iterator[Event]:
        training, progress, settings = self.training, self.progress, self.training.settings
        per_epoch, total = training.steps_per_epoch, training.total_steps
        evaluate_every = steps_between(settings.eval_every, per_epoch)
        save_every = steps_between(settings.checkpoint_every, per_epoch)
        saved_step = progress.step if progress.step else -1
        exhausted = settings.patience is not None and progress.waited >= settings.patience
        reason = "patience" if exhausted else "done"
        training.model.train()
        started = time.perf_counter() - progress.seconds
        for step, batches in self._steps(total if exhausted else progress.step, total, per_epoch):
            lr = self._set_lr(step, total)
            samples = self._step(batches)
            progress.step = done = step + 1
            logged = done % settings.log_every == 0 or done == total
            metrics = self._logged_metrics() if logged else None
            progress.seconds = time.perf_counter() - started
            yield StepDone(done, step // per_epoch, samples, lr, metrics)

            best = False
            if done == total or (evaluate_every and done % evaluate_every == 0):
                best = self._evaluate()
                yield Evaluated(done, step // per_epoch, dict(progress.metrics), best)
                if settings.patience is not None and progress.waited >= settings.patience:
                    reason = "patience"
            if training.should_stop() and done < total and reason == "done":
                reason = "stopped"
            progress.seconds = time.perf_counter() - started
            due = done == total or reason != "done" or best or (save_every and done % save_every == 0)
            if due and self.store is not None:
                saved_step = done
                yield Checkpointed(done, self.store.save(self._capture(), best))
            if reason != "done":
                break
        if self.store is not None and saved_step != progress.step:
            self.store.save(self._capture(), False)
        progress.seconds = time.perf_counter() - started
        epochs = progress.step / per_epoch
        yield Finished(progress.step, epochs, progress.seconds, dict(progress.metrics), reason)

    def _steps(self, first: int, total: int, per_epoch: int) -> Iterator[tuple[int, list[Any]]]:
        """(step, its micro-batches) from step `first` on."""
        accumulate, step, unreadable = self.training.settings.accumulate, first, 0
        while step < total:
            (epoch, within), begin = divmod(step, per_epoch), step
            batches = iter(self.training.batches.epoch(epoch + unreadable, within * accumulate))
            while group := list(itertools.islice(batches, accumulate)):
                yield step, group
                step += 1
                if step == total:
                    return
            # a batch of damaged images alone is left out; where nothing else is left, the next epoch's order stands in
            unreadable = unreadable + 1 if step == begin else 0

    def _set_lr(self, step: int, total: int) -> float:
        factor = self.training.schedule(step, total)
        for group, base in zip(self.training.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor
        return self.base_lrs[0] * factor

    def _step(self, batches: list[Any]) -> int:
        training = self.training
        samples = sum(len(batch[1]) for batch in batches)
        for batch in batches:
            # a smaller last batch would be compiled anew: it goes through the plain model
            model = training.compiled if len(batch[0]) == training.batches.batch_size else training.model
            with training.autocast():
                loss, right = training.task.forward(model, batch)
            # the gradient of the mean over all samples of the step
            share = len(batch[1]) / samples
            part = loss * share if share != 1 else loss
            (self.scaler.scale(part) if self.scaler else part).backward()
            self.loss_sum += part.detach()
            if right is None:
                self.counts_right = False
            else:
                self.right += right
        if self.scaler:
            self.scaler.unscale_(training.optimizer)
        if training.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, training.settings.clip_norm)
        if self.scaler:
            self.scaler.step(training.optimizer)
            self.scaler.update()
        else:
            training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()
        self.progress.summed_steps += 1
        self.progress.summed_samples += samples
        return samples

    def _logged_metrics(self) -> dict[str, float]:
        progress = self.progress
        steps, samples = progress.summed_steps, progress.summed_samples
        loss = self.loss_sum.item() / steps
        metrics = {"train/loss": loss}
        if self.counts_right:
            metrics["train/accuracy"] = self.right.item() / samples
        progress.summed_steps = progress.summed_samples = 0
        self.loss_sum.zero_()
        self.right.zero_()
        if not math.isfinite(loss):
            raise DivergedError(
                f"diverged: the mean training loss over the {steps} steps up to {progress.step} is {loss}",
                "lower optimizer.lr, add schedule.warmup, or set train.clip_norm",
            )
        return metrics

    # ------------------------------------------------------------------ evaluation

    def _evaluate(self) -> bool:
        """Evaluate every split; returns whether the monitored metric is the best so far."""
        training, progress = self.training, self.progress
        with self.ema.applied() if self.ema is not None else nullcontext():
            for split, batches in training.evaluations.items():
                meter = training.task.meter(training.device)
                metrics = evaluate(training.model, watched(batches), meter, training.autocast).metrics()
                progress.metrics |= {f"{split}/{name}": value for name, value in metrics.items()}
        if training.monitored is None:
            return False
        name = training.task.main_metric if training.settings.monitor == "auto" else training.settings.monitor
        value = progress.metrics[f"{training.monitored}/{name}"]
        sign = -1 if name == "loss" else 1
        better = math.isfinite(value) and (progress.best is None or sign * value > sign * progress.best)
        progress.waited = 0 if better else progress.waited + 1
        if better:
            progress.best, progress.best_step = value, progress.step
        return better

    # ------------------------------------------------------------------ state

    def _capture(self) -> Checkpoint:
        """Everything that the rest of the run depends on."""
        progress, optimizer = self.progress, self.training.optimizer.state_dict()
        generators, generator_values = random_state.capture()
        tensors = {"model": unshared(self.training.model.state_dict())}
        if self.ema is not None:
            tensors["ema"] = unshared(self.ema.average)
        rest = {f"random.{name}": value for name, value in generators.items()}
        scalars: dict[str, dict[str, Any]] = {}
        for index, entries in optimizer["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    rest[f"state.{index}.{name}"] = value
                else:
                    scalars.setdefault(str(index), {})[name] = value
        rest["sums.loss"], rest["sums.right"] = self.loss_sum, self.right
        tensors["optimizer"] = rest
        state = {
            "progress": vars(progress) | {"metrics": {k: v for k, v in progress.metrics.items() if math.isfinite(v)}},
            "optimizer_scalars": scalars,
            "base_lrs": self.base_lrs,
            "random": generator_values,
            "data": self.training.description,
            "scaler": self.scaler.state_dict() if self.scaler else None,
        }
        return Checkpoint(progress.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where the checkpoint was taken."""
        state, rest = checkpoint.state, checkpoint.tensors["optimizer"]
        load_weights(self.training.model, checkpoint.tensors["model"])
        if self.ema is not None:
            self.ema.load(checkpoint.tensors["ema"])
        optimizer = self.training.optimizer.state_dict()
        entries: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in state["optimizer_scalars"].items()}
        for name, value in rest.items():
            kind, _, key = name.partition(".")
            if kind == "state":
                index, _, entry = key.partition(".")
                entries.setdefault(int(index), {})[entry] = value
        self.training.optimizer.load_state_dict({**optimizer, "state": entries})
        self.progress = _Progress(**state["progress"])
        self.loss_sum.copy_(rest["sums.loss"])
        self.right.copy_(rest["sums.right"])
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])
        generators = {name.removeprefix("random."): v for name, v in rest.items() if name.startswith("random.")}
        random_state.restore(generators, state["random"])


def unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the second names of tied ones, which a safetensors file does not hold."""
    seen: set[tuple[int, torch.Size]] = set()
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        identity = (value.data_ptr(), value.shape)
        if value.numel() == 0 or identity not in seen:
            result[name] = value
        seen.add(identity)
    return result


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load a state dict whose tied tensors stand once. Raises DlkitError naming what does not fit."""
    own = model.state_dict()
    expected = unshared(own)
    problems = [f"missing {name}" for name in expected.keys() - weights.keys()]
    problems += [f"surplus {name}" for name in weights.keys() - own.keys()]
    for name in own.keys() & weights.keys():
        if own[name].shape != weights[name].shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, the model wants {tuple(own[name].shape)}")
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DlkitError(f"the weights do not fit the model: {shown}", "is it a checkpoint of another model?")
    model.load_state_dict(weights, strict=False)
