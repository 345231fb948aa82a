"""Batches of every family hand out their tensors in order, survive torch.compile, and say what counts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from dlkit.data.batch import Batch, CausalBatch, ClassificationBatch, MaskedBatch, TextBatch

ROWS = torch.arange(6).view(2, 3)
MASK = torch.ones(2, 3, dtype=torch.bool)
BATCHES: list[Batch] = [
    ClassificationBatch(torch.randn(2, 3), torch.tensor([0, 1])),
    ClassificationBatch(torch.randn(2, 3), torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor(0.3)),
    CausalBatch(ROWS, ROWS.flatten()),
    MaskedBatch(ROWS, torch.tensor([4, -100]), torch.tensor([1, 0]), 1),
    TextBatch(ROWS, torch.tensor([1]), None, MASK, torch.tensor([2]), credit=torch.rand(2, 2)),
]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: type(batch).__name__)
def test_tensors_come_in_the_order_of_the_fields(batch: Batch) -> None:
    values = [getattr(batch, field.name) for field in dataclasses.fields(batch)]  # pyright: ignore[reportArgumentType]
    assert [id(tensor) for tensor in batch.tensors()] == [id(value) for value in values if isinstance(value, Tensor)]
    other = batch.with_tensors([tensor.clone() for tensor in batch.tensors()])
    for field, value in zip(dataclasses.fields(other), values, strict=True):  # pyright: ignore[reportArgumentType]
        same = getattr(other, field.name)
        if isinstance(value, Tensor):
            assert same is not value and torch.equal(same, value)
        else:
            assert same is value
    assert len(batch) == 2


def test_padding_is_no_prediction() -> None:
    assert [batch.predictions for batch in BATCHES] == [2, 2, 6, 1, 1]


def test_batches_of_one_shape_are_compiled_once() -> None:
    counter = CompileCounter()

    def loss(batch: MaskedBatch) -> Tensor:
        return (batch.token_ids.flatten()[batch.positions] - batch.targets).sum()

    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    for count in range(3):
        batch = MaskedBatch(ROWS + count, torch.tensor([4, count]), torch.tensor([1, 0]), count)
        assert compiled(batch) == loss(batch)
    assert counter.frame_count == 1
