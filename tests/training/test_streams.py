"""A stream that leaves batches out: every other batch is seen once an epoch, whether the run was resumed or not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dlkit.data.batch import ClassificationBatch
from dlkit.data.dataset import Split
from dlkit.data.images.decoding import DamagedImageError
from dlkit.data.images.streaming import StreamedImages
from dlkit.errors import DlkitError
from dlkit.losses import CrossEntropy
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Finished
from dlkit.training.loop import Training, fit
from dlkit.training.settings import TrainSettings

CPU = torch.device("cpu")
ROWS = 12


class Source:
    """12 images of 8 pixels in their own order, some of which cannot be decoded. The class of a row is its number."""

    shape = (ROWS, 3, 8, 8)

    def __init__(self, damaged: set[int]) -> None:
        self.damaged = damaged

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.arange(ROWS)

    def image(self, row: int) -> Image.Image:
        if row in self.damaged:
            raise DamagedImageError(f"{row}.jpg: damaged")
        return Image.new("RGB", (8, 8), (10 * row, 0, 0))


class Watched(StreamedImages):
    """Notes the rows of the batches that a run is given, by epoch."""

    seen: list[tuple[int, list[int]]]

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        for batch in super().epoch(number, start):
            self.seen.append((number, batch.targets.tolist()))
            yield batch


def training(damaged: set[int], accumulate: int = 1, batch_size: int = 1) -> tuple[Training, Watched]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, ROWS))
    split = Split(Source(damaged), torch.arange(ROWS))  # pyright: ignore[reportArgumentType]
    batches = Watched(split, torch.zeros(3), torch.ones(3), CPU, 0, True, batch_size=batch_size, workers=0)
    batches.seen = []
    options: dict[str, Any] = {"precision": "fp32", "compile": "off", "channels_last": "off", "eval_every": "never"}
    settings = TrainSettings(epochs=2, checkpoint_every="1 steps", accumulate=accumulate, **options)
    run = Training(
        model=model,
        task=Classification(CrossEntropy(), tuple(map(str, range(ROWS)))),
        optimizer=Momentum(model.parameters(), lr=0.1),
        schedule=lambda step, total: 1.0,
        batches=batches,
        evaluations={},
        settings=settings,
        device=CPU,
    )
    return run, batches


class Memory:
    """Keeps every checkpoint, with how many batches the run had been given by then."""

    def __init__(self, batches: Watched) -> None:
        self.batches = batches
        self.saved: list[tuple[Checkpoint, int]] = []

    def save(self, checkpoint: Checkpoint, best: bool) -> str:
        self.saved.append((copy.deepcopy(checkpoint), len(self.batches.seen)))
        return "memory"


@pytest.mark.parametrize(("damaged", "accumulate"), [({4}, 1), ({11}, 1), ({0}, 5)])
def test_every_batch_is_seen_once_an_epoch(damaged: set[int], accumulate: int) -> None:
    run, batches = training(damaged, accumulate)
    store = Memory(batches)
    list(fit(run, store))
    whole = [[row] for row in range(ROWS) if row not in damaged]
    for epoch in (0, 1):
        assert [rows for number, rows in batches.seen if number == epoch] == whole
    for checkpoint, given in store.saved[1::7]:
        resumed, rest = training(damaged, accumulate)
        list(fit(resumed, Memory(rest), checkpoint))
        assert rest.seen == batches.seen[given:]
        assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), resumed.model.parameters(), strict=True))


def test_a_checkpoint_of_an_earlier_version_tells_the_place_by_its_step() -> None:
    run, batches = training(set())
    store = Memory(batches)
    list(fit(run, store))
    for checkpoint, given in store.saved[2::9]:
        progress, rest = checkpoint.state["progress"], checkpoint.tensors["optimizer"]
        for name in ("epoch", "batch", "skipped"):
            del progress[name]
        progress["metrics"] = dict(progress["metrics"])
        rest["sums.loss"] = rest.pop("sums.weighted_loss").float()  # the sum of the batches' means
        resumed, again = training(set())
        last = list(fit(resumed, Memory(again), checkpoint))[-1]
        assert again.seen == batches.seen[given:]
        assert isinstance(last, Finished)
        assert last.step == 24


def test_data_of_which_nothing_can_be_read_is_an_end() -> None:
    run, _ = training({0, 1}, batch_size=2)
    run.batches.samples = 2
    with pytest.raises(DlkitError, match=r"no batch of epoch 1 could be read|images cannot be decoded"):
        list(fit(run))
