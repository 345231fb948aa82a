"""What all sources of batches share: the batches of an epoch, where each begins, and the seed that it draws from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dlkit.data.batch import Batch
from dlkit.distributed.process_group import World


class Epochs:
    """An epoch of `samples` examples in batches of `batch_size`; the last batch may be smaller."""

    samples: int
    batch_size: int
    device: torch.device
    world: World = World()  # whose ranks have a block of each batch
    dealt: World = World()  # among whose ranks whole batches are dealt out

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.samples // self.batch_size)

    def begins(self, start: int) -> range:
        """First example of batches `start`, `start` + 1, ... Raises ValueError if `start` is out of range."""
        numbers, size = self.numbers(start), self.batch_size
        return range(numbers.start * size, min(numbers.stop * size, self.samples), numbers.step * size)

    def numbers(self, start: int) -> range:
        """`start`, `start` + 1, ..., or those of them that this rank has, if batches are dealt out.

        Raises ValueError if `start` is out of range.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"start={start} is not in 0..{len(self)}, the batches of an epoch")
        return range(start, len(self))[self.dealt.rank :: self.dealt.size]

    def deal(self, world: World) -> None:
        """Yield only this rank's batches from now on: one of as many as there are ranks, as whole as in one process."""
        self.dealt = world

    def collect(self, world: World) -> None:
        """Let every rank know what the others have noted about the data that they read."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`, `start` + 1, ... of epoch `number`."""
        raise NotImplementedError

    def shard(self, world: World) -> None:
        """Yield only this rank's block of each batch from now on, and in `whole` the predictions of all of it.

        Every rank draws the same order and augmentation, so that the blocks together are the batch of one process.
        """
        self.world = world

    def own_rows(self, count: int) -> slice:
        """The rows of a batch of `count` that this process yields."""
        share = self.world.share(count)
        return slice(share.start, share.stop)

    def whole(self, count: int) -> int | None:
        """What `whole` is in the process's share of a batch of `count` predictions."""
        return count if self.world.size > 1 else None

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        """The same of S sources that differ only in their seed, this one among them, in one batch: (S, n, ...)."""
        for batches in zip(*(source.epoch(number, start) for source in sources), strict=True):
            tensors = zip(*(batch.tensors() for batch in batches), strict=True)
            yield batches[0].with_tensors(torch.stack(same) for same in tensors)

    def laid_out(self, values: Sequence[Tensor]) -> Tensor:
        """Join what S sources drew for an epoch, each (samples,), on the device, (S samples,).

        It goes batch by batch, and within a batch source by source, so that each batch is a slice.
        """
        begins = range(0, self.samples, self.batch_size)
        return self.send(torch.cat([drawn[begin : begin + self.batch_size] for begin in begins for drawn in values]))

    def send(self, values: Tensor) -> Tensor:
        """Copy the values to the device; on CUDA without waiting for the copy."""
        if self.device.type == "cuda":
            return values.pin_memory().to(self.device, non_blocking=True)
        return values.to(self.device)


def hashed_seed(seed: int, *numbers: int) -> int:
    """The seed of the generator of an epoch, or of a batch of it: a hash, so that neighbours are unrelated."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, (seed, *numbers))).encode(), digest_size=8).digest(), "big")
