"""Every class equally often in an epoch, as torch's WeightedRandomSampler has it on average."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from dlkit.data.balanced_order import balanced_order
from dlkit.data.dataset import Split
from dlkit.data.row_batches import RowBatches
from dlkit.errors import RequestError

TARGETS = torch.tensor([0] * 700 + [2] * 5 + [3] * 96)[torch.randperm(801, generator=torch.Generator().manual_seed(0))]


def test_each_class_has_its_share() -> None:
    order = balanced_order(TARGETS, torch.Generator().manual_seed(0))
    assert torch.bincount(TARGETS[order]).tolist() == [267, 0, 267, 267]
    # the share of each class is the one that draws with weights 1 / N_k expect
    weights = 1 / torch.bincount(TARGETS)[TARGETS]
    drawn = TARGETS[list(WeightedRandomSampler(weights.tolist(), 60_000, generator=torch.Generator().manual_seed(0)))]
    shares = torch.bincount(drawn) / len(drawn)
    torch.testing.assert_close(shares, torch.bincount(TARGETS[order]) / len(order), atol=0.01, rtol=0)
    # no example comes again before all of its class have come
    times = torch.bincount(order, minlength=len(TARGETS))
    for each in (0, 2, 3):
        assert times[each == TARGETS].max() - times[each == TARGETS].min() <= 1


def test_what_remains_is_shared_out() -> None:
    targets = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    counts = [torch.bincount(targets[balanced_order(targets, torch.Generator().manual_seed(s))]) for s in range(20)]
    assert {tuple(sorted(each.tolist())) for each in counts} == {(2, 3, 3)}
    assert len({tuple(each.tolist()) for each in counts}) == 3


def test_an_epoch_of_training_is_balanced_and_evaluation_is_not() -> None:
    rows = Split(torch.arange(801.0, dtype=torch.float64)[:, None], TARGETS)
    mean, std = torch.zeros(1), torch.ones(1)
    cpu = torch.device("cpu")
    batches = RowBatches(rows, mean, std, cpu, 0, True, batch_size=64, balance=True)
    assert len(batches) == 13
    for number in (0, 1):
        seen = list(batches.epoch(number))
        assert torch.bincount(torch.cat([batch.targets for batch in seen])).tolist() == [267, 0, 267, 267]
        for batch in seen:
            torch.testing.assert_close(TARGETS[batch.inputs[:, 0].long()], batch.targets)
    rest = list(batches.epoch(1, start=5))
    torch.testing.assert_close(rest[0].inputs, seen[5].inputs)
    whole = RowBatches(rows, mean, std, cpu, 0, False, balance=True)
    assert torch.cat([batch.targets for batch in whole.epoch(0)]).equal(TARGETS)


def test_numbers_have_no_classes() -> None:
    rows = Split(torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4))
    with pytest.raises(RequestError, match=r"data.balance is set, and the label is a number"):
        next(RowBatches(rows, torch.zeros(1), torch.ones(1), torch.device("cpu"), 0, True, balance=True).epoch(0))
