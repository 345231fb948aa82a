"""The scale of an fp16 loss, without which small gradients would be zero, and how often it turned out too large."""

from __future__ import annotations

import torch


class GradScaler(torch.amp.GradScaler):
    """torch's GradScaler (Micikevicius et al., arXiv:1710.03740), which counts overflows on the device.

    Where a gradient overflows, the optimizer makes no step and the scale is halved. Optimizers of dlkit are told so by
    a tensor on the device; if their kernel is there, nobody waits for it.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device.type)
        self._overflown = torch.zeros((), device=device)

    def make_step(self, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        """Let the optimizer make its step; a tensor that is 1 where it did not, since the gradient overflows, else 0.

        The gradient must have been unscaled.
        """
        (found,) = self._found_inf_per_device(optimizer).values()
        self.step(optimizer)
        self.update()
        self._overflown += found
        return found

    def overflown(self) -> int:
        """How many steps were not made since this was last asked. Waits for the device."""
        count = int(self._overflown.item())
        self._overflown.zero_()
        return count
