"""GPT: causal transformer blocks that predict the next token.

GPT-1: Radford et al. 2018 (post-norm); GPT-2: Radford et al. 2019 (pre-norm, a last norm, scaled initial weights).
Shapes: B sequences, T tokens, W the model's width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlkit.annotations import Count, Depth, Positive, Rate
from dlkit.errors import DlkitError, RequestError
from dlkit.nn.activations import Activation
from dlkit.nn.cache import Cache
from dlkit.nn.dropout import Dropout
from dlkit.nn.embedding import Embedding, Sinusoids
from dlkit.nn.linear import Linear
from dlkit.nn.norm import LayerNorm
from dlkit.nn.transformer import TransformerBlock


class GPT(nn.Module):
    """A causal language model: tokens (B, T) int64 to logits (B, T, V).

    Args:
        layers: transformer blocks.
        heads: attention heads per block; their number divides the width.
        width: size of each token's hidden state.
        hidden: width of each block's MLP; null for four times the width.
        activation: of the MLPs.
        norm_first: pre-norm as in GPT-2, else post-norm as in GPT-1.
        positions: learned embeddings, or sinusoidal encodings (Vaswani et al. 2017).
        dropout: probability that an element is zeroed in training, after the embedding and before each residual
            addition.
        attention_dropout: probability that an attention weight is zeroed in training.
        tied: whether the last layer shares the embedding's weights (Press & Wolf, arXiv:1608.05859).
        context: maximum number of tokens in a sequence; null for data.context.
        eps: of the norms.

    Raises:
        RequestError: the heads do not divide the width.
    """

    def __init__(
        self,
        vocabulary: int,
        window: int,
        *,
        layers: Depth = 4,
        heads: Count = 4,
        width: Count = 128,
        hidden: Count | None = None,
        activation: Activation = "gelu_tanh",
        norm_first: bool = True,
        positions: Literal["learned", "sinusoidal"] = "learned",
        dropout: Rate = 0.0,
        attention_dropout: Rate = 0.0,
        tied: bool = True,
        context: Count | None = None,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        self.stages = (("tokens", "positions"), ("blocks",), ("norm", "head"))
        self.context = context or window
        if self.context < window:
            raise RequestError(f"model.context is {context}, less than the {window} tokens of data.context")
        self.tokens = Embedding(vocabulary, width)
        self.positions = (Embedding if positions == "learned" else Sinusoids)(self.context, width)
        self.dropout = Dropout(dropout) if dropout else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads,
                hidden or 4 * width,
                causal=True,
                norm_first=norm_first,
                activation=activation,
                dropout=dropout,
                attention_dropout=attention_dropout,
                eps=eps,
            )
            for _ in range(layers)
        )
        self.norm = LayerNorm(width, eps=eps) if norm_first else nn.Identity()
        self.head = Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        initialize(self)
        for name, parameter in self.named_parameters():
            # each block adds to the residual stream twice, so scale down its variance: N(0, 0.02^2 / (2 layers))
            if norm_first and name.endswith(("attention.out.weight", "mlp.2.weight")):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.tokens.weight.shape[0]

    def forward(
        self,
        tokens: Tensor,
        *,
        cache: Cache | None = None,
        padding: Tensor | None = None,
        last: bool = False,
        into: Callable[[Tensor, Linear], Tensor] | None = None,
    ) -> Tensor:
        """Logits of the next token at each position, (B, T, V).

        Args:
            tokens: (B, T) int64; they continue those in the cache, if there is one.
            cache: keys and values of the tokens so far, to which these are appended.
            padding: (B,) int64, number of padding tokens at the start of each row.
            last: return the logits after the last token only, (B, 1, V).
            into: replaces the logits: a function of the last layer's input (B, T, W) and the layer.

        Raises:
            DlkitError: there are more tokens than the model's context.
        """
        x = self.hidden(tokens, cache, padding)
        x = x[:, -1:] if last else x
        return self.head(x) if into is None else into(x, self.head)

    def hidden(self, tokens: Tensor, cache: Cache | None = None, padding: Tensor | None = None) -> Tensor:
        """The input of the last layer, (B, T, W). Arguments as in `forward`."""
        past = cache.length if cache is not None else 0
        end = past + tokens.shape[1]
        if end > self.context:
            raise DlkitError(f"{end} tokens are more than the {self.context} that the model can look back on")
        positions, mask = torch.arange(past, end, device=tokens.device), None  # (T,)
        if padding is not None:
            mask = padded_mask(padding, past, end)
            positions = (positions - padding[:, None]).clamp(min=0)  # (B, T)
        x = self.dropout(self.tokens(tokens) + self.positions(positions))  # (B, T, W)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, cache.layers[i] if cache is not None else None)
        return self.norm(x)

    def make_cache(self, sequences: int, capacity: int) -> Cache:
        """An empty key-value cache for `sequences` sequences of at most `capacity` tokens."""
        first: Any = self.blocks[0]
        heads: int = first.attention.heads
        width = self.tokens.weight.shape[1]
        return Cache(len(self.blocks), (sequences, heads, capacity, width // heads), self.tokens.weight)


def padded_mask(padding: Tensor, past: int, end: int) -> Tensor:
    """(B, 1, T, S) bool: a causal mask that hides padding. Padding queries see all keys, since they must see one."""
    key = torch.arange(end, device=padding.device)  # (S,)
    query = key[past:, None]  # (T, 1)
    real = key >= padding[:, None, None, None]  # (B, 1, 1, S)
    return ((key <= query) & real) | (query < padding[:, None, None, None])


def initialize(model: nn.Module) -> None:
    """Initialise linear weights ~ N(0, 0.02^2) and biases as 0, as in GPT and BERT. `Embedding` does so itself."""
    for module in model.modules():
        if isinstance(module, Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# Radford et al. 2018, section 4.1: 117 M parameters with its vocabulary of 40,478.
gpt1 = partial(GPT, layers=12, heads=12, width=768, norm_first=False, context=512)
# Radford et al. 2019, table 2; vocabulary 50,257, context 1,024.
gpt2 = partial(GPT, layers=12, heads=12, width=768, norm_first=True, context=1024)
gpt2_medium = partial(GPT, layers=24, heads=16, width=1024, norm_first=True, context=1024)
gpt2_large = partial(GPT, layers=36, heads=20, width=1280, norm_first=True, context=1024)
gpt2_xl = partial(GPT, layers=48, heads=25, width=1600, norm_first=True, context=1024)
