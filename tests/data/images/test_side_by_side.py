"""The batches of several seeds at once are those of each seed alone, to the bit, by as many kernels as one needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.data.batch import Batch
from dlkit.data.dataset import Split, mean_and_deviation
from dlkit.data.epochs import Epochs
from dlkit.data.images.image_batches import ImageBatches
from dlkit.data.row_batches import RowBatches
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.data.text.windows import TokenWindows

CPU, SEEDS = torch.device("cpu"), (3, 0, 8)
GENERATOR = torch.Generator().manual_seed(5)
IMAGES = Split(torch.randint(0, 256, (47, 3, 9, 11), generator=GENERATOR, dtype=torch.uint8), torch.arange(47))
SQUARES = Split(torch.randint(0, 256, (33, 1, 8, 8), generator=GENERATOR, dtype=torch.uint8), torch.arange(33))
ROWS = Split(torch.randn(47, 5, generator=GENERATOR), torch.arange(47))
TOKENS = np.arange(2_000, dtype=np.uint16)
VOCABULARY = MaskingVocabulary(2_000, 2_001, 2_002, 2_003, np.zeros(2_003, dtype=bool))


def images(seed: int, split: Split = IMAGES, last: bool = False, **keys: Any) -> ImageBatches:
    return ImageBatches(split, *mean_and_deviation(split.inputs), CPU, seed, True, last, batch_size=10, **keys)


KINDS: dict[str, Callable[[int], Epochs]] = {
    "rows": lambda seed: RowBatches(ROWS, *mean_and_deviation(ROWS.inputs), CPU, seed, True, batch_size=10),
    "plain": images,
    "augmented": lambda seed: images(seed, flip=True, shift=2, cutout=3),
    "alternating": lambda seed: images(seed, flip="alternating", shift=1, border="mirror"),
    "channels-last": lambda seed: images(seed, last=True, flip=True, shift=2, cutout=3),
    "growing": lambda seed: images(seed, SQUARES, start_size=4, grow_epochs=3),
    "mixed": lambda seed: images(seed, mixup=0.5, cutmix=1.0),
    "tokens": lambda seed: TokenWindows(TOKENS, CPU, seed, True, batch_size=7, context=16),
    "masked": lambda seed: MaskedWindows(TOKENS, CPU, seed, True, VOCABULARY, batch_size=7, context=16),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("epoch", "start"), [(0, 0), (1, 2)])
def test_each_seed_has_its_own_batches(kind: str, epoch: int, start: int) -> None:
    sources = [KINDS[kind](seed) for seed in SEEDS]
    together = list(map(Batch.tensors, sources[0].side_by_side(sources, epoch, start)))
    assert len(together) == len(sources[0]) - start > 1
    for row, source in enumerate(sources):
        for found, expected in zip(together, map(Batch.tensors, source.epoch(epoch, start)), strict=True):
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert torch.equal(a[row], b)
    assert not torch.equal(together[0][0][0], together[0][0][1])


class Counted(TorchDispatchMode):
    """Counts the operations that write anything."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["rows", "augmented", "tokens"])
def test_more_seeds_are_no_more_kernels(kind: str) -> None:
    counts: list[int] = []
    for seeds in (SEEDS[:1], SEEDS):
        sources = [KINDS[kind](seed) for seed in seeds]
        batches = sources[0].side_by_side(sources, 0)
        next(batches)  # what an epoch draws on the host
        with Counted() as counted:
            next(batches)
        counts.append(counted.count)
    assert counts[0] == counts[1] > 0
