"""Attention weighted by what it carries: a large weight on a vector that is nearly 0 moves nothing.

Kobayashi et al., arXiv:2004.10102: the output of a layer is y_i = sum over h and j of a_hij f_h(x_j) + bias, where
f_h(x) = (x W_v,h + b_v,h) W_o,h. So the effect of token j on token i is |a_hij f_h(x_j)| in a head, and
|sum over h of a_hij f_h(x_j)| in the whole layer. BERT's [SEP] gets much of the attention and little of the effect.

Shapes: H heads of D numbers, T tokens, R rows of a block, S keys that they see, W numbers a token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.attention.capture import Layer


def products(layer: Layer) -> Tensor:
    """(T, H, H): the inner products of f_g(x_j) and f_h(x_j), for the first sequence of the batch."""
    v = layer.v[0].float()  # (H, T, D)
    out = layer.module.out.weight.float().unflatten(1, (layer.module.heads, -1))  # (W, H, D)
    f = torch.einsum("htd,whd->thw", v, out)  # (T, H, W)
    return f @ f.transpose(1, 2)


def head_effects(weights: Tensor, inner: Tensor) -> Tensor:
    """Rows of |a_hij f_h(x_j)|, each scaled to the sum 1: (H, R, S) of weights (H, R, S) and `products`."""
    norms = inner.diagonal(dim1=1, dim2=2)[: weights.shape[-1]].clamp(min=0).sqrt().T  # (H, S)
    return _scaled(weights * norms[:, None])


def layer_effects(weights: Tensor, inner: Tensor) -> Tensor:
    """Rows of |sum over h of a_hij f_h(x_j)|, each scaled to the sum 1: (R, S)."""
    # |sum_h a_h f_h|^2 = sum over g and h of a_g a_h <f_g, f_h>
    a = weights.permute(2, 1, 0)  # (S, R, H)
    squares = ((a @ inner[: weights.shape[-1]]) * a).sum(2)  # (S, R)
    return _scaled(squares.clamp(min=0).sqrt().T)


def _scaled(rows: Tensor) -> Tensor:
    """Rows with the sum 1; what is 0 everywhere stays so."""
    return rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
