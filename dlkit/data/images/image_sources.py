"""Sources of images that are decoded one at a time: image files, and arrays; see also `parquet_shards`, `tar_shards`.

A source has the `shape` that its images will have once they are cropped, (N, 3, size, size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from dlkit.data.images.decoding import decode_image
from dlkit.data.images.stream_order import UNIFORM


class ImageSource(Protocol):
    """Images by row.

    `name` is for messages, `order` draws the rows of an epoch, (N,), and `randomness` describes that order.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    def name(self, row: int) -> str: ...
    def image(self, row: int) -> Image.Image: ...
    def order(self, generator: torch.Generator) -> Tensor: ...
    def randomness(self) -> str: ...


@dataclass
class ImageFiles:
    """Image files, one per row."""

    paths: Sequence[str]
    size: int

    def __post_init__(self) -> None:
        self.shape = (len(self.paths), 3, self.size, self.size)

    def name(self, row: int) -> str:
        return self.paths[row]

    def image(self, row: int) -> Image.Image:
        return decode_image(Path(self.paths[row]), self.paths[row])

    def order(self, generator: torch.Generator) -> Tensor:
        """A random permutation of all rows, (N,)."""
        return torch.randperm(len(self.paths), generator=generator)

    def randomness(self) -> str:
        return UNIFORM


@dataclass
class ImageArray:
    """Decoded images, (N, 3, H, W) uint8."""

    pixels: Tensor

    def __post_init__(self) -> None:
        self.shape = tuple(self.pixels.shape)

    def name(self, row: int) -> str:
        return f"image {row}"

    def image(self, row: int) -> Image.Image:
        return Image.fromarray(self.pixels[row].permute(1, 2, 0).numpy())

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self.pixels), generator=generator)

    def randomness(self) -> str:
        return UNIFORM


class SelectedImages:
    """Some rows of another source, such as those that are held out.

    Args:
        source: the images.
        rows: of these, (n,) int64, in the order of the new ones.
    """

    def __init__(self, source: ImageSource, rows: Tensor) -> None:
        self.source, self.rows = source, rows
        self.shape = (len(rows), *source.shape[1:])

    def name(self, row: int) -> str:
        return self.source.name(int(self.rows[row]))

    def image(self, row: int) -> Image.Image:
        return self.source.image(int(self.rows[row]))

    def order(self, generator: torch.Generator) -> Tensor:
        """The rows in the order in which the source would read them, (n,)."""
        place = torch.full((self.source.shape[0],), -1)
        place[self.rows] = torch.arange(len(self.rows))
        order = place[self.source.order(generator)]
        return order[order >= 0]

    def randomness(self) -> str:
        return self.source.randomness()
