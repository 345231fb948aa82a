"""Intervals against scipy's t test; false positives are as rare as promised."""

from __future__ import annotations

import numpy as np
from scipy import stats

from dlkit.attention.intervals import above_null, mean_interval


def test_intervals_are_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2, 3))
    values[4, 1, 2] = np.nan
    values[1:, 0, 0] = np.nan
    values[:, 0, 1] = np.nan
    found = mean_interval(values)
    for cell in np.ndindex(2, 3):
        kept = values[:, *cell][~np.isnan(values[:, *cell])]
        assert found.n[cell] == len(kept)
        if len(kept) > 1:
            low, high = stats.ttest_1samp(kept, 0).confidence_interval(0.95)
            np.testing.assert_allclose([found.mean[cell], found.low[cell], found.high[cell]],
                                       [kept.mean(), low, high], rtol=1e-12)  # fmt: skip
    assert found.mean[0, 0] == values[0, 0, 0] and np.isnan(found.low[0, 0])
    assert np.isnan(found.mean[0, 1])


def test_above_is_a_one_sided_paired_test() -> None:
    random = np.random.default_rng(1)
    values, null = random.normal(0.4, 1, (20, 50)), random.normal(0, 1, (20, 50))
    for comparisons in (1, 50):
        expected = stats.ttest_rel(values, null, alternative="greater").pvalue < 0.05 / comparisons
        np.testing.assert_array_equal(above_null(values, null, comparisons=comparisons), expected)
    assert not above_null(values[:1], null[:1]).any()


def test_false_alarms_are_rare() -> None:
    random = np.random.default_rng(2)
    pairs = [random.normal(size=(2, 8, 40)) for _ in range(400)]
    alarms = [above_null(values, null, comparisons=40).any() for values, null in pairs]
    assert np.mean(alarms) < 0.09  # 0.05 is promised
