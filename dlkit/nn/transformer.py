"""The transformer block: attention between tokens, then an MLP for each token, each with a residual connection.

    post-norm (Vaswani et al., arXiv:1706.03762; GPT-1, BERT)   x <- norm(x + f(x))
    pre-norm  (GPT-2; Xiong et al., arXiv:2002.04745)           x <- x + f(norm(x))

Shapes: B sequences, T tokens, W the model's width.
"""

from __future__ import annotations

from torch import Tensor, nn

from dlkit.annotations import Rate
from dlkit.nn.activations import Activation
from dlkit.nn.attention import MultiHeadAttention
from dlkit.nn.cache import LayerCache
from dlkit.nn.dropout import Dropout
from dlkit.nn.mlp import MLP
from dlkit.nn.token_norm import TokenNorm, normalize_tokens, token_norm


class TransformerBlock(nn.Module):
    """One block: (B, T, W) to (B, T, W).

    Args:
        width: W.
        heads: attention heads; their number divides the width.
        hidden: width of the MLP's hidden layer.
        causal: whether tokens see only the tokens before them.
        norm_first: pre-norm, which trains deep stacks without a warm-up; else post-norm.
        activation: of the MLP.
        dropout: probability that an element is zeroed before each residual addition in training.
        attention_dropout: probability that an attention weight is zeroed in training.
        norm: layer; or, where not causal, batch.
        eps: of the norms.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        causal: bool,
        norm_first: bool,
        activation: Activation = "gelu",
        dropout: Rate = 0.0,
        attention_dropout: Rate = 0.0,
        norm: TokenNorm = "layer",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention_norm = token_norm(norm, width, eps)
        self.attention = MultiHeadAttention(width, heads, causal=causal, dropout=attention_dropout)
        self.mlp_norm = token_norm(norm, width, eps)
        self.mlp = MLP(width, width, hidden=(hidden,), activation=activation)
        self.dropout = Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """See `MultiHeadAttention.forward` for the mask and the cache."""
        real = None if mask is None else mask[:, 0, 0]  # (B, T) where it hides padding alone, as an encoder's does
        if self.norm_first:
            x = x + self.dropout(self.attention(normalize_tokens(self.attention_norm, x, real), mask, cache))
            return x + self.dropout(self.mlp(normalize_tokens(self.mlp_norm, x, real)))
        x = normalize_tokens(self.attention_norm, x + self.dropout(self.attention(x, mask, cache)), real)
        return normalize_tokens(self.mlp_norm, x + self.dropout(self.mlp(x)), real)
