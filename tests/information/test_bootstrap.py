"""Block bootstrap: block lengths against the closed form for autoregressions, coverage, and sums in constant memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from dlkit.information import bootstrap


def autoregression(n: int, rho: float, seed: int) -> bootstrap.Series:
    """x_t = rho x_(t-1) + noise, after a burn-in."""
    noise = np.random.default_rng(seed).normal(size=n + 500)
    return np.asarray(lfilter([1.0], [1.0, -rho], noise))[500:]


@pytest.mark.parametrize("rho", [0.3, 0.7, 0.9])
def test_block_lengths_are_near_the_best_of_an_autoregression(rho: float) -> None:
    n = 20_000
    # R(k) = rho^|k| / (1 - rho^2):  G = sum |k| R(k),  g(0) = sum R(k)
    variance = 1 / (1 - rho**2)
    bend, spectrum = variance * 2 * rho / (1 - rho) ** 2, variance * (1 + rho) / (1 - rho)
    best = (2 * bend**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    found = np.median([bootstrap.block_length(autoregression(n, rho, seed)) for seed in range(15)])
    assert found == pytest.approx(best, rel=0.15)


def test_independent_and_constant_values_need_no_blocks() -> None:
    assert np.median([bootstrap.block_length(autoregression(5000, 0.0, seed)) for seed in range(15)]) <= 4
    assert bootstrap.block_length(np.ones(100)) == 1
    assert bootstrap.block_length(np.zeros(1)) == 1


def test_intervals_hold_the_rate_as_often_as_they_say() -> None:
    held = narrow = 0
    for seed in range(120):
        x = autoregression(2000, 0.7, seed) + 20
        weights = np.random.default_rng(seed).integers(1, 5, len(x)).astype(float)  # bytes a token
        sums = np.stack((x * weights, weights, np.ones_like(x)), axis=1)
        interval = bootstrap.rate_intervals(sums, replicates=400, seed=seed)
        assert interval is not None
        held += interval.low[0] < 20 < interval.high[0]
        single = np.random.default_rng(seed).choice(x, (400, len(x))).mean(1)  # neighbours taken for independent
        low, high = np.quantile(single, [0.025, 0.975])
        narrow += low < 20 < high
    assert 0.87 <= held / 120 <= 0.99
    assert narrow / 120 < 0.75


def test_constant_rates_have_no_width_and_few_values_no_interval() -> None:
    sums = np.stack((np.full(50, 3.0), np.full(50, 2.0)), axis=1)
    interval = bootstrap.rate_intervals(sums)
    assert interval is not None
    assert (interval.low, interval.high, interval.block) == ([1.5], [1.5], 1)
    assert bootstrap.rate_intervals(sums[: bootstrap.FEWEST - 1]) is None


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=12))
def test_binned_series_keep_the_total_in_constant_memory(sizes: list[int]) -> None:
    cells, generator, whole = bootstrap.BinnedSeries(2, most=16), np.random.default_rng(0), np.empty((0, 2))
    for size in sizes:
        values = generator.random((size, 2))
        whole = np.concatenate((whole, values))
        cells.add(values)
        assert len(cells.sums) <= 16
    np.testing.assert_allclose(cells.total(), whole.sum(0), atol=1e-9)
    assert len(cells.sums) * cells.width <= len(whole) < (len(cells.sums) + 1) * cells.width + cells.width
