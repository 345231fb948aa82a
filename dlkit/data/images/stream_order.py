"""The order in which a stream that is read in groups gives its rows: random, and near to the order of reading.

Reading each row at its own random place would read a whole group for it; giving group after group would give rows that
lie together, such as those of one class, together. Between the two lies a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

UNIFORM = "each epoch in a uniformly random order"


def windowed_shuffle(counts: Sequence[int], window: int, generator: torch.Generator) -> Tensor:
    """All rows, (N,) int64, each once: groups in random order, and each row moved by a random part of a window.

    A row at place p of the random order of groups comes by the key (p + W U) mod N, with U uniform in [0, 1) and W the
    window: so those that come together are from W rows around it, wherever in the epoch. Where W is N, the
    order is uniform over all. The first groups are read once more at the end of an epoch than the others.

    Args:
        counts: rows of each group, which lie one after another.
        window: W in rows; more than there are means all.
        generator: all chance is drawn from.
    """
    total = sum(counts)
    window = min(window, total)
    ends = np.cumsum(counts)
    parts = [
        torch.arange(int(ends[group]) - counts[group], int(ends[group]))
        for group in torch.randperm(len(counts), generator=generator).tolist()
    ]
    rows = torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
    keys = torch.arange(total, dtype=torch.float64)
    keys = (keys + window * torch.rand(total, generator=generator, dtype=torch.float64)) % max(total, 1)
    return rows[torch.argsort(keys, stable=True)]


def describe_shuffle(total: int, window: int) -> str:
    """What chance `mixed_order` leaves to an epoch, in words."""
    if window >= total:
        return UNIFORM
    return f"each epoch in a random order of row groups, each row mixed among the {window:,} around it"
