"""Pictures of attention: a grid of heads, one head with its tokens, scores over training steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dlkit.attention.page import Page


def draw(path: Path, page: Page, weights: Iterable[np.ndarray], measure: str | None) -> None:
    """A picture (.png or .svg) of all heads as small matrices, or of the only one with its tokens.

    Args:
        weights: (T, T) for each side, layer and head, as for `page.write`.
        measure: the score that frames each matrix and is written over it, or None.
    """
    raise NotImplementedError


def draw_steps(path: Path, steps: Sequence[int], scores: Mapping[str, np.ndarray]) -> None:
    """A picture of scores over training steps: a line for each head, a panel for each measure.

    Args:
        steps: the S training steps.
        scores: by measure (S, layers, heads).
    """
    raise NotImplementedError
