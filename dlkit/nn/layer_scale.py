"""LayerScale: a learned factor per channel of a residual branch, initially near zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """y = gamma * x, (N, C, ...) or, with `channels_last`, (..., C). Touvron et al., arXiv:2103.17239.

    Args:
        channels: C.
        value: initial value of gamma.
        channels_last: whether the channels are the last dimension, not dimension 1.
    """

    def __init__(self, channels: int, value: float, *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.gamma = nn.Parameter(torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        # y_c = gamma_c x_c
        return x * (self.gamma if self.channels_last else self.gamma.view(-1, *(1,) * (x.dim() - 2)))
