"""What the training steps since the last logged one come to; until somebody asks, nobody waits for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MOST = 256  # small tensors that are kept one by one


class RunningMetrics:
    """Sums over the predictions of the steps since `clear`. What a step gives is kept, and summed when asked for.

    A mean of batch means would weigh the few predictions of a small last batch as much as the many of a whole one:

        mean loss = sum over batches of n_b loss_b / sum over batches of n_b

    Args:
        device: where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counts_right = True
        self.clear()

    def add(self, loss: Tensor, right: Tensor | None, samples: int) -> None:
        """Count a batch: its mean loss over so many samples, and how many of them were right."""
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
        """Which step since `clear`, from 1 on, had the first loss that is not finite. Waits for the device."""
        self._read()
        return None if math.isfinite(self.loss) else self.finite_steps + 1

    def metrics(self) -> dict[str, float]:
        """`train/loss` and, where it is known, `train/accuracy`. Waits for the device."""
        self._read()
        found = {"train/loss": self.loss / self.samples}
        return found | ({"train/accuracy": self.right / self.samples} if self.counts_right else {})

    def clear(self) -> None:
        self.steps = self.samples = 0
        # of what has been read: the weighted sum, how many were right, and the steps before the first bad loss
        self.loss, self.right, self.finite_steps = 0.0, 0, 0
        self._unread()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of them, beside `steps` and `samples`. Waits for the device."""
        self._read()
        return {
            "sums.weighted_loss": torch.tensor(self.loss, dtype=torch.float64),
            "sums.right": torch.tensor(self.right),
        }

    def load(self, tensors: dict[str, Tensor], steps: int, samples: int) -> None:
        """Go on from sums over so many steps, all of which had a finite loss."""
        self.clear()
        self.steps, self.samples, self.finite_steps = steps, samples, steps
        if (old := tensors.get("sums.loss")) is not None:  # of an earlier dlkit: the sum of the batches' means
            self.loss = old.item() * (samples / max(steps, 1))
        else:
            self.loss = tensors["sums.weighted_loss"].item()
        self.right = int(tensors["sums.right"].item())

    def _unread(self) -> None:
        self._losses: list[Tensor] = []
        self._rights: list[Tensor] = []
        self._weights: list[int] = []  # of each batch
        self._ends: list[int] = []  # behind which batch each step ends

    def _read(self) -> None:
        """Sum what has come in since this was last asked, in float64 and in order."""
        if not self._ends:
            return
        losses, begin = _joined(self._losses).tolist(), 0
        for end in self._ends:
            for loss, weight in zip(losses[begin:end], self._weights[begin:end], strict=True):
                self.loss += weight * loss
            # a sum is never finite again once NaN or infinity is in it, so this counts the steps before the first such
            self.finite_steps += math.isfinite(self.loss)
            begin = end
        if self._rights:
            self.right += int(_joined(self._rights).sum().item())
        self._unread()


def _joined(parts: list[Tensor]) -> Tensor:
    """Scalars and vectors as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])
