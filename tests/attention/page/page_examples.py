"""Pages to write: random attention, and tokens that would break out of their element."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dlkit.attention.page import AttentionPage

HOSTILE = [
    "<script>alert(1)</script>", "</style>", "</script>", "<!--", "-->", '"', "'", "\x00", "\u202e", "\u200f", "\u2028",
    "\ud83d", "\x1b[31m", "&lt;", "]]>", "${x}", "{{style}}", "e\u0301", "👩\u200d👧",
]  # fmt: skip


def attention(*shape: int, causal: bool = False, sharp: float = 2.0, seed: int = 0) -> np.ndarray:
    """Random rows that sum to 1, (*shape, T) with T the last of the shape."""
    scores = sharp * np.random.default_rng(seed).standard_normal((*shape, shape[-1]))
    if causal:
        scores = np.where(np.tri(shape[-1], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def make(tokens: int = 7, sides: int = 1, causal: bool = False, **keys: Any) -> tuple[AttentionPage, np.ndarray]:
    weights = attention(sides, 2, 3, tokens, causal=causal)
    scores = {"sink": weights[..., 0].mean(-1), "induction": np.full((sides, 2, 3), np.nan)}
    names = [f"t{i}" for i in range(tokens)]
    page = AttentionPage("a title", names, [0, 4], [1, 2, 5], causal, ["one", "two"][:sides], scores, {"run": "runs/x"})
    return replace(page, **keys), weights.reshape(-1, tokens, tokens)
