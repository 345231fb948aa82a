"""Images in tar archives, read where they lie: WebDataset shards, and the index that `dlkit download` makes of them.

DIR/imagenet22k-train-0000.tar ...     members KEY.jpg, KEY.cls and more
DIR/train-index.npy                    for each image: its shard, offset and size in bytes, class
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlkit.data.images.decoding import DamagedImageError, decode_image
from dlkit.data.images.stream_order import describe_shuffle, windowed_shuffle
from dlkit.errors import DlkitError

_WINDOW = 65_536  # images among which each is mixed: 7 GB of archives, which stay in the system's memory


class TarImages:
    """The images of one split.

    Args:
        files: the shards, in the order of the index.
        index: the file of the index, mapped into memory: fourteen million images are 280 MB.
        size: as in `shape`.
    """

    def __init__(self, files: list[str], index: Path, size: int) -> None:
        self.files, self.index, self.size = files, index, size
        try:
            self._rows = np.load(index, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DlkitError(f"cannot read {index}: {error}", "dlkit download NAME --verify repairs it") from error
        self.shape = (len(self._rows), 3, size, size)

    def __reduce__(self) -> Any:  # each worker maps the index itself
        return type(self), (self.files, self.index, self.size)

    @property
    def labels(self) -> np.ndarray:
        """Class of each image, (N,) int64."""
        return self._rows["label"].astype(np.int64)

    def name(self, row: int) -> str:
        return f"{self.files[self._rows['shard'][row]]}, byte {self._rows['offset'][row]}"

    def image(self, row: int) -> Image.Image:
        shard, offset, size, _ = self._rows[row].item()
        try:
            with Path(self.files[shard]).open("rb", buffering=0) as file:
                file.seek(offset)
                return decode_image(file.read(size), self.name(row))
        except OSError as error:
            raise DamagedImageError(f"{self.name(row)}: {error.strerror}") from error

    def order(self, generator: torch.Generator) -> Tensor:
        """All images, each once, `mixed_order` of the shards: the disk reads a part of the archives at a time. (N,)"""
        counts = np.bincount(self._rows["shard"], minlength=len(self.files)).tolist()
        return windowed_shuffle(counts, _WINDOW, generator)

    def randomness(self) -> str:
        return describe_shuffle(len(self._rows), _WINDOW)
