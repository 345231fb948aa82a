"""Stochastic depth: skip random residual branches in training, which makes the network shallower there."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError


def stochastic_depth_reference(branch: Tensor, kept: Tensor, p: float) -> Tensor:
    """Apply a given mask to a branch (N, ...): `kept`, (N,), is 1 with probability 1 - p, else 0."""
    # y_n = branch_n * kept_n / (1 - p), so that E[y] = branch
    return branch * kept.view(-1, *(1,) * (branch.dim() - 1)) / (1 - p)


class StochasticDepth(nn.Module):
    """Zero the branch of an example, (N, ...), with probability p in training; scale the others by 1/(1-p).

    Huang et al., arXiv:1603.09382, with the scale in training as in Liu et al., arXiv:2201.03545 ("drop path").

    Args:
        p: the probability that an example skips the branch.

    Raises:
        RequestError: p is not in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise RequestError(f"stochastic_depth must be in [0, 1), got {p}", "it is the probability to skip a block")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        # one draw per example: dropout of a 1 gives 1/(1-p) with probability 1 - p, else 0
        return x * F.dropout(x.new_ones(len(x), *(1,) * (x.dim() - 1)), self.p, training=True)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def rising(p: float, blocks: int) -> list[float]:
    """The probability for each block, linear from 0 at the first to p at the last: all blocks need early features."""
    # p_i = p i / (L - 1)
    return [p * block / max(blocks - 1, 1) for block in range(blocks)]
