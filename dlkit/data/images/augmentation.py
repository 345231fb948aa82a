"""Augmentation: pure functions of a batch of images and of one parameter per image.

Legend: N images, C channels, H rows, W columns. Every function keeps the dtype and the memory format (contiguous or
channels_last), works on whole batches and never synchronizes. Images must be dense, without gaps in memory. Blocks of
memory are copied by `index_select`, which on a CPU is 5 to 20 times as fast as advanced indexing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def take(images: Tensor, rows: Tensor) -> Tensor:
    """images[rows], (n, C, H, W), copied in blocks for either memory format."""
    flat = images.as_strided((len(images), images.stride(0)), (images.stride(0), 1))  # (N, C H W), in memory order
    return flat.index_select(0, rows).as_strided((len(rows), *images.shape[1:]), images.stride())  # (n, C, H, W)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Flip the images horizontally for which `mirrored`, (N,) bool, is true."""
    both = torch.cat((images, images.flip(-1)))  # (2N, C, H, W)
    return take(both, torch.arange(len(images), device=images.device) + len(images) * mirrored)  # (N, C, H, W)


def alternating(seen_first: Tensor, epoch: int) -> Tensor:
    """Which images to flip in an epoch, (N,) bool: those of `seen_first`, (N,) bool, in even epochs, else the others.

    Any two consecutive epochs show each image both ways (Jordan 2024, arXiv:2404.00498, section 3.6).
    """
    return seen_first ^ bool(epoch % 2)


def shift(images: Tensor, down: Tensor, right: Tensor, limit: int, *, mirrored: bool = False) -> Tensor:
    """Shift each image by (down, right) pixels, each (N,) int64 in -limit..limit.

    Pixels from beyond the border are 0, or with `mirrored` reflected at the border. This is "pad by `limit` and crop at
    random" (He et al. 2016, arXiv:1512.03385).
    """
    count, channels, height, width = images.shape
    # channels_last images are (N, H, W, C) in memory: pixels of C values; else there are C planes of single values
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    larger = padded(images, limit, mirrored=mirrored)  # (N, C, H + 2 limit, W + 2 limit)
    larger = larger.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    size, plane, line, pixel = larger.stride()
    # a crop of a padded image is a block of memory that begins at its first pixel, with gaps that are removed below
    begin = size * torch.arange(count, device=images.device) + line * (limit - down) + pixel * (limit - right)  # (N,)
    block = plane * (channels - 1) + line * (height - 1) + pixel * (width - 1) + 1
    blocks = larger.as_strided((size * count - block + 1, block), (1, 1)).index_select(0, begin)  # (N, block)
    crops = blocks.as_strided((count, channels, height, width), (block, plane, line, pixel))  # (N, C, H, W), gaps
    return crops.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def padded(images: Tensor, limit: int, *, mirrored: bool = False) -> Tensor:
    """Images padded by `limit` pixels, (N, C, H + 2 limit, W + 2 limit), with zeros or by reflection."""
    if not mirrored:
        return F.pad(images, (limit,) * 4)
    rows, columns = (_mirrored(length, limit, images.device) for length in images.shape[2:])
    return images.index_select(2, rows).index_select(3, columns)


def crop_corners(
    mirrored: Tensor, down: Tensor, right: Tensor, limit: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Where `crops` reads the result of `flip` and `shift` in a padded image: (top, left, step), each (N,) int64.

    Row h is row top + h of the padded image, and column w is its column left + step w.
    """
    # if flipped, column w of the shifted image is column W - 1 - (w - right) of the original
    left = torch.where(mirrored, width - 1 + limit + right, limit - right)
    return limit - down, left, 1 - 2 * mirrored.long()


def crops(images: Tensor, rows: Tensor, top: Tensor, left: Tensor, step: Tensor, height: int, width: int) -> Tensor:
    """Flipped and shifted images[rows], (n, C, height, width) channels_last, from `padded` images (N, C, ...).

    A single kernel on a GPU, in place of thirty whose launches would dominate.
    """
    across, along = (torch.arange(length, device=images.device) for length in (height, width))
    y = top[:, None] + across  # (n, H)
    x = torch.addcmul(left[:, None], step[:, None], along)  # (n, W)
    pixels = images.permute(0, 2, 3, 1)  # (N, H + 2 limit, W + 2 limit, C)
    return pixels[rows[:, None, None], y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)  # (n, C, H, W)


def cutout(images: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Set a square of `side` pixels around (row, column), each (N,) int64, to 0, clipped to the image.

    Cutout (DeVries & Taylor 2017, arXiv:1708.04552), on normalised images: 0 is the mean of the training split.
    """
    inside_row = _near(row, images.shape[2], side)[:, None, :, None].to(images.dtype)  # (N, 1, H, 1)
    inside_column = _near(column, images.shape[3], side)[:, None, None, :].to(images.dtype)  # (N, 1, 1, W)
    inside_column = spread(inside_column, images)  # (N, C, 1, W)
    # x' = x - x r c, where r and c are 1 inside the square's rows and columns and 0 elsewhere
    return torch.addcmul(images, images * inside_row, inside_column, value=-1)  # (N, C, H, W)


def mixup(images: Tensor, share: Tensor) -> Tensor:
    """Blend each image with the previous one of the batch; `share`, a scalar in [0, 1], is its own weight.

    Images are in floating point. The loss must be blended alike. Zhang et al., arXiv:1710.09412.
    """
    # x'_n = lambda x_n + (1 - lambda) x_(n-1)
    return torch.lerp(_before(images), images, share.to(images.dtype))


def cutmix(images: Tensor, share: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of the previous image of the batch into each image; also returns each image's remaining share.

    The rectangle has the image's aspect ratio and 1 - share of its area, and is centred at (row, column) and clipped to
    the image. `share` in [0, 1], and `row` and `column`, int64, are scalars. Yun et al., arXiv:1905.04899.
    """
    height, width = images.shape[2:]
    side = (1 - share).sqrt()
    inside_row = _near(row.view(1), height, (height * side).long())[:, None, :, None]  # (1, 1, H, 1)
    inside_column = _near(column.view(1), width, (width * side).long())[:, None, None, :]  # (1, 1, 1, W)
    inside = inside_row & inside_column  # (1, 1, H, W)
    own = 1 - inside_row.float().mean() * inside_column.float().mean()
    return torch.where(inside, _before(images), images, out=torch.empty_like(images)), own


def resize(images: Tensor, side: int) -> Tensor:
    """Resize images (N, C, H, W) in floating point to (N, C, side, side), bilinearly with antialiasing, if need be."""
    if images.shape[2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x - mean) / std in float32. `mean` and `std` broadcast with (N, C, H, W): see `spread`."""
    # x' = (x - mean) / std
    return images.to(torch.float32, copy=True).sub_(mean).div_(std)


def spread(values: Tensor, images: Tensor) -> Tensor:
    """`values`, (n, 1 or C, 1, 1 or W), expanded to C and W in memory if `images` are channels_last.

    There C is innermost, and a kernel that broadcasts along C alone would process three values at a time.
    """
    if images.is_contiguous():
        return values
    shape = (len(values), images.shape[1], 1, images.shape[3])
    return values.expand(shape).contiguous(memory_format=torch.channels_last)


def beta(alpha: float | Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha), (count,) float32, with `alpha` a number or (count,); 1/2 where alpha is 0."""
    # lambda = a / (a + b), where a, b ~ Gamma(alpha)
    shape = torch.as_tensor(alpha, dtype=torch.float64).expand(2, count).contiguous()
    a, b = torch._standard_gamma(shape, generator=generator)
    return (a / (a + b)).nan_to_num(0.5).float()


def _before(images: Tensor) -> Tensor:
    """The images rotated by one: before each image its predecessor, before the first the last."""
    return take(images, torch.arange(-1, len(images) - 1, device=images.device) % len(images))


def _mirrored(length: int, limit: int, device: torch.device) -> Tensor:
    """Positions -limit..length + limit - 1, (length + 2 limit,), reflected at the first and the last."""
    period = max(2 * (length - 1), 1)
    position = torch.arange(-limit, length + limit, device=device) % period
    return torch.minimum(position, period - position) if length > 1 else torch.zeros_like(position)


def _near(centre: Tensor, length: int, side: int | Tensor) -> Tensor:
    """Which of `length` positions are among the `side` ones around each centre, (N, length) bool."""
    offset = torch.arange(length, device=centre.device) - centre[:, None] + side // 2  # (N, length)
    return (offset >= 0) & (offset < side)
