"""Columns and lengths, as pandas describes them."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from dlkit.data.examination.statistics import column_statistics, length_statistics


def test_columns_as_pandas_describes_them() -> None:
    values = np.random.default_rng(0).normal(size=(50, 2)).round(1)
    described = pandas.DataFrame(values).describe()
    for index, found in enumerate(column_statistics(values, {"a": "number", "b": "boolean"})):
        theirs = described[index]
        for ours, name in (("min", "min"), ("mean", "mean"), ("median", "50%"), ("max", "max")):
            assert found[ours] == pytest.approx(theirs[name])
        assert found["std"] == pytest.approx(values[:, index].std(ddof=0))
        assert found["distinct"] == pandas.Series(values[:, index]).nunique()
    assert [found["type"] for found in column_statistics(values, {"a": "number", "b": "boolean"})] == [
        "number",
        "boolean",
    ]


def test_lengths_as_pandas_describes_them() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 77)
    theirs = pandas.Series(lengths).describe(percentiles=[0.5, 0.95])
    assert length_statistics(lengths) == {
        "mean": pytest.approx(theirs["mean"], abs=0.01), "median": theirs["50%"], "p95": pytest.approx(theirs["95%"]),
        "longest": theirs["max"],
    }  # fmt: skip
