"""What a last batch of one example breaks is known before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dlkit.data.batch import ClassificationBatch
from dlkit.errors import RequestError
from dlkit.losses import CrossEntropy
from dlkit.nn.norm import BatchNorm, LayerNorm
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.training import last_batch
from dlkit.training.loop import Training
from dlkit.training.settings import TrainSettings


class Rows:
    def __init__(self, samples: int, batch_size: int, shape: tuple[int, ...]) -> None:
        self.samples, self.batch_size, self.shape = samples, batch_size, shape

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Any:
        for begin in range(start * self.batch_size, self.samples, self.batch_size):
            n = min(self.batch_size, self.samples - begin)
            yield ClassificationBatch(torch.randn(n, *self.shape), torch.zeros(n, dtype=torch.int64))


def training(samples: int, size: int, shape: tuple[int, ...], norm: nn.Module) -> Training:
    model = nn.Sequential(norm, nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(2, *shape))
    return Training(
        model=model,
        task=Classification(CrossEntropy(), ("a", "b")),
        optimizer=Momentum(model.parameters(), lr=0.1),
        schedule=lambda step, total: 1.0,
        batches=Rows(samples, size, shape),
        evaluations={},
        settings=TrainSettings(epochs=1, precision="fp32", compile="off", channels_last="off"),
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("samples", "size", "shape", "norm", "hint"),
    [
        (65, 32, (4,), BatchNorm(4), "data.batch_size=33"),  # 65 = 33 + 32
        (65, 64, (4, 1, 1), BatchNorm(4), "data.batch_size=65"),
        (9, 1, (4,), BatchNorm(4), "data.batch_size=3"),  # 9 = 3 x 3
        (1, 1, (4,), BatchNorm(4), "model.norm=layer"),
        (65, 32, (4,), nn.BatchNorm1d(4), "data.batch_size=33"),
    ],
)
def test_a_last_batch_without_a_variance_is_refused(
    samples: int, size: int, shape: tuple[int, ...], norm: nn.Module, hint: str
) -> None:
    run = training(samples, size, shape, norm)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with pytest.raises(RequestError, match="one") as caught:
        last_batch.require_usable_last_batch(run, next(iter(run.batches.epoch(0))))
    assert hint in str(caught.value.hint)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    if "batch_size" in hint:
        better = int(hint.partition("=")[2])
        assert samples % better != 1


@pytest.mark.parametrize(
    ("samples", "shape", "norm"),
    [(64, (4,), BatchNorm(4)), (66, (4,), BatchNorm(4)), (65, (4, 3, 3), BatchNorm(4)), (65, (4,), LayerNorm(4))],
)
def test_what_has_a_variance_is_let_be(samples: int, shape: tuple[int, ...], norm: nn.Module) -> None:
    run = training(samples, 32, shape, norm)
    last_batch.require_usable_last_batch(run, next(iter(run.batches.epoch(0))))
