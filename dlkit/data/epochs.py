"""Epochs: what all sources of batches share. Batch counts, batch starts, and seeds of an epoch's randomness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Epochs:
    """An epoch of `samples` examples in batches of `batch_size`; the last batch may be smaller."""

    samples: int
    batch_size: int
    device: torch.device

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.samples // self.batch_size)

    def begins(self, start: int) -> range:
        """First example of batches `start`, `start` + 1, ... Raises ValueError if `start` is out of range."""
        if not 0 <= start <= len(self):
            raise ValueError(f"start={start} is not in 0..{len(self)}, the batches of an epoch")
        return range(start * self.batch_size, self.samples, self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Batches `start`, `start` + 1, ... of epoch `number`."""
        raise NotImplementedError

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Batches of S sources at once, stacked to (S, n, ...). They include this one and differ only in their seed."""
        for batches in zip(*(source.epoch(number, start) for source in sources), strict=True):
            yield tuple(torch.stack(list(part)) for part in zip(*batches, strict=True))

    def laid_out(self, values: Sequence[Tensor]) -> Tensor:
        """Concatenate the draws of S sources for an epoch, each (samples,), to (S samples,) on the device.

        They are ordered by batch, then by source, so that each batch is a contiguous block.
        """
        begins = range(0, self.samples, self.batch_size)
        return self.send(torch.cat([drawn[begin : begin + self.batch_size] for begin in begins for drawn in values]))

    def send(self, values: Tensor) -> Tensor:
        """Copy values to the device asynchronously."""
        if self.device.type == "cuda":
            return values.pin_memory().to(self.device, non_blocking=True)
        return values.to(self.device)


def hashed_seed(seed: int, *numbers: int) -> int:
    """The seed of a generator for an epoch, or for a batch of it, by a hash, so that neighbours are independent."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, (seed, *numbers))).encode(), digest_size=8).digest(), "big")
