"""Each augmentation against its definition, in both memory formats and both types."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.data.augmentation import cutout, flip, normalise, shift, spread, take

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
