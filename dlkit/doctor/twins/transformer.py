"""GPT and BERT in plain torch.nn: one linear layer for queries, keys and values, and torch's fused attention.

Shapes: B sequences, T tokens, W width, H heads, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """Self-attention, (B, T, W) to (B, T, W)."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, t, w = x.shape
        q, k, v = self.c_attn(x).split(w, dim=2)
        q, k, v = (part.view(b, t, self.heads, w // self.heads).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, w))


class PlainBlock(nn.Module):
    """Attention and an MLP, each with a residual connection."""

    def __init__(self, width: int, heads: int, *, causal: bool, norm_first: bool, gelu: str, eps: float) -> None:
        super().__init__()
        self.norm_first, self.gelu = norm_first, gelu
        self.ln_1, self.attn = nn.LayerNorm(width, eps=eps), PlainAttention(width, heads, causal)
        self.ln_2, self.c_fc, self.c_proj = (
            nn.LayerNorm(width, eps=eps),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def perceptron(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate=self.gelu))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.norm_first:
            x = x + self.attn(self.ln_1(x), mask)
            return x + self.perceptron(self.ln_2(x))
        x = self.ln_1(x + self.attn(x, mask))
        return self.ln_2(x + self.perceptron(x))


class PlainGPT(nn.Module):
    """Tokens (B, T) to logits (B, T, V); GPT-2 with norms first, GPT-1 with norms last."""

    def __init__(
        self, vocabulary: int, context: int, layers: int, heads: int, width: int, *, norm_first: bool = True
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        options = {"causal": True, "norm_first": norm_first, "gelu": "tanh", "eps": 1e-5}
        self.h = nn.ModuleList(PlainBlock(width, heads, **options) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width) if norm_first else nn.Identity()
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class PlainBERT(nn.Module):
    """Tokens (B, T) to logits (B, T, V), or with `classes` to logits (B, classes)."""

    def __init__(
        self,
        vocabulary: int,
        context: int,
        layers: int,
        heads: int,
        width: int,
        *,
        classes: int | None = None,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.segment, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        options = {"causal": False, "norm_first": norm_first, "gelu": "none", "eps": 1e-12}
        self.layers = nn.ModuleList(PlainBlock(width, heads, **options) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width, eps=1e-12) if norm_first else nn.Identity()
        self.classes = classes
        if classes is None:
            self.transform, self.head_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
            self.decoder = nn.Linear(width, vocabulary)
            self.decoder.weight = self.word.weight
        else:
            self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        kinds = torch.zeros_like(tokens)
        x = self.norm(self.word(tokens) + self.position(positions) + self.segment(kinds))
        mask = None if attention_mask is None else attention_mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        x = self.last_norm(x)
        if self.classes is not None:
            return self.classifier(self.pooler(x[:, 0]).tanh())
        return self.decoder(self.head_norm(F.gelu(self.transform(x))))
