"""Verdicts from paired differences, against scipy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dlkit.review.judgement import judge_differences, seeds_needed


def test_interval_is_students_where_the_bootstrap_is_narrower() -> None:
    differences = [0.3, 0.1, 0.25, 0.2, 0.4]
    found = judge_differences(differences, 0.05)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.difference == pytest.approx(0.25)


def test_intervals_of_several_claims_hold_jointly() -> None:
    differences = [0.3, 0.1, 0.25, 0.2, 0.4]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / 10)
    assert judge_differences(differences, 0.05, claims=10).low == pytest.approx(expected.low)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.3, 0.31, 0.29, 0.3], "supported"),
        ([-0.3, -0.31, -0.29, -0.3], "contradicted"),
        ([0.01, 0.011, 0.009, 0.01], "not supported"),  # there, but too small to matter
        ([-0.01, -0.011, -0.009, -0.01], "not supported"),
        ([0.0, 0.0, 0.0, 0.0], "not supported"),
        ([0.3, -0.3, 0.4, -0.2], "cannot tell"),
        ([0.3, math.nan, 0.3, 0.3], "cannot tell"),
    ],
)
def test_verdict(differences: list[float], verdict: str) -> None:
    assert judge_differences(differences, 0.1).verdict == verdict


@pytest.mark.parametrize("claims", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_equal_arms_are_supported_in_at_most_5_percent(claims: int) -> None:
    """200 repetitions of a measurement in which both arms are the same but for noise."""
    random = np.random.default_rng(0)
    arms = random.normal(0.9, 0.02, (2, 200, 5))  # (arm, repetition, seed)
    verdicts = [judge_differences(a - b, 1e-9, claims).verdict for a, b in zip(*arms, strict=True)]
    assert verdicts.count("supported") <= 10
    assert verdicts.count("contradicted") <= 10


def test_a_difference_is_found_with_the_seeds_that_it_takes() -> None:
    """With that many seeds four repetitions in five tell it from none; with half of them, fewer."""
    random = np.random.default_rng(1)
    needed = seeds_needed(np.array([-1.0, 0.0, 1.0]), 0.5, 0.95)
    assert needed is not None

    def found(seeds: int) -> float:
        drawn = random.normal(0.5, 1.0, (200, seeds))
        return float(np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05))

    assert found(needed) > 0.72
    assert found(needed // 2) < 0.72
