"""The encoded images of a data set's rows, decoded one at a time as all images are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dlkit.data.images.decoding import DamagedImageError, decode_image
from dlkit.data.images.stream_order import UNIFORM


class ArrowImages:
    """Images in rows that are mapped into memory: the bytes of a file, or its path.

    Args:
        rows: a `datasets.Dataset` with one column, as Arrow.
        called: what a message calls them.
        size: side of the images, as in `shape`.
    """

    def __init__(self, rows: Any, called: str, size: int) -> None:
        self.rows, self.called, self.size = rows, called, size
        self.shape = (len(rows), 3, size, size)

    def name(self, row: int) -> str:
        path = self._value(row).get("path")
        return path if path and Path(path).is_absolute() else f"{self.called}, row {row + 1}"

    def image(self, row: int) -> Image.Image:
        value = self._value(row)
        if isinstance(value.get("bytes"), bytes):
            return decode_image(value["bytes"], self.name(row))
        if value.get("path"):
            return decode_image(Path(value["path"]), self.name(row))
        raise DamagedImageError(f"{self.name(row)}: no bytes of an image")

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self.rows), generator=generator)

    def randomness(self) -> str:
        return UNIFORM

    def _value(self, row: int) -> dict[str, Any]:
        value = self.rows[row].column(0)[0].as_py()
        return {"bytes": value} if isinstance(value, bytes) else value or {}
