"""A small training run, and the same in plain torch."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from dlkit import schedules
from dlkit.data.batch import ClassificationBatch
from dlkit.losses import CrossEntropy
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Event
from dlkit.training.loop import Training, fit
from dlkit.training.settings import TrainSettings

CPU = torch.device("cpu")

CLASSES = ("a", "b", "c")


class Rows:
    """A small stand-in for a data set: 26 rows of 5 numbers, in an order that each epoch draws anew."""

    def __init__(
        self, batch_size: int = 6, samples: int = 26, dtype: torch.dtype = torch.float64, seed: int = 3
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(samples, 5, generator=generator, dtype=dtype)
        self.targets = torch.randint(3, (samples,), generator=generator)
        self.samples, self.batch_size = samples, batch_size

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(number))
        for rows in order.split(self.batch_size)[start:]:
            yield ClassificationBatch(self.inputs[rows], self.targets[rows])


class Memory:
    """Keeps every checkpoint, as deep copies."""

    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []
        self.best: list[bool] = []

    def save(self, checkpoint: Checkpoint, best: bool) -> str:
        self.saved.append(copy.deepcopy(checkpoint))
        self.best.append(best)
        return "memory"


def network(dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)).to(dtype)


def training(model: nn.Module, batches: Rows | None = None, **options: Any) -> Training:
    settings = {"epochs": 3, "precision": "fp32", "compile": "off", "channels_last": "off", "eval_every": "never"}
    fields: dict[str, Any] = {
        "optimizer": Momentum(model.parameters(), lr=0.1, nesterov=True),
        "schedule": functools.partial(schedules.cosine, warmup=0.2),
        "evaluations": {},
        "task": Classification(CrossEntropy(label_smoothing=0.1), CLASSES),
    }
    fields |= {key: options.pop(key) for key in list(options) if key in Training.__dataclass_fields__}
    return Training(
        model=model,
        batches=batches or Rows(),
        settings=TrainSettings(**{**settings, **options}),
        device=CPU,
        **fields,
    )


def finish(run: Training, store: Memory | None = None, resume: Checkpoint | None = None) -> list[Event]:
    return list(fit(run, store, resume))


def assert_same_weights(a: nn.Module, b: nn.Module, tolerance: float = 1e-12) -> None:
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], rtol=tolerance, atol=tolerance)
