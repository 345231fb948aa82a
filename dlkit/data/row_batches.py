"""Batches of a split that is on the device as one tensor, where a batch is made by indexing.

The order and the augmentation of an epoch are a pure function of (seed, epoch), drawn on the CPU when it begins: every
device sees the same examples, and iteration resumes exactly at any batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dlkit.annotations import Count
from dlkit.data.balanced_order import balanced_order
from dlkit.data.batch import Batch, ClassificationBatch
from dlkit.data.dataset import Split
from dlkit.data.epochs import Epochs, hashed_seed
from dlkit.data.stored_rows import StoredRows, standardized_rows


class RowBatches(Epochs):
    """Batches of rows, (n, F) float32, standardized once, in float64, by the training split's mean and deviation.

    Training shuffles and keeps the last, partial batch; evaluation goes in order and yields views of the data, which
    must not be modified.

    Args:
        batch_size: examples a batch; "full" takes all of them (batch gradient descent).
        balance: whether an epoch of training has every class equally often, however rare it is in the data.

    Raises:
        RequestError: targets that are numbers are to be balanced.
    """

    def __init__(
        self,
        split: Split,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        seed: int,
        training: bool,
        *,
        batch_size: Count | Literal["full"] = 128,
        balance: bool = False,
    ) -> None:
        self.samples = len(split.targets)
        self.batch_size = self.samples if batch_size == "full" else min(batch_size, self.samples)
        self.device = device
        self.seed = seed
        self.training = training
        self._classes = split.targets if balance and training else None
        self._targets = split.targets.to(device)
        self._inputs: Any = self._load(split.inputs, mean, std)  # a tensor, or what is indexed as one

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        """Batches `start`, `start` + 1, ... of epoch `number`, on the device.

        Raises:
            ValueError: the epoch has fewer than `start` batches.
        """
        begins = self.begins(start)
        if not self.training:
            for begin in begins:
                count = min(self.batch_size, self.samples - begin)
                own = self.own_rows(count)
                rows = slice(begin + own.start, begin + own.stop)
                inputs, targets = self._finish(self._inputs[rows]), self._targets[rows]
                yield ClassificationBatch(inputs, targets, whole=self.whole(count))
            return
        order, *parameters = (self.send(values) for values in self._drawn(number))  # each (samples,)
        if isinstance(self._inputs, StoredRows):
            self._inputs.expect(order[start * self.batch_size :], self.batch_size)
        targets = self._targets.index_select(0, order)
        for begin in begins:
            chosen = slice(begin, begin + self.batch_size)
            rows = order[chosen]
            drawn = [values[chosen] for values in parameters]
            if self.world.size > 1:
                yield self._shared(rows, targets[chosen], drawn)
            else:
                yield self._mix(self._select(rows, *drawn), targets[chosen], *drawn)

    def _shared(self, rows: Tensor, targets: Tensor, drawn: list[Tensor]) -> ClassificationBatch:
        """This process's block of a batch.

        It is cut from a block with one row more where each example is mixed with the one before it, or where it is
        empty, since what augments images takes one at least.
        """
        own = self.own_rows(len(rows))
        before = int(self.mixes or own.start == own.stop)
        index = torch.arange(own.start - before, own.stop, device=rows.device) % len(rows)
        inputs = self._select(rows[index], *(values[index] for values in drawn))
        batch = self._mix(inputs, targets[index], *drawn)
        cut = batch.map(lambda values: values[before:] if values.dim() else values)
        return dataclasses.replace(cut, whole=len(rows))

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        drawn = [source._drawn(number) for source in sources]
        order, *parameters = (self.laid_out(values) for values in zip(*drawn, strict=True))  # each (S samples,)
        count = len(sources)
        for begin in self.begins(start):
            size = min(self.batch_size, self.samples - begin)
            chosen = slice(count * begin, count * (begin + size))
            rows = order[chosen]
            inputs = self._select(rows, *(values[chosen] for values in parameters))
            batch = ClassificationBatch(inputs, self._targets.index_select(0, rows))
            yield batch.map(lambda values, size=size: values.unflatten(0, (count, size)))

    mixes = False  # whether each example of a batch is mixed with the one before it

    def _load(self, inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor | StoredRows:
        return standardized_rows(inputs, mean, std, self.device)

    def _drawn(self, number: int) -> list[Tensor]:
        """The order of epoch `number` and its augmentation parameters, each (samples,), on the CPU."""
        generator = torch.Generator().manual_seed(hashed_seed(self.seed, number))
        if self._classes is not None:
            order = balanced_order(self._classes, generator)
        else:
            order = torch.randperm(self.samples, generator=generator)
        return [order, *self._draw(generator, order, number)]

    def _draw(self, generator: torch.Generator, order: Tensor, number: int) -> list[Tensor]:
        """The augmentation parameters of epoch `number`, one for each position in `order`, each (samples,)."""
        return []

    def _select(self, rows: Tensor, *parameters: Tensor) -> Tensor:
        return self._inputs.index_select(0, rows)

    def _finish(self, inputs: Tensor) -> Tensor:
        return inputs

    def _mix(self, inputs: Tensor, targets: Tensor, *parameters: Tensor) -> ClassificationBatch:
        return ClassificationBatch(inputs, targets)
