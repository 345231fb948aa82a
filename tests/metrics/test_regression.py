"""The scores of a regression, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from dlkit.metrics.regression import regression_scores


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1.7e9])
def test_scores_are_those_of_scikit_learn(scale: float, offset: float) -> None:
    draw = np.random.default_rng(0)
    y = offset + scale * draw.normal(size=300)
    f = y + scale * draw.normal(size=300) / 3
    found = regression_scores(f, y)
    expected = {
        "mse": mean_squared_error(y, f), "rmse": root_mean_squared_error(y, f), "mae": mean_absolute_error(y, f),
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=0)
    if np.ptp(y):
        assert found["r2"] == pytest.approx(float(r2_score(y, f)), rel=1e-9, abs=1e-12)


def test_a_constant_target_leaves_nothing_to_explain() -> None:
    y = np.full(4, 2.5)
    for f in (y, y + 1):
        assert regression_scores(f, y)["r2"] == r2_score(y, f)
    assert math.isnan(regression_scores(y[:1], y[:1])["r2"])


def test_numbers_of_any_size() -> None:
    y = np.array([1e200, -1e200, 3e200])
    found = regression_scores(y / 2, y)
    assert found["rmse"] == pytest.approx(math.sqrt(11 / 12) * 1e200)
    assert found["r2"] == pytest.approx(float(r2_score(y / 1e200, y / 2e200)))
