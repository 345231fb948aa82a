"""Correlations against scipy and scikit-learn, on numbers of every size."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dlkit.metrics import correlation

X = np.random.default_rng(0).normal(size=50)
Y = 0.5 * X + np.random.default_rng(1).normal(size=50)


@pytest.mark.parametrize("a", [1e-320, 1e-300, 1e-160, 1.0, 1e150, 1e200, 1e307])
@pytest.mark.parametrize("b", [1e-300, 1.0, 1e300])
def test_correlations_do_not_depend_on_the_scale(a: float, b: float) -> None:
    expected = stats.pearsonr(X, Y).statistic
    assert correlation.pearson(a * X, b * Y) == pytest.approx(expected, rel=1e-2 if a < 1e-307 else 1e-12)
    assert correlation.spearman(a * X, b * Y) == pytest.approx(stats.spearmanr(a * X, b * Y).statistic, rel=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9, -1e12])
def test_correlations_of_numbers_far_from_0(offset: float) -> None:
    x = X + offset
    assert correlation.pearson(x, Y) == pytest.approx(stats.pearsonr(x, Y).statistic, rel=1e-9)
    assert correlation.spearman(x, Y) == pytest.approx(stats.spearmanr(x, Y).statistic, rel=1e-12)


def test_ties_share_their_rank() -> None:
    x, y = np.round(X), np.round(2 * Y)
    assert correlation.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert correlation.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e150, 5e-324])
def test_what_is_constant_has_no_correlation(constant: float) -> None:
    same = np.full(50, constant)  # whose mean is not quite 0.1
    for x, y in ((same, Y), (Y, same), (same, same)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)
            assert math.isnan(stats.pearsonr(x, y).statistic)
        assert math.isnan(correlation.pearson(x, y))
        assert math.isnan(correlation.spearman(x, y))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_has_no_correlation(wrong: float) -> None:
    x = X.copy()
    x[3] = wrong
    assert math.isnan(correlation.pearson(x, Y))
    assert math.isnan(correlation.spearman(x, Y)) == math.isnan(wrong)  # infinity has a rank


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=40))
def test_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(correlation.pearson(x, y))
        assert math.isnan(correlation.spearman(x, y))
        return
    assert correlation.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert correlation.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
