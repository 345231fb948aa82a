"""Train many runs of one model at once: their parameters are stacked, and one pass serves them all.

With R runs, parameters theta (R, ...) and a batch for each run, (R, B, ...), the model is mapped over the first
dimension; no run's loss depends on another run's parameters, so the gradient of the sum of losses is each run's own:

    d/dtheta_r sum_r loss_r(theta_r) = d/dtheta_r loss_r(theta_r)

Runs of one optimizer and learning rate lie side by side, so that each such row of the stack is one contiguous tensor
and the optimizer's own kernel updates it. A run that diverges fills its rows with NaN and touches no other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dlkit.nn import products
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.loop import Batches, Training
from dlkit.train.tosses import Tosses

Batch = tuple[Tensor, ...]  # inputs and targets first


@dataclass
class Members:
    """The runs of a stack, sorted by optimizer and its options.

    Args:
        training: for each run its own Training, of the same recipe but for optimizer, its options and seed. Those of
            one seed share the model's initial weights and the batches.
        seeds: for each run the index of its seed.
        groups: row ranges [start, stop) of runs with one optimizer and the same options.
        generators: for each seed the state of the device's generator that a lone run of it starts with.
    """

    training: Sequence[Training]
    seeds: Sequence[int]
    groups: Sequence[tuple[int, int]]
    generators: Sequence[Tensor]

    def first(self, count: int) -> Members:
        """The first so many of them."""
        groups = [(start, min(stop, count)) for start, stop in self.groups if start < count]
        seeds = self.seeds[:count]
        return Members(self.training[:count], seeds, groups, self.generators[: max(seeds) + 1])


@dataclass
class StackStepped:
    """Every run took a step."""

    step: int


@dataclass
class StackLogged:
    """Where a stack stands: (R,) mean training losses since the last such event, and whose losses are all finite."""

    step: int
    losses: list[float]
    finite: list[bool]


@dataclass
class StackEvaluated:
    """Metrics of each run on the evaluation split."""

    step: int
    metrics: list[dict[str, float]]


class _Bound:
    """A model with given parameters and buffers, as far as a task needs one."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        self._model, self._parameters, self._buffers = model, parameters, buffers

    def __call__(self, inputs: Tensor) -> Tensor:
        return functional_call(self._model, (self._parameters, self._buffers), (inputs,))

    def parameters(self) -> list[Tensor]:
        return list(self._parameters.values())


class Stack:
    """All runs of a stack, trained at once. The trainings that it is made of stay as they are."""

    def __init__(self, members: Members) -> None:
        self.members = members
        first = members.training[0]
        self.task, self.device, self.autocast = first.task, first.device, first.autocast
        self.model = copy.deepcopy(first.model)
        stacked, buffers = stack_module_state([training.model for training in members.training])
        self.parameters = {name: value.detach().contiguous() for name, value in stacked.items()}
        self.buffers = {name: value.detach().contiguous() for name, value in buffers.items()}
        self.tosses = Tosses(self.model, members.generators, self.device)
        # "same": nothing is drawn but the tosses of all seeds, of which each run takes its own
        self._losses: Callable[..., Tensor] = vmap(self._loss, in_dims=0, randomness="same")
        self.taken = 0  # steps
        self.seeds = torch.tensor(list(members.seeds), device=self.device)  # (R,)
        # one Training for each seed, which has its batches
        self.sources: list[Batches] = [
            members.training[list(members.seeds).index(seed)].batches for seed in range(max(members.seeds) + 1)
        ]
        self._lay_out()
        self.optimizers = [self._optimizer(start, stop) for start, stop in members.groups]
        runs = len(members.training)
        # sums of losses since they were last told, and over how many samples of each run
        self.summed, self.since = torch.zeros(runs, device=self.device), 0
        self.finite = torch.ones(runs, dtype=torch.bool, device=self.device)

    def _lay_out(self) -> None:
        """Give each parameter the layout that its gradient comes in, which then needs no copy at every step.

        The gradient of a linear layer's W, sum_n dy_n x_n^T, comes transposed where the batch is a stack of matrices.
        """
        few = slice(0, 2)
        parameters = {name: value[few].clone().requires_grad_() for name, value in self.parameters.items()}
        buffers = {name: value[few].clone() for name, value in self.buffers.items()}
        states, (_, batch) = list(self.tosses.states), next(self.batches())
        self.model.train()
        losses = self._losses(parameters, buffers, self.seeds[few], tuple(part[few] for part in batch))
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        self.tosses.states = states
        for (name, value), gradient in zip(list(self.parameters.items()), gradients, strict=True):
            if gradient is not None and len(gradient) > 1:
                strides = gradient.stride()
                order = sorted(range(gradient.dim()), key=lambda dim: -strides[dim])  # the outermost dimension first
                back = sorted(range(gradient.dim()), key=lambda dim: order[dim])
                if order[0] == 0:  # runs lie one behind the other, so that those of an optimizer stay one block
                    self.parameters[name] = value.permute(order).contiguous().permute(back)
            self.parameters[name].requires_grad_()

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

    def run(self, evaluate_every: int) -> Iterator[StackStepped | StackLogged | StackEvaluated]:
        """Train to the end; yields each step, and where the runs stand every so many steps, at step 0 and at the end.

        Evaluation is on the split that the trainings monitor, or else on their first one.
        """
        total = self.members.training[0].total_steps
        if not self.taken:
            yield StackEvaluated(0, self._evaluate())
        for step, batch in self.batches():
            losses = self.take_step(step, batch)
            self.summed.add_(losses, alpha=batch[1].shape[1])  # a small last batch weighs less
            self.since += batch[1].shape[1]
            self.finite &= losses.isfinite()
            self.taken = done = step + 1
            if done == total or done % evaluate_every == 0:
                metrics = self._evaluate()
                yield StackLogged(done, (self.summed / self.since).tolist(), self.finite.tolist())
                self.summed.zero_()
                self.since = 0
                yield StackEvaluated(done, metrics)
            yield StackStepped(done)

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """(step, (inputs (R, B, ...), targets (R, ...), ...)) from the next step on, each run's of its own seed."""
        first = self.members.training[0]
        total, step = first.total_steps, self.taken
        while step < total:
            epoch, within = divmod(step, first.steps_per_epoch)
            for batches in zip(*(source.epoch(epoch, within) for source in self.sources), strict=True):
                yield (
                    step,
                    tuple(torch.stack(list(part)).index_select(0, self.seeds) for part in zip(*batches, strict=True)),
                )
                step += 1
                if step == total:
                    return

    def take_step(self, step: int, batch: Batch) -> Tensor:
        """One step of every run; their losses, (R,)."""
        self.model.train()
        with products.for_stacks(self.device):
            losses = self._losses(self.parameters, self.buffers, self.seeds, batch)  # (R,)
            losses.sum().backward()
        self._clip()
        self._update(self.members.training[0].schedule(step, self.members.training[0].total_steps))
        return losses.detach()

    def _loss(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], seed: Tensor, batch: Batch) -> Tensor:
        bound: Any = _Bound(self.model, parameters, buffers)
        self.tosses.seed = seed
        with self.autocast(), sdpa_kernel(SDPBackend.MATH):  # the one that vmap maps over without a loop
            loss, _ = self.task.forward(bound, batch)
        return loss

    def _clip(self) -> None:
        """Shorten the gradient of each run to the norm that its recipe allows."""
        most = self.members.training[0].settings.clip_norm
        if most is None:
            return
        learned = dict.fromkeys(name for _, _, tensors in self.optimizers for _, name in tensors)
        gradients = [g for name in learned if (g := self.parameters[name].grad) is not None]  # (R, ...)
        # ||g||^2 = sum over tensors of ||g_i||^2
        norms = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.dim()))) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (R,)
        # g <- g min(1, most / ||g||), kept from a division by 0 as torch does it
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)))

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
        loss = torch.zeros(runs, dtype=torch.float64, device=self.device)
        right = torch.zeros(runs, dtype=torch.int64, device=self.device)
        samples = 0
        self.model.eval()
        forward: Callable[..., Tensor] = vmap(
            lambda p, b, x: functional_call(self.model, (p, b), (x,)), in_dims=(0, 0, None)
        )
        for inputs, targets in first.evaluations[name].epoch(0):
            with products.for_stacks(self.device), self.autocast(), sdpa_kernel(SDPBackend.MATH):
                logits = forward(self.parameters, self.buffers, inputs).float().flatten(1, -2)  # (R, N, K)
            samples += int((targets >= 0).sum())  # a target of -100 does not count
            repeated = targets.expand(runs, -1)  # (R, N)
            each = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none").view(runs, -1)
            loss += each.sum(1)
            right += (logits.argmax(2) == repeated).sum(1)
        self.finite &= loss.isfinite()  # NaN is no class, though argmax makes it the first
        pairs = zip((loss / samples).tolist(), (right / samples).tolist(), strict=True)
        return [{f"{name}/loss": a, f"{name}/accuracy": b} for a, b in pairs]

    # ------------------------------------------------------------------ state

    def capture(self) -> Checkpoint:
        """Everything that the rest of the stack depends on."""
        optimizers: dict[str, Tensor] = {}
        for number, (optimizer, _, tensors) in enumerate(self.optimizers):
            for index, (row, _) in enumerate(tensors):
                optimizers |= {f"{number}.{index}.{name}": value for name, value in optimizer.state[row].items()}
        sums = {"summed": self.summed, "finite": self.finite}
        sums |= {f"generator.{seed}": state for seed, state in enumerate(self.tosses.states)}
        files = {"parameters": self.parameters, "buffers": self.buffers, "optimizers": optimizers, "sums": sums}
        # copies: the stack goes on changing its own
        keep = torch.contiguous_format
        tensors = {
            file: {name: x.detach().clone(memory_format=keep) for name, x in held.items()}
            for file, held in files.items()
        }
        return Checkpoint(self.taken, tensors, {"since": self.since})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where `capture` was called."""
        tensors = checkpoint.tensors
        with torch.no_grad():
            for own, name in ((self.parameters, "parameters"), (self.buffers, "buffers")):
                for key, value in own.items():
                    value.copy_(tensors[name][key])
        for key, value in tensors["optimizers"].items():
            number, index, name = key.split(".", 2)
            optimizer, _, rows = self.optimizers[int(number)]
            row = rows[int(index)][0]
            held = value.to(self.device, copy=True)
            # the kernels walk raw memory, so a moment lies as its parameter does
            optimizer.state[row][name] = torch.empty_like(row).copy_(held) if held.shape == row.shape else held
        self.tosses.states = [tensors["sums"][f"generator.{seed}"] for seed in range(len(self.tosses.states))]
        self.summed.copy_(tensors["sums"]["summed"])
        self.finite.copy_(tensors["sums"]["finite"])
        self.taken, self.since = checkpoint.step, checkpoint.state["since"]
