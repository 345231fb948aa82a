"""Rows in a file: the same batches as of rows in memory, in whichever order and however little is read ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from dlkit.data import scratch, stored_rows
from dlkit.data.dataset import Split, mean_and_deviation
from dlkit.data.row_batches import RowBatches

CPU = torch.device("cpu")


@pytest.mark.parametrize("block", [16, 1 << 20])
@pytest.mark.parametrize("most", [0, 4000, 1 << 30])
@pytest.mark.parametrize("balance", [False, True])
def test_batches_are_the_scaled_rows_in_torchs_order(
    balance: bool, most: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    rows = np.asfortranarray(draw.normal(1e9, 3, (1000, 5)))
    split: Any = Split(torch.from_numpy(rows), torch.from_numpy(draw.integers(0, 3, 1000)))
    whole = RowBatches(split, *mean_and_deviation(split.inputs), CPU, 0, True, batch_size=64, balance=balance)
    monkeypatch.setattr(scratch, "free_memory", lambda: 0)
    monkeypatch.setattr(stored_rows, "free_memory", lambda: most)
    for name, value in {"_FIRST": 100, "_BLOCK": block, "_GAP": block // 2, "_UNSETTLED": 1000}.items():
        monkeypatch.setattr(stored_rows, name, value)
    stored = RowBatches(split, *mean_and_deviation(split.inputs), CPU, 0, True, batch_size=64, balance=balance)
    assert isinstance(stored._inputs, stored_rows.StoredRows)
    scaled = StandardScaler().fit_transform(rows)
    for epoch, start in ((0, 0), (1, 3)):
        order = whole._drawn(epoch)[0][64 * start :].numpy()
        batches = list(stored.epoch(epoch, start))
        np.testing.assert_allclose(torch.cat([batch.inputs for batch in batches]), scaled[order], rtol=1e-5, atol=1e-6)
        for batch, same in zip(batches, whole.epoch(epoch, start), strict=True):
            assert torch.equal(batch.inputs, same.inputs)
            assert torch.equal(batch.targets, same.targets)


def test_evaluation_goes_through_the_file_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(501, 3))
    monkeypatch.setattr(scratch, "free_memory", lambda: 0)
    monkeypatch.setattr(stored_rows, "_BLOCK", 480)
    inputs = torch.from_numpy(rows)
    stored = stored_rows.standardized_rows(inputs, *mean_and_deviation(inputs), CPU)
    found = torch.cat([stored[begin : min(begin + 32, 501)] for begin in range(0, 501, 32)])
    np.testing.assert_allclose(found, StandardScaler().fit_transform(rows), rtol=1e-5, atol=1e-6)
