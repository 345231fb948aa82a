"""Self-attention: Vaswani et al. 2017, arXiv:1706.03762."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.nn.attention import MultiHeadAttention, attention_weights_reference, causal_mask
from dlkit.nn.embedding import sinusoids
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

TOKENS, WIDTH, HEADS = 7, 8, 2
Weights = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def attention_rows_are_distributions(weights: Weights = attention_weights_reference) -> Deviation:
    """Each token spreads a weight of 1 over the tokens that it may see, none of it below 0, and none on the others."""
    q, k = torch.randn(2, HEADS, TOKENS, WIDTH), torch.randn(2, HEADS, TOKENS, WIDTH)  # (B, H, T, D)
    mask = causal_mask(TOKENS, TOKENS)
    free, masked = weights(q, k, None), weights(q, k, mask)
    rows = torch.stack([free, masked])
    total = largest_difference(rows.sum(-1), torch.ones(2, 2, HEADS, TOKENS))
    hidden = float(masked.masked_select(~mask).abs().max())
    return Deviation(largest(total, float(-rows.min()), hidden), {"largest weight": float(free.max())})


def bidirectional_attention() -> nn.Module:
    """Without a causal mask, and with no positions."""
    return MultiHeadAttention(WIDTH, HEADS, causal=False)


@torch.no_grad()
def attention_is_permutation_equivariant(attention: Callable[[], nn.Module] = bidirectional_attention) -> Deviation:
    """Tokens in another order give the same outputs in that order; once positions are added, they do not."""
    module, x = attention(), torch.randn(2, TOKENS, WIDTH)  # (B, T, W)
    order = torch.roll(torch.arange(TOKENS), 1)
    positions = sinusoids(TOKENS, WIDTH).to(x.dtype)
    placed = largest_difference(module(x[:, order] + positions), module(x + positions)[:, order])
    return Deviation(
        largest(largest_difference(module(x[:, order]), module(x)[:, order]), shortfall(placed, 1e-3)),
        {"with positions": placed},
    )


@torch.no_grad()
def attention_scores_are_scaled(weights: Weights = attention_weights_reference) -> Deviation:
    """Dividing by sqrt(D) keeps the variance of q k at 1 for any width, so wide heads do not collapse onto one token.

    The entropy of a row at D = 256 stays above half of its largest value, log T.
    """
    entropies: dict[str, float] = {}
    for width in (16, 256):
        q, k = torch.randn(1, 1, 64, width), torch.randn(1, 1, 64, width)
        rows = weights(q, k, None)
        entropies[f"entropy at D = {width}"] = float(torch.special.entr(rows).sum(-1).mean())
        unscaled = (q @ k.transpose(-2, -1)).softmax(-1)
        entropies[f"unscaled at D = {width}"] = float(torch.special.entr(unscaled).sum(-1).mean())
    least = torch.tensor(64.0).log().item() / 2
    return Deviation(shortfall(entropies["entropy at D = 256"], least), entropies)
