"""Calibration: the difference between a classifier's confidence and its accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.metrics.accumulation import sum_dtype

BINS = 15


class CalibrationBins:
    """Sums per confidence bin, on the device, for the expected calibration error.

    Guo et al. 2017 (arXiv:1706.04599), equation 3, with 15 bins of equal width:
    sum over bins of (share of the examples) * |accuracy - mean confidence|.
    """

    def __init__(self, device: torch.device) -> None:
        # rows: examples, correct examples, sum of confidences
        self.sums = torch.zeros(3, BINS, dtype=sum_dtype(device), device=device)

    def update(self, confidence: Tensor, right: Tensor) -> None:
        """Add a batch: the probability of each predicted class (N,), and whether it is correct (N,) bool."""
        # bin b holds the confidences in (b/15, (b+1)/15]
        bin_of = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)  # (N,)
        for row, value in zip(self.sums, (torch.ones_like(confidence), right, confidence), strict=True):
            row.index_add_(0, bin_of, value.to(row.dtype))

    def expected_error(self, n: int) -> float:
        """ECE, from 0 to 1, over the `n` examples added."""
        _, right, confidence = self.sums
        # ECE = sum_b n_b/n |right_b/n_b - confidence_b/n_b|
        return ((right - confidence).abs().sum() / n).item()
