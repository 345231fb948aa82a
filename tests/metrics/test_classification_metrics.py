"""Scores of a classifier, and its calibration, against scikit-learn and sums over examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from dlkit.metrics.calibration import BINS, CalibrationBins
from dlkit.metrics.classification import ConfusionCounts, f1, macro_f1, matthews, per_class_scores

CPU = torch.device("cpu")
confusions = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60).map(
        lambda pairs: (k, pairs)
    )
)


@settings(max_examples=60)
@given(confusions)
def test_scores_of_confusions_are_scikit_learns(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    k, pairs = drawn
    true, predicted = map(np.array, zip(*pairs, strict=True))
    matrix = metrics.confusion_matrix(true, predicted, labels=range(k))
    if len({*true, *predicted}) == 1:
        return  # scikit-learn warns and says 0 or 1
    assert matthews(matrix) == pytest.approx(metrics.matthews_corrcoef(true, predicted), abs=1e-12)
    expected = metrics.f1_score(true, predicted, labels=range(k), average="macro", zero_division=0)
    assert macro_f1(matrix) == pytest.approx(expected, abs=1e-12)
    expected = metrics.f1_score(true, predicted, labels=[k - 1], average="macro", zero_division=0)
    assert f1(matrix) == pytest.approx(expected, abs=1e-12)


def test_matthews_of_many_and_of_one_class() -> None:
    true, predicted = np.repeat([0, 0, 1, 1], [50, 1, 2, 7]), np.repeat([0, 1, 0, 1], [50, 1, 2, 7])
    counts = np.array([[50, 1], [2, 7]])
    assert matthews(counts) == pytest.approx(metrics.matthews_corrcoef(true, predicted), abs=1e-12)
    assert matthews(10**8 * counts) == pytest.approx(metrics.matthews_corrcoef(true, predicted), abs=1e-12)
    # (a d - b c) / sqrt((a + b)(c + d)(a + c)(b + d)) with a = 10^15 and b = c = d = 1 is 1/2 but for 10^-15
    assert matthews(np.array([[10**15, 1], [1, 1]])) == pytest.approx(0.5, abs=1e-12)
    assert matthews(np.array([[5, 0], [3, 0]])) == 0 == metrics.matthews_corrcoef([0] * 5 + [1] * 3, [0] * 8)


def test_counts_and_scores_of_classes_are_scikit_learns_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    true, predicted = torch.randint(4, (2, 100), generator=generator)
    counts = ConfusionCounts(4, CPU)
    for rows in torch.arange(100).split(7):
        counts.update(true[rows], predicted[rows])
    matrix = counts.matrix()
    assert matrix is not None
    assert matrix.tolist() == metrics.confusion_matrix(true, predicted).tolist()
    expected = metrics.precision_recall_fscore_support(true, predicted)
    found = [[row[key] for row in per_class_scores(matrix, "abcd")] for key in ("precision", "recall", "f1", "n")]
    np.testing.assert_allclose(found, expected)
    assert ConfusionCounts(1001, CPU).matrix() is None


def test_calibration_error_is_the_sum_over_bins() -> None:
    generator = torch.Generator().manual_seed(1)
    confidence = torch.rand(200, generator=generator, dtype=torch.float64)
    right = torch.rand(200, generator=generator) < confidence
    bins = CalibrationBins(CPU)
    for rows in torch.arange(200).split(9):
        bins.update(confidence[rows], right[rows])
    expected = 0.0
    for b in range(BINS):
        inside = (confidence > b / BINS) & (confidence <= (b + 1) / BINS)
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].mean()
            expected += inside.double().mean().item() * abs(gap.item())
    assert bins.expected_error(200) == pytest.approx(expected)
