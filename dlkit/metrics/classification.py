"""The confusion matrix of a classifier, counted on the device, and the metrics computed from it.

Shapes: N examples, K classes; a confusion matrix, (K, K), has true classes as rows and predicted ones as columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[Any]

MOST_CLASSES = 1000  # of a confusion matrix


class ConfusionCounts:
    """Counts pairs of true and predicted class on the device, for at most 1,000 classes."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        rows = classes if classes <= MOST_CLASSES else 0
        self.counts = torch.zeros(rows * rows, dtype=torch.int64, device=device)

    def update(self, targets: Tensor, predicted: Tensor) -> None:
        """Count a batch: class indices (N,) and (N,)."""
        if len(self.counts):
            self.counts.index_add_(0, targets * self.classes + predicted, torch.ones_like(targets))

    def matrix(self) -> Tensor | None:
        """(K, K) counts on the CPU; None for more than 1,000 classes."""
        return self.counts.view(self.classes, self.classes).cpu() if len(self.counts) else None


def per_class_scores(confusion: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class from a confusion matrix; 0 / 0 counts as 0."""
    rows: list[dict[str, Any]] = []
    hits, true, predicted = (counts.tolist() for counts in (confusion.diag(), confusion.sum(1), confusion.sum(0)))
    for name, hit, support, guesses in zip(names, hits, true, predicted, strict=True):
        # P = TP / (TP + FP), R = TP / (TP + FN)
        precision, recall = hit / max(guesses, 1), hit / max(support, 1)
        # F1 = 2 P R / (P + R) = 2 TP / (2 TP + FN + FP)
        f1 = 2 * hit / max(support + guesses, 1)
        rows.append({"class": name, "n": support, "precision": precision, "recall": recall, "f1": f1})
    return rows


def f1(confusion: Numbers) -> float:
    """F1 of the second of two classes, the positive one; 0 / 0 counts as 0."""
    hits = confusion[-1, -1]
    # F1 = 2 P R / (P + R) = 2 TP / (2 TP + FN + FP)
    return float(2 * hits / max(1, confusion[-1].sum() + confusion[:, -1].sum()))


def macro_f1(confusion: Numbers) -> float:
    """Mean F1 over classes; that of a class that neither occurs nor is predicted is 0."""
    hits = confusion.diagonal()
    return float(np.mean(2 * hits / np.maximum(1, confusion.sum(1) + confusion.sum(0))))


def matthews(confusion: Numbers) -> float:
    """Matthews' correlation coefficient for K classes (Gorodkin 2004), at most 1; 0 if there is only one class."""
    matrix = confusion.astype(object)  # Python integers, in which differences of squares are exact for any counts
    n, hits, true, predicted = matrix.sum(), matrix.trace(), matrix.sum(1), matrix.sum(0)
    # (n sum_k C_kk - t . p) / sqrt((n^2 - p . p)(n^2 - t . t))
    spread = (n**2 - predicted @ predicted) * (n**2 - true @ true)
    return float((n * hits - true @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0


def exact_match(questions: Numbers, right: Numbers) -> float:
    """MultiRC's exact match: the share of questions all of whose answers are correct.

    Args:
        questions: (N,) the question of each answer.
        right: (N,) bool, whether each answer is correct.
    """
    _, index = np.unique(questions, return_inverse=True)
    wrong = np.bincount(index, weights=~right)  # wrong answers of each question
    return float(np.mean(wrong == 0))


# Metrics of a confusion matrix, by their names in GLUE.
FROM_CONFUSION: dict[str, Callable[[Numbers], float]] = {"f1": f1, "macro_f1": macro_f1, "matthews": matthews}
