"""Closed forms of what a step sends (see `dlkit.distributed`), against the collectives of torch's DDP and FSDP2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

DEVICES, BLOCKS, WIDTH = 8, 4, 256
RESNET50, GPT2_XL = 25_557_032, 1_557_611_200  # parameters
NVLINK, CARD = 450e9, 50e9  # bytes a second
FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20  # bytes, of torch's DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one device sends in a step."""

    bytes: float
    messages: int


def ddp_traffic(gradients: int, devices: int) -> Traffic:
    """Of DDP, for so many bytes of gradients. A bucket may be larger by one tensor, so there may be fewer."""
    buckets = 1 + -(-max(gradients - FIRST_BUCKET, 0) // BUCKET)
    return Traffic(2 * (devices - 1) / devices * gradients, 2 * (devices - 1) * buckets)


def fsdp_traffic(blocks: int, block_bytes: int, root_bytes: int, devices: int) -> Traffic:
    """Of FSDP2, for a model of equal blocks of so many bytes each, and the rest of it."""
    gathered, reduced = 2 * blocks * block_bytes + root_bytes, blocks * block_bytes + root_bytes
    collectives = (2 * blocks + 1) + (blocks + 1)
    return Traffic((devices - 1) / devices * (gathered + reduced), (devices - 1) * collectives)


@pytest.fixture
def eight_devices() -> Iterator[None]:
    """A process group whose collectives send nothing: this process is rank 0 of 8."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=DEVICES)
    yield
    dist.destroy_process_group()


def block() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Tanh())


def network() -> nn.Sequential:
    return nn.Sequential(*(block() for _ in range(BLOCKS)), nn.Linear(WIDTH, 10), nn.Tanh())


def bytes_of(module: nn.Module) -> int:
    return 4 * sum(parameter.numel() for parameter in module.parameters())


def test_ddp_reduces_so_many_bytes_in_so_many_buckets(eight_devices: None) -> None:
    model, sizes = network(), list[int]()

    def counted(_, bucket):  # without annotations, which torch would read, as strings
        sizes.append(4 * bucket.buffer().numel())
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    wrapped = DistributedDataParallel(model)
    wrapped.register_comm_hook(None, counted)
    for _ in range(2):  # buckets follow the order of the first backward pass from the second on
        sizes.clear()
        wrapped(torch.ones(2, WIDTH)).sum().backward()
    traffic = ddp_traffic(sum(sizes), DEVICES)
    assert sum(sizes) == bytes_of(model)
    assert traffic.bytes == 2 * 7 / 8 * bytes_of(model)
    assert traffic.messages == len(sizes) * 2 * 7 == 28


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")
def test_fsdp_gathers_each_block_twice_and_the_root_once(eight_devices: None) -> None:
    model, mesh = network(), init_device_mesh("cpu", (DEVICES,))
    each, whole = bytes_of(model[0]), bytes_of(model)
    for index in range(BLOCKS):
        fully_shard(model[index], mesh=mesh)
    fully_shard(model, mesh=mesh)
    with CommDebugMode() as counted:
        model(torch.ones(2, WIDTH, requires_grad=True)).sum().backward()
    counts = {str(operation).rpartition(".")[2]: count for operation, count in counted.get_comm_counts().items()}
    assert counts == {"_allgather_base_": 2 * BLOCKS + 1, "_reduce_scatter_base_": BLOCKS + 1}
    traffic = fsdp_traffic(BLOCKS, each, whole - BLOCKS * each, DEVICES)
    assert traffic.messages == 7 * sum(counts.values())
    assert traffic.bytes == 7 / 8 * (3 * whole - (whole - BLOCKS * each))


def test_the_table_of_the_docstring() -> None:
    """Milliseconds between 8 devices, between 64 with a card each, and with a card for 8."""

    def row(small: float, large: float) -> list[float]:
        seconds = (small / NVLINK, max(large / NVLINK, large / 8 / CARD), large / CARD)
        return [round(small / 1e9, 3), round(large / 1e9, 3), *(round(1e3 * second, 1) for second in seconds)]

    ddp = {size: row(ddp_traffic(4 * size, 8).bytes, ddp_traffic(4 * size, 64).bytes) for size in (RESNET50, GPT2_XL)}
    assert ddp[RESNET50] == [0.179, 0.201, 0.4, 0.5, 4.0]
    assert ddp[GPT2_XL] == [10.903, 12.266, 24.2, 30.7, 245.3]
    width = 1_600
    of_block = 12 * width**2 + 13 * width  # of four matrices, their biases, and two layer norms
    root = GPT2_XL - 48 * of_block
    assert root == (50_257 + 1_024) * width + 2 * width  # tokens, positions and the last layer norm
    fsdp = row(*(fsdp_traffic(48, 4 * of_block, 4 * root, devices).bytes for devices in (8, 64)))
    assert fsdp == [16.068, 18.076, 35.7, 45.2, 361.5]
    assert ddp_traffic(4 * RESNET50, 64).messages == 5 * 126
    assert pytest.approx(24.9, abs=0.05) == 16 * GPT2_XL / 1e9
    assert pytest.approx(0.077, abs=5e-4) == 6 * GPT2_XL * 8_192 / 989e12
