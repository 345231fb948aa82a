"""Batches: exact resume, every example once, normalisation, memory formats, augmentation as a function of the seed."""

from __future__ import annotations

import itertools
import typing
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.data.batch import Batch
from dlkit.data.dataset import Split, make_dataset, mean_and_deviation
from dlkit.data.epochs import mixed_seed
from dlkit.data.images import image_batches as module
from dlkit.data.images.image_batches import ImageBatches
from dlkit.data.row_batches import RowBatches
from dlkit.errors import RequestError

CPU = torch.device("cpu")


def image_split(count: int = 100, shape: tuple[int, int, int] = (3, 9, 11)) -> Split:
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count))


def row_split(count: int = 100) -> Split:
    rows = torch.randn(count, 5, generator=torch.Generator().manual_seed(3)) * 4 + 2
    return Split(rows, torch.arange(count))


def image_batches(split: Split, *, seed: int = 0, training: bool = True, last: bool = False, **keys: Any):
    return ImageBatches(split, *mean_and_deviation(split.inputs), CPU, seed, training, last, **keys)


def row_batches(split: Split, *, seed: int = 0, training: bool = True, **keys: Any) -> RowBatches:
    return RowBatches(split, *mean_and_deviation(split.inputs), CPU, seed, training, **keys)


def bytes_of(batches: RowBatches, epoch: int, start: int = 0) -> list[tuple[bytes, bytes]]:
    return [
        (x.contiguous().numpy().tobytes(), y.numpy().tobytes())
        for x, y in map(Batch.tensors, batches.epoch(epoch, start))
    ]


ALL = {"flip": True, "shift": 2, "cutout": 3}


@pytest.mark.parametrize("keys", [{}, ALL])
@pytest.mark.parametrize("last", [False, True])
def test_a_fresh_object_resumes_byte_for_byte(keys: dict[str, Any], last: bool) -> None:
    running = image_batches(image_split(), batch_size=13, last=last, **keys)
    epochs = [bytes_of(running, epoch) for epoch in range(4)]
    for start in (0, 1, 7, 8):
        fresh = image_batches(image_split(), batch_size=13, last=last, **keys)
        assert bytes_of(fresh, 3, start) == epochs[3][start:]
    assert len({epoch[0] for epoch in epochs}) == 4


def test_rows_resume_byte_for_byte() -> None:
    whole = bytes_of(row_batches(row_split(), batch_size=13), 3)
    assert len(whole) == 8
    assert bytes_of(row_batches(row_split(), batch_size=13), 3, 7) == whole[7:]
    assert bytes_of(row_batches(row_split(), batch_size=13), 3, 8) == []
    with pytest.raises(ValueError, match="start=9"):
        bytes_of(row_batches(row_split(), batch_size=13), 3, 9)


def test_neighbouring_seeds_and_epochs_share_no_order() -> None:
    orders = {
        (seed, epoch): tuple(
            torch.cat([y for _, y in map(Batch.tensors, row_batches(row_split(), seed=seed).epoch(epoch))]).tolist()
        )
        for seed, epoch in itertools.product(range(-1, 4), range(4))
    }
    assert len(set(orders.values())) == 20


@pytest.mark.parametrize(("size", "lengths"), [(30, [30, 30, 30, 10]), (100, [100]), (1000, [100]), ("full", [100])])
def test_every_example_comes_once(size: Any, lengths: list[int]) -> None:
    for training in (True, False):
        batches = row_batches(row_split(), training=training, batch_size=size)
        seen = [batch.targets for batch in batches.epoch(0)]
        assert [len(y) for y in seen] == lengths
        assert len(batches) == len(lengths)
        assert batches.samples == 100
        assert torch.cat(seen).sort().values.tolist() == list(range(100))
        assert (torch.cat(seen).tolist() == list(range(100))) is not training


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("limit", [0, 2**30])
def test_images_are_normalised_whether_at_once_or_by_batch(
    training: bool, last: bool, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NORMALISED_BYTES", limit)
    split = image_split()
    pixels = split.inputs.double()
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), correction=0, keepdim=True)
    expected = (pixels - mean) / std
    for x, y in map(Batch.tensors, image_batches(split, training=training, last=last, batch_size=32).epoch(5)):
        torch.testing.assert_close(x.double(), expected[y], atol=1e-5, rtol=0)
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert torch.equal(split.inputs, image_split().inputs)


def test_rows_are_normalised_and_constant_features_are_zero() -> None:
    rows = row_split().inputs
    rows[:, 2] = 0.1
    (batch,) = row_batches(Split(rows, torch.arange(100)), batch_size="full").epoch(0)
    expected = (rows - rows.mean(0)) / rows.std(0, correction=0)
    expected[:, 2] = 0
    torch.testing.assert_close(batch.inputs, expected[batch.targets])


def test_statistics_of_a_constant_channel() -> None:
    images = image_split().inputs
    images[:, 1] = 77
    mean, std = mean_and_deviation(images)
    assert mean[1] == 77
    assert std[1] == 1
    assert std[0].item() == pytest.approx(images[:, 0].double().std(correction=0).item())


def test_statistics_go_through_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    images = image_split().inputs
    whole = mean_and_deviation(images)
    monkeypatch.setattr("dlkit.data.dataset._CHUNK", 7)
    for ours, theirs in zip(mean_and_deviation(images), whole, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_as_a_loop_over_pixels_makes_them(last: bool, channels: int) -> None:
    split = image_split(40, (channels, 9, 11))
    batches = image_batches(split, last=last, batch_size=16, seed=5, **ALL)
    mean, std = (values[:, None, None] for values in mean_and_deviation(split.inputs))
    generator = torch.Generator().manual_seed(mixed_seed(5, 2))
    torch.randperm(40, generator=generator)
    mirrored, down, right, row, column = (values.tolist() for values in batches._draw(generator, torch.arange(40), 2))
    outputs = [(x, y) for x, y in map(Batch.tensors, batches.epoch(2))]
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in outputs if last)
    place = 0
    for x, y in outputs:
        for image, target in zip(x, y, strict=True):
            source = split.inputs[target]
            source = source.flip(2) if mirrored[place] else source
            expected = torch.zeros_like(image)
            for i, j in itertools.product(range(9), range(11)):
                a, b = i - down[place], j - right[place]
                inside = 0 <= a < 9 and 0 <= b < 11
                erased = -1 <= i - row[place] <= 1 and -1 <= j - column[place] <= 1
                pixel = source[:, a, b] if inside else torch.zeros(channels)
                expected[:, i, j] = 0 if erased else ((pixel[:, None, None] - mean) / std)[:, 0, 0]
            assert torch.equal(image, expected)
            place += 1
    assert place == 40


def test_augmentation_draws_its_whole_range() -> None:
    batches = image_batches(image_split(2000, (1, 4, 4)), shift=1, flip=True)
    mirrored, down, right, row, column = batches._draw(torch.Generator().manual_seed(0), torch.arange(2000), 0)
    assert 900 < mirrored.sum() < 1100
    for values, low, high in ((down, -1, 1), (right, -1, 1), (row, 0, 3), (column, 0, 3)):
        counts = (values - low).bincount()
        assert len(counts) == high - low + 1
        assert counts.min() > 0.8 * 2000 / len(counts)


def test_evaluation_is_never_augmented() -> None:
    plain = image_batches(image_split(), training=False)
    assert bytes_of(image_batches(image_split(), training=False, **ALL), 3) == bytes_of(plain, 0)


def test_augmentation_leaves_the_order_alone() -> None:
    plain, augmented = (image_batches(image_split(), batch_size=16, **keys) for keys in ({}, ALL))
    assert [y for _, y in bytes_of(plain, 1)] == [y for _, y in bytes_of(augmented, 1)]


def test_a_fingerprint_tells_content_apart() -> None:
    split = image_split(10)
    changed = Split(split.inputs.clone(), split.targets)
    changed.inputs[4, 0, 0, 0] ^= 1
    hashes = {make_dataset("x", {"train": s}, ("a", "b")).sources["sha256"] for s in (split, changed, image_split(10))}
    assert len(hashes) == 2


def test_annotations_resolve() -> None:
    hints = typing.get_type_hints(ImageBatches.__init__, include_extras=True)
    assert {"batch_size", "flip", "shift", "cutout"} <= set(hints)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize(
    "keys",
    [
        ALL,
        {"flip": True},
        {"shift": 2, "border": "mirror", "mixup": 0.3},
        {"flip": "alternating", "shift": 1, "border": "mirror", "cutmix": 1.0},
    ],
)
def test_a_gpu_gathers_the_same_images_in_few_kernels(
    keys: dict[str, Any], limit: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = image_batches(image_split(), last=last, batch_size=16, **keys)
    expected = [list(map(Batch.tensors, whole.epoch(n))) for n in (0, 1)]
    monkeypatch.setattr(module, "_GATHERED", ("cpu",))
    monkeypatch.setattr(module, "_NORMALISED_BYTES_GATHERED", limit)
    gathered = image_batches(image_split(), last=last, batch_size=16, **keys)
    for number, batches in enumerate(expected):
        for ours, theirs in zip(map(Batch.tensors, gathered.epoch(number)), batches, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert torch.equal(a, b)
                assert a.stride() == b.stride()
    plain = {key: value for key, value in keys.items() if key in ("flip", "shift", "border")}
    gathered = image_batches(image_split(), last=True, batch_size=16, **plain)
    epoch = gathered.epoch(0)
    next(epoch)
    with _Kernels() as kernels:
        next(epoch)
    assert kernels.count <= (6 if limit else 9)


class _Kernels(TorchDispatchMode):
    """Counts the operations that a GPU would launch a kernel for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count += not any(output.alias_info for output in func._schema.returns)
        return out


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_the_same_batches_without_waiting() -> None:
    split = image_split()
    statistics_ = mean_and_deviation(split.inputs)
    device = torch.device("cuda")
    there = ImageBatches(split, *statistics_, device, 0, True, True, batch_size=16, **ALL)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = list(map(Batch.tensors, there.epoch(1)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (x, y), (a, b) in zip(
        batches, map(Batch.tensors, image_batches(split, batch_size=16, **ALL).epoch(1)), strict=True
    ):
        torch.testing.assert_close(x.cpu(), a)
        assert torch.equal(y.cpu(), b)


@pytest.mark.parametrize("last", [False, True])
def test_images_grow(last: bool) -> None:
    keys: dict[str, Any] = {"batch_size": 25, "flip": True, "shift": 2}
    split = image_split(shape=(3, 16, 16))
    source = image_batches(split, last=last, start_size=8, grow_epochs=4, **keys)
    plain = image_batches(split, last=last, **keys)
    sides = [next(source.epoch(epoch)).inputs.shape[2:] for epoch in range(6)]
    assert sides == [(8, 8), (8, 8), (12, 12), (16, 16), (16, 16), (16, 16)]
    for (small, targets), (whole, same) in zip(
        map(Batch.tensors, source.epoch(0)), map(Batch.tensors, plain.epoch(0)), strict=True
    ):
        assert torch.equal(targets, same)
        # halving with antialiasing is the triangle filter of width 4: 1/8 3/8 3/8 1/8 along each side
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (taps[:, None] * taps).expand(3, 1, 4, 4)
        centre = small[..., 1:-1, 1:-1]
        inner = torch.nn.functional.conv2d(whole[..., 1:-1, 1:-1], kernel, stride=2, groups=3)  # (N, 3, 6, 6)
        torch.testing.assert_close(centre, inner, rtol=1e-4, atol=1e-5)
        assert small.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert bytes_of(source, 2, 3) == bytes_of(source, 2)[3:]
    evaluation = image_batches(split, training=False, start_size=8, grow_epochs=4)
    assert next(evaluation.epoch(0)).inputs.shape[2:] == (16, 16)


@pytest.mark.parametrize(("shape", "start"), [((3, 8, 8), 9), ((3, 8, 9), 4)])
def test_images_that_cannot_grow(shape: tuple[int, int, int], start: int) -> None:
    with pytest.raises(RequestError, match=f"data.start_size is {start}"):
        image_batches(image_split(shape=shape), start_size=start, grow_epochs=2)
