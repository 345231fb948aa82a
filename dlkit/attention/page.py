"""One offline HTML page with every head's attention: overview, matrix, lines, search, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Page:
    """What the views of one text show.

    Args:
        title: what was looked at.
        tokens: a label for each of the T tokens, as it comes: any text, control characters and lone surrogates too.
        layers: the numbers of the layers shown.
        heads: the numbers of the heads shown, the same ones in each layer.
        causal: whether a token sees only itself and those before it.
        sides: the name of the model, or of two that are compared.
        scores: by measure (sides, layers, heads); NaN where it is undefined.
        notes: facts for the reader: run, step, largest difference of the check, ...
        split: the first token of the second sentence of a pair.
    """

    title: str
    tokens: Sequence[str]
    layers: Sequence[int]
    heads: Sequence[int]
    causal: bool
    sides: Sequence[str]
    scores: Mapping[str, np.ndarray]
    notes: Mapping[str, str]
    split: int | None = None


def write(path: Path, page: Page, weights: Iterable[np.ndarray]) -> int:
    """Write the page and return its size in bytes.

    Args:
        path: the file; it is replaced as a whole, or left as it was.
        weights: (T, T) float32 for each side, layer and head, the head changing fastest; each row sums to 1. They are
            taken one at a time.
    """
    raise NotImplementedError
