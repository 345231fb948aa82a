"""Streamed images beside the loader of torchvision's reference scripts, on generated JPEGs of ImageNet's mean size.

    pytest -m benchmark tests/benchmarks/test_imagenet.py -s

Both sides decode in two worker processes, with the same transforms, and take turns; the table shows medians.
"""

from __future__ import annotations

import functools
import io
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from dlkit.data.batch import Batch
from dlkit.data.images.imagenet import imagenet
from dlkit.data.images.streaming import StreamedImages

REPEATS, IMAGES, BATCH = 7, 320, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of images of 400x350, smooth with some grain: 110 KB each."""
    root = tmp_path_factory.mktemp("imagenet")
    generator = np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 14, 3), dtype=np.uint8)).resize((400, 350))
        grain = generator.normal(0, 22, (350, 400, 3))
        pixels = (np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)
        file = root / "train" / ("a", "b")[index % 2] / f"{index:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
        file.write_bytes(stream.getvalue())
    return root


def reference(tree: Path, training: bool) -> DataLoader[Any]:
    """As torchvision's references/classification: ImageFolder, its presets, a DataLoader."""
    first: list[Any] = [v2.Resize(232, antialias=True), v2.CenterCrop(224)]
    if training:
        first = [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
    last = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    folder = ImageFolder(str(tree / "train"), v2.Compose([*first, *last]))
    return DataLoader(folder, batch_size=BATCH, shuffle=training, num_workers=2)


def memory() -> int:
    """Bytes that this process and its workers hold."""
    processes = [os.getpid(), *(child.pid or 0 for child in multiprocessing.active_children())]
    pages = (int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes)
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def drained(start: Callable[[], Iterator[Any]]) -> tuple[float, int]:
    """Seconds that an epoch takes, and the most bytes held meanwhile."""
    begin, most = time.perf_counter(), 0
    for _ in start():
        most = max(most, memory())
    return time.perf_counter() - begin, most


@pytest.mark.benchmark
def test_streamed_images(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = imagenet(path=tree)
    arguments = (dataset.splits["train"], dataset.mean, dataset.std, torch.device("cpu"), 0)
    for (ours, labels), (theirs, right) in zip(
        map(Batch.tensors, StreamedImages(*arguments, False, batch_size=BATCH, workers=2).epoch(0)),
        reference(tree, False),
        strict=True,
    ):
        assert torch.equal(labels, right)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    source = StreamedImages(*arguments, True, batch_size=BATCH, workers=2)
    loader = reference(tree, True)
    times: dict[str, list[float]] = {"dlkit": [], "torchvision": []}
    held: list[int] = []
    for repeat in range(REPEATS + 1):
        # a DataLoader's workers begin as soon as it is asked for an iterator
        for name, start in (("dlkit", functools.partial(source.epoch, repeat)), ("torchvision", loader.__iter__)):
            seconds, most = drained(start)
            if repeat:
                times[name].append(seconds)
            if name == "dlkit" and repeat:
                held.append(most)
    mean_size = statistics.mean(file.stat().st_size for file in tree.rglob("*.jpg"))
    median = {name: statistics.median(values) for name, values in times.items()}
    with capfd.disabled():
        cores = len(os.sched_getaffinity(0))
        print(
            f"\n{IMAGES} JPEGs of 400x350, {mean_size / 1000:.0f} KB, batch {BATCH}, 2 workers, {cores} cores", end=", "
        )
        print(f"median of {REPEATS} epochs")
        for name, value in median.items():
            print(f"  {name:12} {IMAGES / value:7.0f} images/s")
        ratios = sorted(b / a for a, b in zip(*times.values(), strict=True))
        print(f"  {statistics.median(ratios):.2f}x as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        print(f"  most memory in each epoch, MB: {' '.join(f'{most / 1e6:.0f}' for most in held)}")
