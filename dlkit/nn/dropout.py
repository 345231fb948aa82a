"""Dropout: zero random activations in training, so that features do not co-adapt."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError


def dropout_reference(x: Tensor, kept: Tensor, p: float) -> Tensor:
    """Dropout with a given mask: `kept` has x's shape and is 1 (kept, with probability 1 - p) or 0 (dropped)."""
    # y = x * kept / (1 - p), so that E[y] = x
    return x * kept / (1 - p)


class Dropout(nn.Module):
    """Zero each element with probability p in training and scale the others by 1/(1-p). The identity in evaluation.

    Any shape. Hinton et al., arXiv:1207.0580. Srivastava et al. 2014 call p the probability that a unit is
    kept; here, as in torch, it is the probability that a unit is dropped.

    Args:
        p: the probability that an element is zeroed.

    Raises:
        RequestError: p is not in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise RequestError(f"dropout must be in [0, 1), got {p}", "it is the probability to drop, not to keep")
        self.p = p
        # draws the mask in place of torch's generator: (x, p) to kept / (1 - p), of x's shape
        self.draw_mask: Callable[[Tensor, float], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.draw_mask is not None and self.training and self.p:
            return x * self.draw_mask(x, self.p)
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
