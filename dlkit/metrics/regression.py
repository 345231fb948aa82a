"""Metrics of regression, defined as in scikit-learn: MSE, RMSE, MAE and R2.

Shapes: f predictions and y targets, (N,) float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def r2_score(f: Values, y: Values) -> float:
    """The coefficient of determination, the share of the variance of y that f explains: 1 is perfect, 0 is as good as
    predicting the mean of y. NaN for a single row.

    If y is constant it is 1 if f equals y, 0 otherwise.
    """
    if len(y) < 2:
        return math.nan
    unit = float(np.abs(y - y.mean()).max())  # rescales, since the square of 1e200 overflows float64
    if unit == 0:
        return float(np.array_equal(f, y))
    # R2 = 1 - sum_n (f_n - y_n)^2 / sum_n (y_n - mean y)^2
    return float(1 - np.square((f - y) / unit).sum() / np.square((y - y.mean()) / unit).sum())


def regression_scores(f: Values, y: Values) -> dict[str, float]:
    """Mean squared error, its root, mean absolute error and R2."""
    error: Any = np.abs(f - y)
    # MSE = mean_n (f_n - y_n)^2, MAE = mean_n |f_n - y_n|
    with np.errstate(over="ignore"):
        mse = float(np.square(error).mean())
    unit = float(error.max()) or 1.0
    rmse = float(np.sqrt(np.square(error / unit).mean())) * unit
    return {"mse": mse, "rmse": rmse, "mae": float(error.mean()), "r2": r2_score(f, y)}
