"""Batches made in advance and replayed: a training loop without its loader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from dlkit.training.interfaces import BatchSource


class ReplayedBatches:
    """Cycles through the first `held` batches of a source; an epoch has `count` batches."""

    def __init__(self, source: BatchSource, held: int, count: int) -> None:
        self.held: list[Any] = list(itertools.islice(source.epoch(0), held))
        self.batch_size = source.batch_size
        self.count = count
        self.samples = count * source.batch_size

    def __len__(self) -> int:
        return self.count

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Batches `start`, `start` + 1, ... of any epoch."""
        return itertools.islice(itertools.cycle(self.held), start, self.count)
