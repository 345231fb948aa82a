"""What the training steps since the last logged one come to: sums on the device, which nobody waits for in between."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Sums:
    """Sums over the predictions of the steps since `clear`.

    A mean of batch means would weigh the few predictions of a small last batch as much as the many of a whole one:

        mean loss = sum over batches of n_b loss_b / sum over batches of n_b

    Args:
        device: where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        # float64 where the device has it, so that the order of batches hardly matters
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.loss = torch.zeros((), dtype=wide, device=device)
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.counts_right = True
        self.steps = self.samples = 0
        self.finite_steps = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, right: Tensor | None, samples: int) -> None:
        """Count a batch: its mean loss over so many samples, and how many of them were right."""
        self.loss.add_(loss.detach(), alpha=samples)
        self.samples += samples
        if right is None:
            self.counts_right = False
        else:
            self.right += right

    def end_step(self) -> None:
        self.steps += 1
        # a sum is never finite again once NaN or infinity is in it, so this counts the steps before the first such
        self.finite_steps += self.loss < math.inf

    def first_bad(self) -> int | None:
        """Which step since `clear`, from 1 on, had the first loss that is not finite. Waits for the device."""
        return None if math.isfinite(self.loss.item()) else int(self.finite_steps.item()) + 1

    def metrics(self) -> dict[str, float]:
        """`train/loss` and, where it is known, `train/accuracy`. Waits for the device."""
        found = {"train/loss": self.loss.item() / self.samples}
        return found | ({"train/accuracy": self.right.item() / self.samples} if self.counts_right else {})

    def clear(self) -> None:
        self.steps = self.samples = 0
        for value in (self.loss, self.right, self.finite_steps):
            value.zero_()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of them, beside `steps` and `samples`."""
        return {"sums.weighted_loss": self.loss, "sums.right": self.right}

    def load(self, tensors: dict[str, Tensor], steps: int, samples: int) -> None:
        """Go on from sums over so many steps, all of which had a finite loss."""
        self.steps, self.samples = steps, samples
        if (old := tensors.get("sums.loss")) is not None:  # of an earlier dlkit: the sum of the batches' means
            self.loss.copy_(old * (samples / max(steps, 1)))
        else:
            self.loss.copy_(tensors["sums.weighted_loss"])
        self.right.copy_(tensors["sums.right"])
        self.finite_steps.fill_(steps)
