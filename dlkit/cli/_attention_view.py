"""Attention on a terminal: the grid of heads by a score, and the matrix of one head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dlkit.attention.page import Page


def grid(page: Page, measure: str) -> Any:
    """A heat map, layers down and heads across, of one score; one map for each side."""
    raise NotImplementedError


def head(tokens: Sequence[str], weights: np.ndarray, title: str = "", split: int | None = None) -> Any:
    """The (T, T) weights of one head: who looks (down) at whom (across), and the strongest targets of each token."""
    raise NotImplementedError
