"""Gradient clipping by the global norm (Pascanu et al., arXiv:1211.5063), of one run or of each run of a stack.

g <- g min(1, c / ||g||),   ||g||^2 = sum over tensors of ||g_i||^2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_EPSILON = 1e-6  # torch's, which keeps a gradient of 0 from a division by 0


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> None:
    """Scale the gradients of the parameters in place so that their global norm is at most `max_norm`."""
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def clip_stacked_gradients(gradients: Sequence[Tensor], max_norm: float) -> None:
    """The same for R runs at once, each by its own norm. Gradients are (R, ...)."""
    norms = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.dim()))) for g in gradients]  # each (R,)
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (R,)
    factor = (max_norm / (norm + _EPSILON)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *(1,) * (gradient.dim() - 1)))
