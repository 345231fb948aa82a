"""Train many runs of one model at once: their parameters are stacked, and one pass serves them all.

With R runs, parameters theta (R, ...) and a batch for each run, (R, B, ...), the model is mapped over the first
dimension; no run's loss depends on another run's parameters, so the gradient of the sum of losses is each run's own:

    d/dtheta_r sum_r loss_r(theta_r) = d/dtheta_r loss_r(theta_r)

Runs of one optimizer and learning rate lie side by side, so that each such row of the stack is one contiguous tensor
and the optimizer's own kernel updates it. A run that diverges fills its rows with NaN and touches no other.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dlkit.train.loop import Batches, Training

# Runs that are trained at once take no more than this; the rest follow in further stacks.
MOST_BYTES = 2 << 30
# How many times over a run needs its parameters (weights, gradient, two moments) and its batch (activations).
PARAMETER_COPIES, BATCH_COPIES = 4, 24


@dataclass
class Members:
    """The runs of a stack, sorted by optimizer and learning rate.

    Args:
        training: for each run its own Training, of the same recipe but for optimizer, learning rate and seed. Those of
            one seed share the model's initial weights and the batches.
        seeds: for each run the index of its seed.
        groups: row ranges [start, stop) of runs with one optimizer and learning rate.
    """

    training: Sequence[Training]
    seeds: Sequence[int]
    groups: Sequence[tuple[int, int]]


@dataclass
class StackLogged:
    """Where a stack stands: (R,) mean training losses since the last such event, and which runs are still finite."""

    step: int
    losses: list[float]
    finite: list[bool]


@dataclass
class StackEvaluated:
    """Metrics of each run on the evaluation split."""

    step: int
    metrics: list[dict[str, float]]


def runs_at_once(training: Training) -> int:
    """How many runs of this kind fit into MOST_BYTES."""
    parameters = sum(p.numel() for p in training.model.parameters())
    inputs = next(iter(training.batches.epoch(0)))[0]
    return max(1, MOST_BYTES // (4 * (PARAMETER_COPIES * parameters + BATCH_COPIES * inputs.numel())))


def unsupported(training: Training) -> str | None:
    """Why these runs cannot be stacked, or None."""
    settings = training.settings
    for name, wanted in (("accumulate", 1), ("ema", None), ("clip_norm", None), ("patience", None)):
        if getattr(settings, name) != wanted:
            return f"train.{name} is set"
    if settings.precision == "fp16":
        return "train.precision is fp16"
    if settings.test_views != "one":
        return "train.test_views is set"
    if len(next(iter(training.batches.epoch(0)))) != 2:
        return "the data mixes examples in pairs"
    return None


class _Bound:
    """A model with given parameters and buffers, as far as a task needs one."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        self._model, self._parameters, self._buffers = model, parameters, buffers

    def __call__(self, inputs: Tensor) -> Tensor:
        return functional_call(self._model, (self._parameters, self._buffers), (inputs,))

    def parameters(self) -> list[Tensor]:
        return list(self._parameters.values())


def fit_stacked(members: Members, evaluate_every: int) -> Iterator[StackLogged | StackEvaluated]:
    """Train all runs at once; yields where they stand every so many steps and at the end, first at step 0.

    Evaluation is on the split that the trainings monitor, or else on their first one.
    """
    return _Stack(members).run(evaluate_every)


def seconds_a_step(members: Members, steps: int = 3) -> float:
    """The least wall time of a few steps of all these runs, behind two that warm up; changes none of the trainings."""
    stack = _Stack(members)
    times: list[float] = []
    for step, inputs, targets in itertools.islice(stack.batches(), steps + 2):
        started = time.perf_counter()
        stack.step(step, inputs, targets)[0].item()
        times.append(time.perf_counter() - started)
    return min(times[2:] or times)


class _Stack:
    def __init__(self, members: Members) -> None:
        self.members = members
        first = members.training[0]
        self.model, self.task, self.device = first.model, first.task, first.device
        self.autocast = first.autocast
        models = [training.model for training in members.training]
        stacked, buffers = stack_module_state(models)
        self.parameters = {name: value.detach().contiguous().requires_grad_() for name, value in stacked.items()}
        self.buffers = {name: value.detach().contiguous() for name, value in buffers.items()}
        self._losses: Callable[..., Tensor] = vmap(self._loss, in_dims=0, randomness="different")
        self.optimizers = [self._optimizer(start, stop) for start, stop in members.groups]
        self.seeds = torch.tensor(list(members.seeds), device=self.device)  # (R,)
        # one Training for each seed, which has its batches
        self.sources: list[Batches] = [
            members.training[list(members.seeds).index(seed)].batches for seed in range(max(members.seeds) + 1)
        ]

    def _optimizer(self, start: int, stop: int) -> tuple[torch.optim.Optimizer, list[float], list[tuple[Tensor, str]]]:
        """The optimizer of rows start to stop, its base learning rates, and its tensors with their names."""
        own = self.members.training[start]
        names = {id(parameter): name for name, parameter in own.model.named_parameters()}
        groups: list[dict[str, Any]] = []
        tensors: list[tuple[Tensor, str]] = []
        for group in own.optimizer.param_groups:
            rows = [
                (self.parameters[names[id(p)]].detach()[start:stop], names[id(p)]) for p in group["params"]
            ]  # (stop - start, ...)
            tensors += rows
            groups.append({**group, "params": [row for row, _ in rows]})
        constructor: Any = type(own.optimizer)
        optimizer: torch.optim.Optimizer = constructor(groups)
        return optimizer, [float(group["lr"]) for group in optimizer.param_groups], tensors

    def run(self, evaluate_every: int) -> Iterator[StackLogged | StackEvaluated]:
        total, runs = self.members.training[0].total_steps, len(self.members.training)
        summed, since = torch.zeros(runs, device=self.device), 0
        finite = torch.ones(runs, dtype=torch.bool, device=self.device)
        yield StackEvaluated(0, self._evaluate())
        for step, inputs, targets in self.batches():
            losses = self.step(step, inputs, targets)
            summed += losses
            finite &= losses.isfinite()
            since += 1
            done = step + 1
            if done == total or done % evaluate_every == 0:
                yield StackLogged(done, (summed / since).tolist(), finite.tolist())
                summed.zero_()
                since = 0
                yield StackEvaluated(done, self._evaluate())

    def batches(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(step, inputs (R, B, ...), targets (R, B)): for each run the batch of its seed."""
        first = self.members.training[0]
        total, step = first.total_steps, 0
        while step < total:
            epochs = [source.epoch(step // first.steps_per_epoch) for source in self.sources]
            for batches in zip(*epochs, strict=True):
                inputs, targets = (
                    torch.stack(list(part)).index_select(0, self.seeds) for part in zip(*batches, strict=True)
                )
                yield step, inputs, targets
                step += 1
                if step == total:
                    return

    def step(self, step: int, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step of every run; their losses, (R,)."""
        self.model.train()
        losses = self._losses(self.parameters, self.buffers, inputs, targets)  # (R,)
        losses.sum().backward()
        self._update(self.members.training[0].schedule(step, self.members.training[0].total_steps))
        return losses.detach()

    def _loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        bound: Any = _Bound(self.model, parameters, buffers)
        with self.autocast():
            loss, _ = self.task.forward(bound, (inputs, targets))
        return loss

    def _update(self, factor: float) -> None:
        for (start, stop), (optimizer, rates, tensors) in zip(self.members.groups, self.optimizers, strict=True):
            for row, name in tensors:
                gradient = self.parameters[name].grad
                row.grad = None if gradient is None else gradient[start:stop]
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.step()
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def _evaluate(self) -> list[dict[str, float]]:
        """Cross-entropy and accuracy of each run on the evaluation split, with the layers in evaluation mode."""
        first, runs = self.members.training[0], len(self.members.training)
        name = first.monitored or next(iter(first.evaluations))
        batches = first.evaluations[name]
        loss = torch.zeros(runs, dtype=torch.float64, device=self.device)
        right = torch.zeros(runs, dtype=torch.int64, device=self.device)
        self.model.eval()
        forward: Callable[..., Tensor] = vmap(
            lambda p, b, x: functional_call(self.model, (p, b), (x,)), in_dims=(0, 0, None)
        )
        for inputs, targets in batches.epoch(0):
            with self.autocast():
                logits = forward(self.parameters, self.buffers, inputs).float()  # (R, B, K)
            repeated = targets.expand(runs, -1)  # (R, B)
            each = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none").view(runs, -1)
            loss += each.sum(1)
            right += (logits.argmax(2) == repeated).sum(1)
        pairs = zip((loss / batches.samples).tolist(), (right / batches.samples).tolist(), strict=True)
        return [{f"{name}/loss": a, f"{name}/accuracy": b} for a, b in pairs]
