"""Loss scaling for fp16, without which small gradients would underflow to zero."""

from __future__ import annotations

import torch


class GradScaler(torch.amp.GradScaler):
    """torch's GradScaler (Micikevicius et al., arXiv:1710.03740), which counts overflows on the device.

    Where a gradient overflows, the optimizer skips its step and the scale is halved. dlkit's optimizers read this from
    a tensor on the device, so that the host does not wait for it.

    Args:
        device: of the gradients.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device.type)
        self._overflown = torch.zeros((), device=device)

    def make_step(self, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        """Make the optimizer's step; returns a tensor of 1 if it was skipped because of an overflow, else of 0.

        The gradient must have been unscaled.
        """
        (found,) = self._found_inf_per_device(optimizer).values()
        self.step(optimizer)
        self.update()
        self._overflown += found
        return found

    def overflown(self) -> int:
        """How many steps were skipped since the last call. Waits for the device."""
        count = int(self._overflown.item())
        self._overflown.zero_()
        return count
