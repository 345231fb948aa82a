"""The processes of a job as one `World`, and their collective operations.

    with join_world(device) as world:
        mine = items[world.rank :: world.size]     # this process's share
        merged = world.gather_objects(result)      # a list, one for each rank, on every rank
        if world.any_rank(stopped): ...            # a decision on which all ranks agree
        if world.first: write(merged)              # only rank 0 prints, locks and writes

Every method but `share` is a collective operation, and all ranks must call the same ones in the same order: a decision
whether to call one must itself be collective. Without torchrun there is a world of one, whose operations return at
once. `current_world()` is the world that this process has joined, for code that is not passed it.

gloo transfers tensors on the CPU, NCCL those on CUDA. Objects are pickled, since the processes of a job trust each
other; none is ever read from a file.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dlkit.distributed.meeting_store import meeting_store
from dlkit.distributed.torchrun import launched_process

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a job: this one is number `rank` of `size`, and `local_rank` of `local_size` on its machine."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    device: torch.device = _CPU

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone prints, locks and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every rank has called this."""
        if self.size > 1:
            # not dist.barrier, which on CUDA only launches an NCCL kernel and does not block the host
            dist.all_reduce(torch.zeros(()))

    def broadcast_object(self, value: T, source: int = 0) -> T:
        """The value of rank `source`; those of other ranks are ignored."""
        if self.size == 1:
            return value
        held: list[Any] = [value if self.rank == source else None]
        dist.broadcast_object_list(held, src=source, device=torch.device("cpu"))
        return held[0]

    def gather_objects(self, value: T) -> list[T]:
        """The values of all ranks, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def gather_batches(self, own: list[Tensor]) -> list[Tensor]:
        """The results of all batches on the CPU, in batch order, if rank r computed batches r, r + W, r + 2 W, ..."""
        gathered = self.gather_objects([values.cpu() for values in own])
        in_turn = itertools.zip_longest(*gathered)
        return [values for turn in in_turn for values in turn if values is not None]

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over ranks, in place, on every rank. On CUDA this does not block the host."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        """Overwrite the tensor on every rank with that of rank `source`."""
        if self.size > 1:
            dist.broadcast(tensor, src=source)
        return tensor

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is true on any rank; the same answer on all ranks."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(int(flag))).item())

    def share(self, count: int) -> range:
        """This rank's contiguous block of `count` items. Blocks differ by one item at most; some may be empty."""
        each, more = divmod(count, self.size)
        begin = self.rank * each + min(self.rank, more)
        return range(begin, begin + each + (self.rank < more))


_joined: list[World] = []
_attempts = itertools.count()  # counts how often this process has joined a job


def current_world() -> World:
    """The world that this process has joined, else a world of one."""
    return _joined[-1] if _joined else World()


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """Join the job that torchrun started this process for until the body ends; no effect if already joined.

    A process may join several times in succession, if all others do too.

    Args:
        device: this process's own: CUDA device `local_rank` of its machine, or the CPU.

    Raises DlkitError if the rendezvous store cannot be reached.
    """
    process = launched_process()
    if _joined or process is None or process.world_size == 1:
        yield current_world() if _joined else World(device=device)
        return
    if device.type == "cpu":  # a rank may load a kernel that another one is still writing: "file too short"
        user = os.getuid() if hasattr(os, "getuid") else ""
        cache = Path(tempfile.gettempdir()) / f"torchinductor_{user}_rank_{process.local_rank}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    # gloo beside NCCL, for decisions and objects on the host, which then never wait for the device
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store = meeting_store(process, f"world {next(_attempts)}")  # without addresses of an earlier group
    dist.init_process_group(
        backend,
        store=store,
        rank=process.rank,
        world_size=process.world_size,
        device_id=device if device.type == "cuda" else None,
    )
    world = World(process.rank, process.local_rank, process.world_size, process.local_size, device)
    _joined.append(world)
    try:
        yield world
        world.barrier()  # a process that ended now would break collectives that others still wait for
        _wait_for_threads()
    finally:
        _joined.remove(world)
        dist.destroy_process_group()
        time.sleep(0.01)  # releases the GIL: see below


def _wait_for_threads() -> None:
    """Wait until gloo's threads are idle: after a collective operation they release its tensors, which needs the GIL.

    If the interpreter exits meanwhile, it kills such a thread inside C++ code, which aborts the process.
    """
    last = torch.zeros(())
    dist.all_reduce(last)
    held = weakref.ref(last)
    del last  # the weak reference stays alive for as long as C++ holds the tensor
    end = time.monotonic() + 1
    while held() is not None and time.monotonic() < end:
        time.sleep(0.001)
