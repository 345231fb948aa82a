"""Description length: likelier symbols get shorter codes (Shannon 1948; Huffman 1952)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from dlkit.compression.range_coder import UNITS, RangeEncoder
from dlkit.information.code_properties import expected_length
from dlkit.information.codes import huffman_lengths, range_lengths
from dlkit.review.deviation import Deviation, largest

SYMBOLS, DRAWN = 6, 4000
Lengths = Callable[[Sequence[float]], Sequence[float]]


def random_distribution() -> list[float]:
    """Of six symbols."""
    return torch.randn(SYMBOLS).softmax(0).tolist()


def likelier_symbols_shorter_codes(lengths: Lengths = huffman_lengths) -> Deviation:
    """Where p_i > p_j, Huffman's word for i is no longer than that for j, and -log2 p_i is less than -log2 p_j."""
    p = random_distribution()
    found = lengths(p)
    longer = [found[i] - found[j] for i in range(SYMBOLS) for j in range(SYMBOLS) if p[i] > p[j]]
    return Deviation(largest(0.0, *longer), {"shortest": min(found), "longest": max(found)})


def optimal_code_reaches_entropy(lengths: Lengths = huffman_lengths) -> Deviation:
    """H <= L < H + 1: no code beats the entropy, and Huffman's comes within a bit of it."""
    p = random_distribution()
    entropy = -sum(x * math.log2(x) for x in p)
    length = expected_length(p, lengths(p))
    return Deviation(largest(0.0, entropy - length, length - entropy - 1), {"entropy": entropy, "length": length})


def log_loss_is_description_length(lengths: Lengths = range_lengths) -> Deviation:
    """A message in a range code is as long as the log-loss of its symbols, up to 64 bits in all."""
    p = random_distribution()
    symbols = torch.multinomial(torch.tensor(p), DRAWN, replacement=True).numpy().astype(np.int32)
    weights = np.round(np.array(p) * UNITS).astype(np.float32)
    encoder = RangeEncoder()
    encoder.put(symbols, np.tile(weights, (DRAWN, 1)))
    coded = 8 * len(encoder.finish())
    # -sum_n log2 p(x_n)
    loss = float(np.array(lengths(p))[symbols].sum())
    return Deviation(largest(0.0, abs(coded - loss) - 64), {"coded bits": coded, "log-loss in bits": loss})
