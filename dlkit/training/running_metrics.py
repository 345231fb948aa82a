"""Mean training loss and accuracy since the last logged step, without waiting for the device before it is asked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlkit.distributed.process_group import World

_MOST = 256  # small tensors to collect before they are joined into one


class RunningMetrics:
    """Sums over the predictions since `clear`. Tensors are collected step by step and summed when they are read.

    Batches are weighted by their predictions, so that a small last batch counts less than a whole one:

        mean loss = sum over batches of n_b loss_b / sum over batches of n_b

    In a job of several processes each adds its own batches, and what is read is of all: every rank must read at once.

    Args:
        device: of the losses.
        world: whose ranks share each batch.
    """

    def __init__(self, device: torch.device, world: World | None = None) -> None:
        self.device, self.world = device, world or World()
        self.counts_right = True
        self.clear()

    def add(self, loss: Tensor, right: Tensor | None, samples: int) -> None:
        """Add a batch: its mean loss over so many samples, and how many of them were correct."""
        self._losses.append(loss.detach())
        self._weights.append(samples)
        self.samples += samples
        if right is None:
            self.counts_right = False
        else:
            self._rights.append(right)

    def end_step(self) -> None:
        self.steps += 1
        self._ends.append(len(self._weights))
        for kept in (self._losses, self._rights):
            if len(kept) > _MOST:
                kept[:] = [_joined(kept)]

    def first_bad(self) -> int | None:
        """The first step since `clear`, counted from 1, whose loss was not finite. Waits for the device."""
        self._read()
        own = None if math.isfinite(self.loss) else self.finite_steps + 1
        return min((bad for bad in self.world.gather_objects(own) if bad is not None), default=None)

    def metrics(self) -> dict[str, float]:
        """`train/loss` and, where it is known, `train/accuracy`. Waits for the device."""
        loss, right, samples = self.totals()
        found = {"train/loss": loss / samples}
        return found | ({"train/accuracy": right / samples} if self.counts_right else {})

    def totals(self) -> tuple[float, int, int]:
        """The weighted loss, the correct predictions, and all predictions. Waits for the device."""
        self._read()
        losses, rights, samples = zip(*self.world.gather_objects((self.loss, self.right, self.samples)), strict=True)
        return sum(losses), sum(rights), sum(samples)

    def clear(self) -> None:
        self.steps = self.samples = 0
        # of what has been read: the weighted sum, the correct predictions, and the steps before the first bad loss
        self.loss, self.right, self.finite_steps = 0.0, 0, 0
        self._unread()

    def load(self, tensors: dict[str, Tensor], steps: int, samples: int) -> None:
        """Continue from the sums of so many steps, all with a finite loss; rank 0 holds them."""
        self.clear()
        self.steps, self.finite_steps = steps, steps
        if not self.world.first:
            return
        self.samples = samples
        if (old := tensors.get("sums.loss")) is not None:  # earlier versions saved the sum of the batches' means
            self.loss = old.item() * (samples / max(steps, 1))
        else:
            self.loss = tensors["sums.weighted_loss"].item()
        self.right = int(tensors["sums.right"].item())

    def _unread(self) -> None:
        self._losses: list[Tensor] = []
        self._rights: list[Tensor] = []
        self._weights: list[int] = []  # of each batch
        self._ends: list[int] = []  # how many batches there were at the end of each step

    def _read(self) -> None:
        """Add up what was collected since the last read, in float64 and in order."""
        if not self._ends:
            return
        losses, begin = _joined(self._losses).tolist(), 0
        for end in self._ends:
            for loss, weight in zip(losses[begin:end], self._weights[begin:end], strict=True):
                self.loss += weight * loss
            # once it holds NaN or infinity a sum stays that way, so this counts the steps before the first of them
            self.finite_steps += math.isfinite(self.loss)
            begin = end
        if self._rights:
            self.right += int(_joined(self._rights).sum().item())
        self._unread()


def summed_tensors(loss: float, right: int) -> dict[str, Tensor]:
    """Sums as a checkpoint keeps them, beside the steps and the samples."""
    return {"sums.weighted_loss": torch.tensor(loss, dtype=torch.float64), "sums.right": torch.tensor(right)}


def _joined(tensors: list[Tensor]) -> Tensor:
    """Scalars and vectors as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
