"""Embeddings of token ids and of positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embedding(nn.Module):
    """A learned vector for each of `count` ids: (...,) int64 to (..., width). Parameter names are torch's.

    Args:
        count: number of token ids or positions.
        width: size of each vector.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        # N(0, 0.02^2) (Radford et al. 2018; Devlin et al., arXiv:1810.04805)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        # row i of the table is one_hot(i) W
        return F.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


def sinusoids(count: int, width: int) -> Tensor:
    """Sinusoidal position encodings, (count, width). Vaswani et al., arXiv:1706.03762, section 3.5."""
    position = torch.arange(count, dtype=torch.float64)[:, None]  # (count, 1)
    pairs = torch.arange(0, width, 2, dtype=torch.float64)  # (ceil(width / 2),)
    # PE(t, 2i) = sin(t / 10000^(2i / W)), PE(t, 2i + 1) = cos(t / 10000^(2i / W))
    angles = position * torch.exp(-math.log(10000) * pairs / width)
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, :width].float()


class Sinusoids(nn.Module):
    """Sinusoidal position encodings in place of an `Embedding`: (...,) int64 to (..., width)."""

    weight: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", sinusoids(count, width), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)
