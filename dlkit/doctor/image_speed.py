"""Training image classifiers beside twins in bare torch: ResNet-18, ResNet-50, the network of airbench94."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.doctor import training
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.clock import Work, in_turns
from dlkit.doctor.comparison import beside
from dlkit.doctor.finding import Finding
from dlkit.doctor.twins import loops
from dlkit.doctor.twins.convolutional import FastCNN, ResNet
from dlkit.recipe import Recipe
from dlkit.tasks.array_data import ArrayData


def resnet18(bench: Bench) -> Iterator[Finding]:
    """ResNet-18 on CIFAR-10's shape, with crops and flips."""
    batch, images = bench.sized(gpu=(512, 10_000), cpu=(8, 64))
    depths, widths = (2, 2, 2, 2), bench.sized(gpu=(64, 128, 256, 512), cpu=(8, 16, 16, 32))
    changes = [f"data.batch_size={batch}", f"model.widths={list(widths)}", *training.quiet()]
    recipe = loaded("cifar10-resnet18", changes, steps=training.ENDLESS, precision=training.reduced(bench))
    data = random_images(images, 32, 10)
    yield _images(bench, f"{bench.small}ResNet-18, 32 pixels", recipe, data, lambda: ResNet(depths, widths, 10), pad=4)


def fast_cnn(bench: Bench) -> Iterator[Finding]:
    """The network, batch and optimizer of airbench94, an epoch of 50,000 images a call."""
    batch, images = bench.sized(gpu=(1024, 50_000), cpu=(32, 64))
    widths = bench.sized(gpu=(64, 256, 256), cpu=(8, 16, 16))
    changes = ["data.name=cifar10", f"data.batch_size={batch}", "data.flip=true", "data.shift=2", "data.border=mirror"]
    changes += [f"model.widths={list(widths)}", *training.quiet()]
    recipe = loaded("images-fast", changes, steps=training.ENDLESS, precision=training.reduced(bench))
    steps = images // batch
    yield _images(
        bench,
        f"{bench.small}fast CNN, 32 pixels",
        recipe,
        random_images(images, 32, 10),
        lambda: FastCNN(widths, 10),
        pad=2,
        calls=steps,
        unit="epochs/s",
        amount=1.0,
    )


def resnet50(bench: Bench) -> Iterator[Finding]:
    """ResNet-50 on ImageNet's shape."""
    batch, side, images = bench.sized(gpu=(256, 224, 1024), cpu=(2, 64, 16))
    depths, widths = (3, 4, 6, 3), bench.sized(gpu=(64, 128, 256, 512), cpu=(8, 16, 16, 32))
    changes = ["data.name=cifar10", f"data.batch_size={batch}", "model.name=resnet", *training.quiet()]
    changes += ["model.stem=conv7", "model.block=bottleneck", "model.shortcut=B"]
    changes += [f"model.depths={list(depths)}", f"model.widths={list(widths)}"]
    recipe = loaded("imagenet-resnet50", changes, steps=training.ENDLESS, precision=training.reduced(bench))
    yield _images(
        bench,
        f"{bench.small}ResNet-50, {side} pixels",
        recipe,
        random_images(images, side, 1000),
        lambda: ResNet(depths, widths, 1000, large=True, bottleneck=True),
        pad=0,
    )


def _images(
    bench: Bench,
    subject: str,
    recipe: Recipe,
    data: Dataset,
    network: Callable[[], nn.Module],
    *,
    pad: int,
    calls: int | None = None,
    unit: str = "images/s",
    amount: float | None = None,
) -> Finding:
    """An image classifier beside a twin with SGD and Nesterov's momentum."""
    steps = calls or bench.sized(gpu=10, cpu=1)
    batch: int = recipe.values["data"]["batch_size"]
    split = data.splits["train"]

    def twin() -> Work:
        model = network().to(bench.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learned, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
        images = normalised(split.inputs, data, bench)
        batches = loops.image_batches(images, split.targets.to(bench.device), batch, pad)
        return loops.training_step(model, optimizer, batches, dtype=training.dtype(bench), smoothing=0.1)

    ways = {
        "dlkit": training.stepper(bench, recipe, ArrayData(data), steps),
        "bare torch": training.repeated(twin, steps),
    }
    times = in_turns(ways, bench.device, training.rounds(bench), warm_up=1 if calls else 3)
    return beside(bench, subject, times, amount or steps * batch, unit, training.GOAL)


def normalised(images: Tensor, data: Dataset, bench: Bench) -> Tensor:
    """(N, C, H, W) on the device, half as many bytes a number on a GPU, channels last."""
    mean, std = (value.view(1, -1, 1, 1).to(bench.device) for value in (data.mean, data.std))
    dtype = torch.half if bench.device.type == "cuda" else torch.float
    parts = [((part.to(bench.device) - mean) / std).to(dtype) for part in images.split(4096)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


def random_images(count: int, side: int, classes: int) -> Dataset:
    """A data set of noise."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    targets = torch.randint(classes, (count,), generator=generator)
    return make_dataset("noise", {"train": Split(inputs, targets)}, tuple(str(i) for i in range(classes)))
