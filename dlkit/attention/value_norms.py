"""Norm-based analysis of attention: a large weight on a value vector near 0 contributes nothing.

Kobayashi et al., arXiv:2004.10102: the output of a layer is y_i = sum over h and j of a_hij f_h(x_j) + bias, where
f_h(x) = (x W_v,h + b_v,h) W_o,h. Token j therefore contributes |a_hij f_h(x_j)| to token i in a head, and
|sum over h of a_hij f_h(x_j)| in the whole layer. BERT's [SEP] gets much attention but contributes little.

Shapes: H heads of width D, T tokens, R rows of a block, S keys that they see, W the model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.attention.capture import CapturedLayer


def value_gram(layer: CapturedLayer) -> Tensor:
    """The Gram matrix of the heads' f_h(x_j), <f_g(x_j), f_h(x_j)>: (T, H, H), for the first sequence of the batch."""
    v = layer.v[0].float()  # (H, T, D)
    out = layer.module.out.weight.float().unflatten(1, (layer.module.heads, -1))  # (W, H, D)
    f = torch.einsum("htd,whd->thw", v, out)  # (T, H, W)
    return f @ f.transpose(1, 2)


def head_contributions(weights: Tensor, gram: Tensor) -> Tensor:
    """|a_hij f_h(x_j)| with each row normalized to sum to 1, (H, R, S).

    Args:
        weights: a, (H, R, S).
        gram: of `value_gram`.
    """
    norms = gram.diagonal(dim1=1, dim2=2)[: weights.shape[-1]].clamp(min=0).sqrt().T  # (H, S)
    return _normalized(weights * norms[:, None])


def layer_contributions(weights: Tensor, gram: Tensor) -> Tensor:
    """|sum over h of a_hij f_h(x_j)| with each row normalized to sum to 1, (R, S), of the same arguments."""
    # |sum_h a_h f_h|^2 = sum over g and h of a_g a_h <f_g, f_h>
    a = weights.permute(2, 1, 0)  # (S, R, H)
    squares = ((a @ gram[: weights.shape[-1]]) * a).sum(2)  # (S, R)
    return _normalized(squares.clamp(min=0).sqrt().T)


def _normalized(rows: Tensor) -> Tensor:
    """Rows divided by their sums; a row of zeros stays 0."""
    return rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
