"""Attention rollout: the attention of all layers up to one, traced back to the input tokens.

Abnar & Zuidema, arXiv:2005.00928. A residual connection runs past every layer, so with A_l the mean over heads of a
layer's attention, a token of layer l mixes the tokens of layer l - 1 in the proportions

    M_l = (A_l + I) / 2

and the input tokens in the proportions R_l = M_l R_{l-1}, with R_0 = I.

Shapes: T tokens, H heads, R rows of a block, S keys that they see.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Rollout:
    """R_l, updated layer by layer as each layer's attention arrives in blocks of rows. Holds two (T, T) matrices."""

    def __init__(self, tokens: int) -> None:
        self.matrix = torch.eye(tokens)  # R_l
        self._next = torch.empty_like(self.matrix)

    def update(self, start: int, weights: Tensor) -> Tensor:
        """Take the attention weights (H, R, S) of the current layer, of the queries from `start` on.

        Returns:
            The rows of M_l of these queries, (R, S).
        """
        stop = start + weights.shape[1]
        rows = residual_attention(start, weights)  # (R, S)
        # R_l = M_l R_{l-1}
        self._next[start:stop] = rows @ self.matrix[: rows.shape[1]]
        if stop == len(self.matrix):  # the layer is complete
            self.matrix, self._next = self._next, self.matrix
        return rows


def residual_attention(start: int, weights: Tensor) -> Tensor:
    """Rows of M = (A + I) / 2, (R, S), with A the mean over heads of weights (H, R, S)."""
    rows = weights.mean(0).float().cpu() / 2
    i = torch.arange(len(rows))
    rows[i, start + i] += 0.5
    return rows
