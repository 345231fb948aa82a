"""The fully connected layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dlkit.kernels import cpu_matmul


def linear_reference(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # y_o = sum_i W_oi x_i + b_o
    y = (x.unsqueeze(-2) * weight).sum(-1)  # (..., O)
    return y if bias is None else y + bias


class Linear(nn.Module):
    """y = W x + b: (..., in_features) to (..., out_features). Parameter names and initialisation are torch's.

    Args:
        in_features: size of the last dimension of x.
        out_features: size of the last dimension of y.
        bias: whether to add b.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        # W, b ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (LeCun et al. 1998)
        bound = 1 / math.sqrt(in_features)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return cpu_matmul.fast_linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
