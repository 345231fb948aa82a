"""CIFAR: the data pipeline and a ResNet-18 step beside what one would otherwise use.

    pytest -m benchmark tests/benchmarks/test_cifar.py -s

Images are random, for the work does not depend on them. Both sides take turns in this process, and are compared first.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from dlkit.data.dataset import Split, mean_and_deviation
from dlkit.data.epochs import hashed_seed
from dlkit.data.images.image_batches import ImageBatches
from dlkit.models.resnet import ResNet, resnet20
from dlkit.optim.groups import parameter_groups
from dlkit.optim.momentum import Momentum
from dlkit.pretrained.vision import translate
from dlkit.training.device import keep_freed_memory
from dlkit.training.precision import autocast
from dlkit.training.weights import load_weights

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 7
CPU = torch.device("cpu")
TRAINING_IMAGES, TEST_IMAGES = 50_000, 10_000


@pytest.fixture(autouse=True)
def machine() -> Any:
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    yield
    torch.set_flush_denormal(False)


def medians(sides: dict[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of each side, in turns, behind a round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            if repeat:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def images(count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.randint(0, 10, (count,), generator=generator))


# ---------------------------------------------------------------------- the data pipeline


class PerImage(TorchDataset[Any]):
    def __init__(self, split: Split, transform: Any) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split.targets)

    def __getitem__(self, row: int) -> Any:
        return self.transform(self.split.inputs[row]), self.split.targets[row]


def assert_same_crops(source: ImageBatches, split: Split, normalise: Any) -> None:
    """A batch beside torchvision's functions, given what was drawn for each image."""
    generator = torch.Generator()
    numbered = copy.copy(source)
    numbered._targets = torch.arange(source.samples)
    (inputs, rows) = next(numbered.epoch(0)).tensors()
    generator.manual_seed(hashed_seed(source.seed, 0))
    order = torch.randperm(source.samples, generator=generator)
    mirrored, down, right, *_ = source._draw(generator, order, 0)
    assert torch.equal(rows, order[: len(rows)])
    for index in range(64):
        image = split.inputs[rows[index]]
        image = v2.functional.horizontal_flip(image) if mirrored[index] else image
        image = v2.functional.crop(v2.functional.pad(image, [4]), int(4 - down[index]), int(4 - right[index]), 32, 32)
        torch.testing.assert_close(inputs[index], normalise(image), rtol=1e-5, atol=1e-5)


@pytest.mark.benchmark
def test_the_data_pipeline(capfd: pytest.CaptureFixture[str]) -> None:
    split = images(TRAINING_IMAGES)
    mean, std = mean_and_deviation(split.inputs)
    normalise = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize((mean / 255).tolist(), (std / 255).tolist())]
    )
    transform = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4), normalise])

    def ours(batch_size: int) -> ImageBatches:
        return ImageBatches(split, mean, std, CPU, 0, True, True, batch_size=batch_size, flip=True, shift=4)

    source = ours(512)
    assert_same_crops(source, split, normalise)
    part = Split(split.inputs[:10_240], split.targets[:10_240])  # a fifth of an epoch, for it takes long
    loader = DataLoader(PerImage(part, transform), batch_size=512, shuffle=True, num_workers=2)

    def through(start: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in start():
                pass

        return run

    seconds = medians({"dlkit": through(lambda: source.epoch(0)), "DataLoader, v2": through(loader.__iter__)})
    rates = {
        "dlkit": TRAINING_IMAGES / seconds["dlkit"],
        "DataLoader, v2": len(part.targets) / seconds["DataLoader, v2"],
    }

    small = ours(128)
    model = resnet20((3, 32, 32), 10).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = Momentum(parameter_groups(model), lr=0.01)
    batch = next(small.epoch(0))

    def step() -> None:
        with autocast("bf16", CPU):
            loss = F.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    alone = medians({"loading": through(lambda: small.epoch(0)), "step": step})
    training = len(small) * alone["step"]
    with capfd.disabled():
        print(f"\naugmented CIFAR-10, batch 512, {THREADS} threads, median of {REPEATS}")
        for name, rate in rates.items():
            print(f"  {name:16} {rate:9,.0f} images/s  {rate / rates['DataLoader, v2']:6.1f}x")
        print(f"  loading takes {alone['loading'] / training:.2%} of a ResNet-20 epoch in bf16, batch 128:", end=" ")
        print(f"{alone['loading']:.2f} of {training:.0f} s ({TRAINING_IMAGES / training:,.0f} images/s)")


# ---------------------------------------------------------------------- ResNet-18


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, precision: str, batch: Any
) -> Callable[[], Tensor]:
    def step() -> Tensor:
        with autocast(precision, CPU):
            loss = F.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore")
def test_resnet18(capfd: pytest.CaptureFixture[str]) -> None:
    import timm
    import torchvision

    batch_size, last = 128, torch.channels_last
    split = images(batch_size)
    batch = (split.inputs.float().div(255).contiguous(memory_format=last), split.targets)
    torch.manual_seed(0)
    ours = ResNet((3, 32, 32), 10, depths=(2, 2, 2, 2), widths=(64, 128, 256, 512), shortcut="B")
    plain: Any = torchvision.models.resnet18(num_classes=10)
    plain.conv1, plain.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    other: Any = timm.create_model("resnet18", num_classes=10)
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    for twin in (plain, other):
        twin.load_state_dict(ours.state_dict())
        load_weights(ours, translate(twin.state_dict(), ours))
    lr = 1e-3
    steps: dict[str, Callable[[], Tensor]] = {}
    for name, precision in (("dlkit fp32", "fp32"), ("dlkit bf16 (auto)", "bf16")):
        model = copy.deepcopy(ours).to(memory_format=last)  # pyright: ignore[reportCallIssue]
        steps[name] = training_step(model, Momentum(model.parameters(), lr=lr), precision, batch)
    for name, model in (("torchvision bf16", plain), ("timm bf16", other)):
        model = model.to(memory_format=last)
        fused = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, fused=True)
        steps[name] = training_step(model, fused, "bf16", batch)
    first = {name: step() for name, step in steps.items()}
    for name, loss in first.items():
        torch.testing.assert_close(loss, first["dlkit fp32"], rtol=2e-2, atol=2e-2, msg=name)
    seconds = medians(steps)
    best = min(seconds["torchvision bf16"], seconds["timm bf16"])
    with capfd.disabled():
        print(f"\nResNet-18, 32x32, batch {batch_size}, {THREADS} threads, median of {REPEATS}")
        for name, value in seconds.items():
            print(
                f"  {name:18} {batch_size / value:6.1f} images/s  {seconds['dlkit fp32'] / value:5.2f}x dlkit fp32",
                end="",
            )
            print(f"  {best / value:5.2f}x the best of the others")
