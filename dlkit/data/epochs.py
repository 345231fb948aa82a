"""What all sources of batches share: how many batches an epoch has, where they begin, what chance is drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Epochs:
    """An epoch is `samples` examples, `batch_size` a batch, the last batch smaller where they do not divide."""

    samples: int
    batch_size: int
    device: torch.device

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self.samples // self.batch_size)

    def begins(self, start: int) -> range:
        """The first examples of batches `start`, `start` + 1, ...; ValueError if there are fewer than `start`."""
        if not 0 <= start <= len(self):
            raise ValueError(f"start={start} is not in 0..{len(self)}, the batches of an epoch")
        return range(start * self.batch_size, self.samples, self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Batches `start`, `start` + 1, ... of epoch `number`."""
        raise NotImplementedError

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The same of S sources at once, this one among them, that differ in nothing but their seed: (S, n, ...)."""
        for batches in zip(*(source.epoch(number, start) for source in sources), strict=True):
            yield tuple(torch.stack(list(part)) for part in zip(*batches, strict=True))

    def laid_out(self, values: Sequence[Tensor]) -> Tensor:
        """What S sources drew for an epoch, each (samples,), on the device, (S samples,): batch by batch, and within a
        batch source by source. So each batch is one block, which nothing needs to be gathered for."""
        begins = range(0, self.samples, self.batch_size)
        return self.send(torch.cat([drawn[begin : begin + self.batch_size] for begin in begins for drawn in values]))

    def send(self, values: Tensor) -> Tensor:
        """The values on the device, without waiting for them to get there."""
        if self.device.type == "cuda":
            return values.pin_memory().to(self.device, non_blocking=True)
        return values.to(self.device)


def hashed_seed(seed: int, *numbers: int) -> int:
    """A generator's seed for one epoch, or a batch of it: a hash, so that neighbouring ones share nothing."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, (seed, *numbers))).encode(), digest_size=8).digest(), "big")
