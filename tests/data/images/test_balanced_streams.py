"""Images that are decoded as they come, of which an epoch has every class equally often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dlkit.data.dataset import Split
from dlkit.data.images.image_sources import ImageArray
from dlkit.data.images.stream_order import describe_shuffle
from dlkit.data.images.streaming import StreamedImages
from dlkit.errors import RequestError

COUNTS = (31, 3, 14)  # of the classes 0, 1 and 2
CPU = torch.device("cpu")
TARGETS = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
PIXELS = torch.arange(48, dtype=torch.uint8)[:, None, None, None].expand(48, 3, 4, 4)


class Shards(ImageArray):
    """Images in groups that are read one after another."""

    def randomness(self) -> str:
        return describe_shuffle(len(self.pixels), 8)


def stream(source: ImageArray, training: bool = True) -> StreamedImages:
    images: Any = source
    mean, std = torch.zeros(3), torch.ones(3)
    return StreamedImages(
        Split(images, TARGETS), mean, std, CPU, 0, training, batch_size=10, workers=0, flip=False, balance=True
    )


def test_an_image_is_drawn_as_often_as_its_class_has_it() -> None:
    epochs, data = 30, stream(ImageArray(PIXELS))
    times = np.zeros(48, dtype=np.int64)
    for number in range(epochs):
        batches = list(data.epoch(number))
        targets = torch.cat([batch.targets for batch in batches])
        rows = torch.cat([batch.inputs[:, 0, 0, 0] for batch in batches]).long()  # an image is its own number
        assert torch.bincount(targets).tolist() == [16, 16, 16]
        assert TARGETS[rows].equal(targets)
        times += np.bincount(rows, minlength=48)
    # an image of a class of N_k is in N / (K N_k) epochs on average
    assert chisquare(times, epochs * 16 / np.array(COUNTS)[TARGETS]).pvalue > 0.01
    assert chisquare(times, np.full(48, epochs)).pvalue < 1e-9
    for late, batch in zip(data.epoch(1, start=2), list(data.epoch(1))[2:], strict=True):
        torch.testing.assert_close(late.inputs, batch.inputs)
    held = torch.cat([batch.targets for batch in stream(ImageArray(PIXELS), training=False).epoch(0)])
    assert held.equal(TARGETS)


def test_what_is_read_shard_by_shard_is_refused() -> None:
    with pytest.raises(RequestError, match=r"data.balance is set, and these images are read shard by shard") as caught:
        stream(Shards(PIXELS))
    assert "loss.class_weights=balanced" in (caught.value.hint or "")
