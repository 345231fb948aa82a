"""GPT: transformer blocks that see only what came before, and predict the next token.

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
        heads: of attention in each block; they divide the width.
        width: numbers a token.
        hidden: width of each block's perceptron; null for four times the width.
        activation: of the perceptrons.
        norm_first: pre-norm as in GPT-2, else post-norm as in GPT-1.
        positions: learned vectors, or fixed waves (Vaswani et al. 2017).
        dropout: probability that a number is zeroed in training, after the embedding and before each shortcut.
        attention_dropout: probability that a weight of attention is zeroed in training.
        tied: whether the last layer is the embedding's transpose (Press & Wolf, arXiv:1608.05859).
        context: most tokens that it can look back on; null for data.context.
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
            # Each block adds twice to the stream, so its variance grows with 2 layers: N(0, 0.02^2 / (2 layers))
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
        """Logits of the token after each, (B, T, V).

        Args:
            tokens: (B, T) int64; behind those in the cache, if there is one.
            cache: of the tokens so far, which these join.
            padding: (B,) int64, how many of each row's first tokens are only there to make rows equally long.
            last: only those after the last token, (B, 1, V).
            into: what to make of the last layer's input (B, T, W) and the layer, in place of logits.

        Raises:
            DlkitError: more tokens than the model can look back on.
        """
        x = self.hidden(tokens, cache, padding)
        x = x[:, -1:] if last else x
        return self.head(x) if into is None else into(x, self.head)

    def hidden(self, tokens: Tensor, cache: Cache | None = None, padding: Tensor | None = None) -> Tensor:
        """What the last layer sees, (B, T, W). Arguments as in `forward`."""
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
        """Room for the keys and values of so many tokens of so many sequences."""
        first: Any = self.blocks[0]
        heads: int = first.attention.heads
        width = self.tokens.weight.shape[1]
        return Cache(len(self.blocks), (sequences, heads, capacity, width // heads), self.tokens.weight)


def padded_mask(padding: Tensor, past: int, end: int) -> Tensor:
    """(B, 1, T, S) bool: causal, and blind for padding; padding itself sees everything, since it must see something."""
    key = torch.arange(end, device=padding.device)  # (S,)
    query = key[past:, None]  # (T, 1)
    real = key >= padding[:, None, None, None]  # (B, 1, 1, S)
    return ((key <= query) & real) | (query < padding[:, None, None, None])


def initialize(model: nn.Module) -> None:
    """Linear weights ~ N(0, 0.02^2) and biases 0, as GPT and BERT begin. Embeddings begin so by themselves."""
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
