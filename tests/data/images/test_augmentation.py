"""Each augmentation against its definition, in both memory formats and both types."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.data.images.augmentation import alternating, cutmix, cutout, flip, mixup, normalise, shift, spread, take

FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(6, 3, 8, 10), (1, 3, 5, 5), (5, 1, 8, 8), (4, 2, 1, 7), (4, 3, 1, 1)]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


@pytest.fixture(params=FORMATS, ids=["contiguous", "channels_last"])
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return request.param


@pytest.fixture(params=[torch.uint8, torch.float32], ids=["uint8", "float32"])
def images(request: pytest.FixtureRequest, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, shape, generator=generator).to(request.param).contiguous(memory_format=layout)


def check(result: Tensor, expected: Tensor, images: Tensor, layout: torch.memory_format) -> None:
    assert torch.equal(result, expected)
    assert result.dtype == images.dtype
    assert result.is_contiguous(memory_format=layout)


def test_take(images: Tensor, layout: torch.memory_format) -> None:
    rows = torch.tensor([0, len(images) - 1, 0])
    check(take(images, rows), images[rows], images, layout)


def test_flip(images: Tensor, layout: torch.memory_format) -> None:
    before = images.clone()
    mirrored = torch.arange(len(images)) % 2 == 0
    expected = images.clone()
    expected[mirrored] = images[mirrored].flip(-1)
    check(flip(images, mirrored), expected, images, layout)
    assert torch.equal(images, before)


@pytest.mark.parametrize("limit", [1, 3])
def test_shift(images: Tensor, layout: torch.memory_format, limit: int) -> None:
    down = torch.randint(-limit, limit + 1, (len(images),), generator=torch.Generator().manual_seed(1))
    right = torch.randint(-limit, limit + 1, (len(images),), generator=torch.Generator().manual_seed(2))
    down[0], right[0] = limit, limit  # the ends of the memory block
    down[-1], right[-1] = -limit, -limit
    padded = F.pad(images, (limit,) * 4)
    height, width = images.shape[2:]
    expected = torch.stack(
        [p[:, limit - d : limit - d + height, limit - r : limit - r + width]
         for p, d, r in zip(padded, down.tolist(), right.tolist(), strict=True)]
    )  # fmt: skip
    check(shift(images, down, right, limit), expected, images, layout)


def test_shift_moves_down_and_right() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 1, 1] = 5
    moved = shift(image, torch.tensor([2]), torch.tensor([1]), 2)
    assert moved[0, 0, 3, 2] == 5
    assert moved.count_nonzero() == 1


@pytest.mark.parametrize("side", [1, 2, 5, 40])
def test_cutout(images: Tensor, layout: torch.memory_format, side: int) -> None:
    images = images.float()
    generator = torch.Generator().manual_seed(1)
    row = torch.randint(images.shape[2], (len(images),), generator=generator)
    column = torch.randint(images.shape[3], (len(images),), generator=generator)
    before, expected = images.clone(), images.clone()
    for image, i, j in zip(expected, row.tolist(), column.tolist(), strict=True):
        top, left = i - side // 2, j - side // 2
        image[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0
    check(cutout(images, row, column, side), expected, images, layout)
    assert torch.equal(images, before)


def test_normalise(images: Tensor, layout: torch.memory_format) -> None:
    before = images.clone()
    channels = images.shape[1]
    mean, std = torch.arange(1.0, channels + 1), torch.arange(2.0, channels + 2)
    result = normalise(images, *(spread(v[None, :, None, None], images) for v in (mean, std)))
    expected = (images.float() - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(result, expected)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)


@pytest.mark.parametrize("limit", [1, 3])
def test_shift_with_a_mirrored_border(images: Tensor, layout: torch.memory_format, limit: int) -> None:
    height, width = images.shape[2:]
    down = torch.randint(-limit, limit + 1, (len(images),), generator=torch.Generator().manual_seed(1))
    right = torch.randint(-limit, limit + 1, (len(images),), generator=torch.Generator().manual_seed(2))

    def reflected(position: int, length: int) -> int:
        while not 0 <= position < length:
            position = 0 if length == 1 else -position if position < 0 else 2 * (length - 1) - position
        return position

    expected = images.clone()
    for n, (d, r) in enumerate(zip(down.tolist(), right.tolist(), strict=True)):
        rows = [reflected(i - d, height) for i in range(height)]
        columns = [reflected(j - r, width) for j in range(width)]
        expected[n] = images[n][:, rows][:, :, columns]
    check(shift(images, down, right, limit, mirrored=True), expected, images, layout)
    if limit < min(height, width):  # torch's own padding refuses more
        padded = F.pad(images.float(), (limit,) * 4, "reflect")
        zero = torch.zeros(len(images), dtype=torch.int64)
        crop = padded[..., :height, :width]
        assert torch.equal(shift(images, zero + limit, zero + limit, limit, mirrored=True).float(), crop)


def test_alternating_shows_both_sides_in_two_epochs() -> None:
    first = torch.tensor([True, False, True])
    for epoch in (0, 1, 4, 7):
        mirrored, next_time = alternating(first, epoch), alternating(first, epoch + 1)
        assert torch.equal(mirrored, ~next_time)
        assert torch.equal(mirrored, first) == (epoch % 2 == 0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup(images: Tensor, layout: torch.memory_format, share: float) -> None:
    images = images.float()
    expected = share * images + (1 - share) * images.roll(1, 0)
    result = mixup(images, torch.tensor(share))
    torch.testing.assert_close(result, expected)
    assert result.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("share", "row", "column"), [(0.5, 0, 0), (0.3, 3, 4), (1.0, 2, 2), (0.0, 4, 4), (0.9, 7, 9)])
def test_cutmix(images: Tensor, layout: torch.memory_format, share: float, row: int, column: int) -> None:
    height, width = images.shape[2:]
    row, column = min(row, height - 1), min(column, width - 1)
    result, own = cutmix(images, torch.tensor(share), torch.tensor(row), torch.tensor(column))
    high, wide = (int(length * (1 - share) ** 0.5 + 1e-6) for length in (height, width))
    top, left = row - high // 2, column - wide // 2
    expected, before = images.clone(), images.roll(1, 0)
    part = (slice(max(top, 0), max(top + high, 0)), slice(max(left, 0), max(left + wide, 0)))
    expected[:, :, *part] = before[:, :, *part]
    check(result, expected, images, layout)
    pasted = torch.zeros(height, width)
    pasted[part] = 1
    assert own.item() == pytest.approx(1 - pasted.mean().item(), abs=1e-6)
