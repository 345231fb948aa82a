"""Shuffling of rows that can only be read in groups: a random order that stays close to the order of reading.

A uniform shuffle would read a whole group for each row; yielding group after group would keep neighbouring rows, such
as those of one class, together. A window lies between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

UNIFORM = "each epoch in a uniformly random order"


def windowed_shuffle(counts: Sequence[int], window: int, generator: torch.Generator) -> Tensor:
    """A permutation of all rows, (N,) int64: groups in random order, and each row moved by a random part of a window.

    With p a row's position after shuffling the groups, rows are sorted by (p + W U) mod N, where W is the window and U
    is uniform in [0, 1). Rows that come together so stem from W rows around them, anywhere in the epoch. If W is N, the
    shuffle is uniform. The first groups are read once more at the end of an epoch.

    Args:
        counts: rows of each group, in order.
        window: W in rows, at most N.
        generator: source of randomness.
    """
    total = sum(counts)
    window = min(window, total)
    ends = np.cumsum(counts)
    groups = [
        torch.arange(int(ends[group]) - counts[group], int(ends[group]))
        for group in torch.randperm(len(counts), generator=generator).tolist()
    ]
    rows = torch.cat(groups) if groups else torch.empty(0, dtype=torch.int64)
    keys = torch.arange(total, dtype=torch.float64)
    keys = (keys + window * torch.rand(total, generator=generator, dtype=torch.float64)) % max(total, 1)
    return rows[torch.argsort(keys, stable=True)]


def describe_shuffle(total: int, window: int) -> str:
    """The randomness of a `windowed_shuffle`, in words."""
    if window >= total:
        return UNIFORM
    return f"each epoch in a random order of row groups, each row mixed among the {window:,} around it"
