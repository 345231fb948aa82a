"""Normalization of the tokens of an encoder: layer norm, as transformers have, or batch norm to compare it with.

Shapes: B sequences, T tokens, W the model's width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from dlkit.distributed.process_group import World
from dlkit.nn.norm import BatchNorm, LayerNorm

TokenNorm = Literal["layer", "batch"]


class TokenBatchNorm(BatchNorm):
    """Batch norm of tokens, (..., W), same shape out: each feature over all positions of all sequences of a batch.

    Shen et al. 2020, arXiv:2003.07845, section 3. Padding has no part in the statistics and becomes zero in training;
    in evaluation it is normalized like the rest, and no real token attends to it either way. In a causal model the
    statistics would tell each token of those behind it, so only encoders have this norm.
    """

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Normalize. `real` is (B, T) bool, False for padding; None for no padding."""
        rows = x.flatten(0, -2)  # (B T, W)
        if real is None or not self.training or self.frozen:
            return super().forward(rows).view_as(x)
        return self._joint(rows, self.world or World(), real.flatten()).view_as(x)


def token_norm(name: TokenNorm, width: int, eps: float) -> LayerNorm | TokenBatchNorm:
    """The norm of this name for tokens of W numbers."""
    return TokenBatchNorm(width, eps=eps) if name == "batch" else LayerNorm(width, eps=eps)


def normalize_tokens(norm: nn.Module, x: Tensor, real: Tensor | None) -> Tensor:
    """(B, T, W) to (B, T, W), by a norm that may need to know which tokens are no padding, (B, T) bool."""
    return norm(x, real) if isinstance(norm, TokenBatchNorm) else norm(x)
