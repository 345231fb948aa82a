"""BERT: a bidirectional transformer encoder. Devlin et al., arXiv:1810.04805.

Shapes: B sequences, T tokens, W the model's width, V vocabulary, K outputs, M predicted tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from dlkit.annotations import Count, Depth, Positive, Rate
from dlkit.errors import DlkitError, RequestError
from dlkit.models.gpt import initialize
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.dropout import Dropout
from dlkit.nn.embedding import Embedding, Sinusoids
from dlkit.nn.linear import Linear
from dlkit.nn.token_norm import TokenNorm, normalize_tokens, token_norm
from dlkit.nn.transformer import TransformerBlock


class BERT(nn.Module):
    """A bidirectional encoder with the head for its task.

    Args:
        layers: transformer blocks.
        heads: attention heads per block; their number divides the width.
        width: size of each token's hidden state.
        hidden: width of each block's MLP; null for four times the width.
        activation: of the MLPs.
        norm_first: pre-norm, else post-norm as in the paper.
        norm: layer, as in the paper; or batch, over all tokens of a batch but padding (Shen et al., arXiv:2003.07845).
        positions: learned embeddings, or sinusoidal encodings (Vaswani et al. 2017).
        dropout: probability that an element is zeroed in training, after the embedding, before each residual addition
            and before the last layer of a classifier.
        attention_dropout: probability that an attention weight is zeroed in training.
        pooling: input of a classifier's head: the first token, as in the paper, or the mean over tokens.
        head_activation: of a classifier's head: tanh, as in the paper; DistilBERT uses relu.
        tied: whether the head that predicts tokens shares the embedding's weights.
        context: maximum number of tokens in a sequence; null for data.context.
        eps: of the norms.

    Raises:
        RequestError: the heads do not divide the width.
    """

    def __init__(
        self,
        vocabulary: int,
        window: int,
        outputs: int | None,
        *,
        layers: Depth = 4,
        heads: Count = 4,
        width: Count = 256,
        hidden: Count | None = None,
        activation: Activation = "gelu",
        norm_first: bool = False,
        norm: TokenNorm = "layer",
        positions: Literal["learned", "sinusoidal"] = "learned",
        dropout: Rate = 0.1,
        attention_dropout: Rate = 0.1,
        pooling: Literal["first", "mean"] = "first",
        head_activation: Activation = "tanh",
        tied: bool = True,
        context: Count | None = None,
        eps: Positive = 1e-12,
    ) -> None:
        super().__init__()
        self.stages = (("tokens", "positions", "segments", "norm"), ("blocks",), ("last_norm", "head"))
        self.context = context or window
        if self.context < window:
            raise RequestError(f"model.context is {context}, less than the {window} tokens of data.context")
        self.tokens = Embedding(vocabulary, width)
        self.positions = (Embedding if positions == "learned" else Sinusoids)(self.context, width)
        self.segments = Embedding(2, width)
        self.norm = token_norm(norm, width, eps)
        self.dropout = Dropout(dropout) if dropout else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads,
                hidden or 4 * width,
                causal=False,
                norm_first=norm_first,
                activation=activation,
                dropout=dropout,
                attention_dropout=attention_dropout,
                norm=norm,
                eps=eps,
            )
            for _ in range(layers)
        )
        self.last_norm = token_norm(norm, width, eps) if norm_first else nn.Identity()
        self.head = (
            TokenHead(self.tokens, activation, norm, eps, tied)
            if outputs is None
            else SequenceHead(width, outputs, pooling=pooling, activation=head_activation, dropout=dropout)
        )
        initialize(self)

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.tokens.weight.shape[0]

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor | None = None,
        real: Tensor | None = None,
        at: Tensor | None = None,
        into: Callable[[Tensor, Linear], Tensor] | None = None,
    ) -> Tensor:
        """Logits of each token (B, T, V), of the tokens `at` (M, V), or of each sequence (B, K), depending on the head.

        Args:
            tokens: (B, T) int64.
            segments: (B, T) int64, 0 in the first text of a pair and 1 in the second; None for all 0.
            real: (B, T) bool, False for padding; None for no padding.
            at: (M,) int64, positions in the flattened (B T) tokens, for a head that predicts tokens.
            into: for such a head, replaces the logits: a function of the last layer's input (..., W) and the layer.
        """
        x = self.hidden(tokens, segments, real)
        return self.head(x, real) if isinstance(self.head, SequenceHead) else self.head(x, at, into)

    def hidden(self, tokens: Tensor, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """The encoded tokens, (B, T, W). Raises DlkitError on sequences longer than the context."""
        length = tokens.shape[1]
        if length > self.context:
            raise DlkitError(f"a sequence of {length} tokens is longer than the {self.context} that the model takes")
        positions = torch.arange(length, device=tokens.device)  # (T,)
        segment = self.segments.weight[0] if segments is None else self.segments(segments)
        x = self.tokens(tokens) + self.positions(positions) + segment  # (B, T, W)
        x = self.dropout(normalize_tokens(self.norm, x, real))
        mask = None if real is None else real[:, None, None, :]  # (B, 1, 1, S)
        for block in self.blocks:
            x = block(x, mask)
        return normalize_tokens(self.last_norm, x, real)


class TokenHead(nn.Module):
    """Predicts tokens: linear, activation, norm, the embedding's transpose, a bias; (..., W) to (..., V)."""

    def __init__(self, tokens: Embedding, activation: Activation, norm: TokenNorm, eps: float, tied: bool) -> None:
        super().__init__()
        vocabulary, width = tokens.weight.shape
        self.transform = Linear(width, width)
        self.activation = activation_layer(activation)
        self.norm = token_norm(norm, width, eps)
        self.decoder = Linear(width, vocabulary)
        if tied:
            self.decoder.weight = tokens.weight

    def forward(
        self, x: Tensor, at: Tensor | None = None, into: Callable[[Tensor, Linear], Tensor] | None = None
    ) -> Tensor:
        if at is not None:
            x = x.flatten(0, 1).index_select(0, at)  # (M, W)
        x = self.norm(self.activation(self.transform(x)))
        return self.decoder(x) if into is None else into(x, self.decoder)


class SequenceHead(nn.Module):
    """K outputs for each sequence: pooling, linear and activation, dropout, linear; (B, T, W) to (B, K)."""

    def __init__(
        self, width: int, outputs: int, *, pooling: Literal["first", "mean"], activation: Activation, dropout: float
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.activation = activation_layer(activation)
        self.pooler = Linear(width, width)
        self.dropout = Dropout(dropout)
        self.classifier = Linear(width, outputs)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        if self.pooling == "first":
            pooled = x[:, 0]  # (B, W)
        elif real is None:
            pooled = x.mean(1)
        else:
            # mean over the tokens that are not padding
            pooled = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return self.classifier(self.dropout(self.activation(self.pooler(pooled))))


# Turc et al., arXiv:1908.08962 (tiny, mini, small); Devlin et al. (base, large). Vocabulary 30,522, context 512.
bert_tiny = partial(BERT, layers=2, heads=2, width=128, norm_first=False, context=512)
bert_mini = partial(BERT, layers=4, heads=4, width=256, norm_first=False, context=512)
bert_small = partial(BERT, layers=4, heads=8, width=512, norm_first=False, context=512)
bert_base = partial(BERT, layers=12, heads=12, width=768, norm_first=False, context=512)
bert_large = partial(BERT, layers=24, heads=16, width=1024, norm_first=False, context=512)
