"""Self-attention: every token takes a weighted mean of the values of all tokens that it attends to.

Vaswani et al., arXiv:1706.03762.

Shapes: B sequences, T queries, S keys, H heads of width D, W = H D the model's width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.annotations import Rate
from dlkit.errors import RequestError
from dlkit.nn.cache import LayerCache
from dlkit.nn.linear import Linear


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """(queries, keys) bool, True where attention is allowed. The queries are the last of the keys' positions."""
    # query t is at position keys - queries + t and sees positions up to its own
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attention_weights_reference(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention weights (B, H, T, S) of q (B, H, T, D) and k (B, H, S, D); `mask` is True where a query may attend."""
    # A = softmax(Q K^T / sqrt(D)), with -inf at masked positions
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1)


def attention_reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, (B, H, T, D)."""
    return attention_weights_reference(q, k, mask) @ v


class MultiHeadAttention(nn.Module):
    """Self-attention in H heads at once: (B, T, W) to (B, T, W).

    With X the input, head h is softmax(Q_h K_h^T / sqrt(D)) V_h, where Q, K, V = X W_q, X W_k, X W_v; the heads are
    concatenated and projected by a linear layer. `qkv` holds W_q, W_k and W_v, in this order, as one layer.

    Args:
        width: W.
        heads: H; it divides the width.
        causal: whether a token sees only itself and the tokens before it (GPT), or all tokens (BERT).
        dropout: probability that an attention weight is zeroed in training.

    Raises:
        RequestError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, dropout: Rate = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise RequestError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.causal = causal
        self.dropout = dropout
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (B, T, W), each (B, H, T, D)."""
        return self.split(self.qkv(x))

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, T, D), from the output of `qkv`, (B, T, 3 W)."""
        # chunk first: its gradient takes one copy, that of a single view and unbind takes two
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1))
        return q, k, v

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """Attend. `mask` is (B or 1, 1, T or 1, S) bool, True where attention is allowed, and includes causality; None
        stands for the causal mask, or none if not causal. With a cache, x continues the tokens that it holds."""
        q, k, v = self.project(x)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D)
        tokens, seen = q.shape[2], k.shape[2]
        whole = self.causal and mask is None and (cache is None or tokens == seen)  # in an exported graph T is a symbol
        if self.causal and mask is None and 1 < tokens < seen:
            mask = causal_mask(tokens, seen, x.device)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=whole)
        return self.out(y.transpose(1, 2).flatten(2))  # (B, H, T, D) to (B, T, W)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, causal={self.causal}, dropout={self.dropout}"
