"""Train many runs of one model at once: their parameters are stacked, and one pass serves them all.

With R runs, parameters theta (R, ...) and a batch for each run, (R, B, ...), the model is mapped over the first
dimension; no run's loss depends on another run's parameters, so the gradient of the sum of losses is each run's own:

    d/dtheta_r sum_r loss_r(theta_r) = d/dtheta_r loss_r(theta_r)

Runs of one optimizer and learning rate are adjacent, so that their rows of the stack are one contiguous tensor. A run
that diverges fills its own rows with NaN and affects no other.

On CUDA a training step is one CUDA graph, and so is a batch of an evaluation (see `graph_replay`). The host waits for
the device only where runs are evaluated.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dlkit.data.batch import Batch
from dlkit.errors import DlkitError
from dlkit.kernels import cpu_matmul
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.gradient_clipping import clip_stacked_gradients
from dlkit.training.training import Training
from dlkit.vectorized import convolution
from dlkit.vectorized.dropout_masks import DropoutMasks
from dlkit.vectorized.evaluation import StackEvaluation
from dlkit.vectorized.events import StackEvaluated, StackLogged, StackStepped
from dlkit.vectorized.functional_model import FunctionalModel
from dlkit.vectorized.graph_replay import GraphReplay
from dlkit.vectorized.stacked_optimizer import BatchedOptimizer, GroupwiseOptimizer


@dataclass
class StackMembers:
    """The runs of a stack, sorted by optimizer and its options.

    Args:
        seeds: for each run the index of its seed.
        groups: row ranges [start, stop) of runs with one optimizer and the same options.
        of_seeds: for each seed a Training that has its initial weights and its batches.
        of_groups: for each group a Training that has its optimizer. All are of one recipe but for optimizer and seed.
        generators: for each seed the state of the device's generator that a lone run of it starts with.
    """

    seeds: Sequence[int]
    groups: Sequence[tuple[int, int]]
    of_seeds: Sequence[Training]
    of_groups: Sequence[Training]
    generators: Sequence[Tensor]


class StackedRuns:
    """R runs, trained at once. The `Training`s that they come from are not modified."""

    def __init__(self, members: StackMembers) -> None:
        self.members = members
        self.first = first = members.of_seeds[0]
        self.task, self.device, self.autocast = first.task, first.device, first.autocast
        self.model = copy.deepcopy(first.model)
        on_cuda = self.device.type == "cuda"
        if on_cuda:
            convolution.use_batched_convolutions(self.model)
        self.seeds = torch.tensor(list(members.seeds), device=self.device)  # (R,)
        of_seeds, buffers = stack_module_state([training.model for training in members.of_seeds])  # (S, ...)
        self.parameters = {name: value.detach().index_select(0, self.seeds) for name, value in of_seeds.items()}
        self.buffers = {name: value.detach().index_select(0, self.seeds) for name, value in buffers.items()}
        self.masks = DropoutMasks(self.model, members.generators, self.device)
        # "same": only the masks of all seeds are drawn, and each run takes its own
        self._losses: Callable[..., Tensor] = vmap(self._loss, in_dims=0, randomness="same")
        self.taken = 0  # steps
        _, batch = next(self.batches())
        self.batch_of: Callable[..., Batch] = type(batch)  # made of its tensors
        self._lay_out(batch)
        owners = [_owner(training) for training in members.of_groups]
        self.optimizer = (BatchedOptimizer if on_cuda else GroupwiseOptimizer)(self.parameters, members.groups, owners)
        runs = len(members.seeds)
        self.losses = torch.zeros(runs, device=self.device)  # of the last step
        # sums of losses since they were last reported, and over how many samples of each run; on the device, where the
        # graph of a step adds to them, while `RunningMetrics` of a lone run lists the losses on the host
        self.summed, self.since = torch.zeros(runs, device=self.device), 0
        self.finite = torch.ones(runs, dtype=torch.bool, device=self.device)
        self.stepped = GraphReplay(self._step, self.device, self.masks)
        self.evaluation = StackEvaluation(self)

    def _lay_out(self, batch: Batch) -> None:
        """Give each parameter the memory layout of its gradient, which then needs no copy at every step.

        The gradient of a linear layer's W, sum_n dy_n x_n^T, comes transposed where the batch is a stack of matrices.
        """
        few = slice(0, 2)
        parameters = {name: value[few].clone().requires_grad_() for name, value in self.parameters.items()}
        buffers = {name: value[few].clone() for name, value in self.buffers.items()}
        states = list(self.masks.states)
        self.model.train()
        seeds = self.seeds[few]
        losses = self._losses(parameters, buffers, seeds, *self.of_runs(batch, seeds))
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        self.masks.states = states
        for (name, value), gradient in zip(list(self.parameters.items()), gradients, strict=True):
            if gradient is not None and len(gradient) > 1:
                strides = gradient.stride()
                order = sorted(range(gradient.dim()), key=lambda dim: -strides[dim])  # the outermost dimension first
                back = sorted(range(gradient.dim()), key=lambda dim: order[dim])
                if order[0] == 0:  # the runs come first in memory, so that those of an optimizer stay contiguous
                    self.parameters[name] = value.permute(order).contiguous().permute(back)
            self.parameters[name].requires_grad_()

    def run(self, evaluate_every: int) -> Iterator[StackStepped | StackLogged | StackEvaluated]:
        """Train to the end; yields each step, and evaluations at step 0, every so many steps and at the end."""
        total = self.first.total_steps
        if not self.taken:
            yield StackEvaluated(0, self._evaluate())
        for step, batch in self.batches():
            self.take_step(step, batch)
            self.since += batch.targets.shape[1]
            self.taken = done = step + 1
            if done == total or done % evaluate_every == 0:
                metrics = self._evaluate()
                yield StackLogged(done, (self.summed / self.since).tolist(), self.finite.tolist())
                self.summed.zero_()
                self.since = 0
                yield StackEvaluated(done, metrics)
            yield StackStepped(done)

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """(step, a batch of tensors (S, ...), a row for each seed) from the next step on."""
        total, step = self.first.total_steps, self.taken
        sources: list[Any] = [training.batches for training in self.members.of_seeds]
        while step < total:
            epoch, within = divmod(step, self.first.steps_per_epoch)
            for batch in sources[0].side_by_side(sources, epoch, within):
                yield step, batch
                step += 1
                if step == total:
                    return

    @staticmethod
    def of_runs(batch: Batch, seeds: Tensor) -> tuple[Tensor, ...]:
        """The tensors of each run's batch, by its seed: (S, ...) to (R, ...)."""
        return tuple(values.index_select(0, seeds) for values in batch.tensors())

    def take_step(self, step: int, batch: Batch) -> Tensor:
        """One step of every run; their losses, (R,)."""
        self.model.train()
        self.optimizer.scale(self.first.schedule(step, self.first.total_steps))
        self.stepped(*batch.tensors())
        return self.losses.clone()

    def _step(self, *tensors: Tensor) -> None:
        batch = self.batch_of(*tensors)
        with cpu_matmul.fast_batched_matmul(self.device):
            losses = self._losses(self.parameters, self.buffers, self.seeds, *self.of_runs(batch, self.seeds))  # (R,)
            losses.sum().backward()
        self._clip()
        self.optimizer.step()
        self.losses.copy_(losses.detach())
        self.summed.add_(losses.detach(), alpha=batch.targets.shape[1])  # a small last batch weighs less
        self.finite &= losses.isfinite()

    def _loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], seed: Tensor, *tensors: Tensor
    ) -> Tensor:
        self.masks.seed = seed
        with self.autocast(), sdpa_kernel(SDPBackend.MATH):  # the only backend that vmap does not run in a loop
            loss, _ = self.task.forward(self.bound(parameters, buffers), self.batch_of(*tensors))
        return loss

    def bound(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Any:
        """The model with these parameters and buffers, as far as a task needs one."""
        return FunctionalModel(self.model, parameters, buffers)

    def _clip(self) -> None:
        """Clip the gradient of each run to the recipe's maximum norm."""
        if self.first.settings.clip_norm is not None:
            gradients = [g for name in self.optimizer.learned if (g := self.parameters[name].grad) is not None]
            clip_stacked_gradients(gradients, self.first.settings.clip_norm)

    def _evaluate(self) -> list[dict[str, float]]:
        """Metrics of each run on the monitored split, or else on the first one."""
        metrics, finite = self.evaluation.measure()
        self.finite &= finite & self._finite_weights()
        return metrics

    def _finite_weights(self) -> Tensor:
        """(R,) whether all weights of a run are finite."""
        finite = torch.ones_like(self.finite)
        for value in (*self.parameters.values(), *self.buffers.values()):
            if value.is_floating_point() and value.numel():
                # max |x| is finite only if each x is
                finite &= torch.linalg.vector_norm(value.detach().flatten(1), math.inf, dim=1).isfinite()
        return finite

    # ------------------------------------------------------------------ state

    def capture(self) -> Checkpoint:
        """The state of the stack as a checkpoint. A run whose weights are not finite has diverged."""
        self.finite &= self._finite_weights()
        sums = {"summed": self.summed, "finite": self.finite}
        sums |= {f"generator.{seed}": state for seed, state in enumerate(self.masks.states)}
        optimizers = self.optimizer.state()
        files = {"parameters": self.parameters, "buffers": self.buffers, "optimizers": optimizers, "sums": sums}
        # copies: the stack goes on changing its own
        tensors = {
            file: {name: x.detach().clone(memory_format=torch.contiguous_format) for name, x in held.items()}
            for file, held in files.items()
        }
        return Checkpoint(self.taken, tensors, {"samples": self.since})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue exactly where `capture` was called.

        Raises:
            DlkitError: the checkpoint is of another model, or of another number of runs.
        """
        tensors, state = checkpoint.tensors, checkpoint.state
        with torch.no_grad():
            for own, file in ((self.parameters, "parameters"), (self.buffers, "buffers")):
                held = tensors[file]
                shapes, saved = ({key: value.shape for key, value in each.items()} for each in (own, held))
                if shapes != saved:
                    raise DlkitError(f"the saved stack has other {file} than the runs that it is to go on with")
                for key, value in own.items():
                    value.copy_(held[key])
        self.optimizer.load(tensors["optimizers"])
        self.masks.states = [tensors["sums"][f"generator.{seed}"] for seed in range(len(self.masks.states))]
        # earlier versions summed the means of the batches, over steps
        size = 1 if "samples" in state else self.first.batches.batch_size
        self.summed.copy_(tensors["sums"]["summed"] * size)
        self.finite.copy_(tensors["sums"]["finite"])
        self.taken, self.since = checkpoint.step, state.get("samples", state.get("since", 0) * size)


def _owner(training: Training) -> tuple[torch.optim.Optimizer, list[list[str]]]:
    """The optimizer of a run, and the names of the parameters in each of its groups."""
    names = {id(parameter): name for name, parameter in training.model.named_parameters()}
    return training.optimizer, [[names[id(p)] for p in group["params"]] for group in training.optimizer.param_groups]
