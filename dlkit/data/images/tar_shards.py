"""Images in tar archives, read in place: WebDataset shards, with the index that `dlkit download` makes.

DIR/imagenet22k-train-0000.tar ...     members KEY.jpg, KEY.cls and more
DIR/train-index.npy                    shard, offset in bytes, size in bytes and class of each image
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

_WINDOW = 65_536  # images among which each is shuffled: 7 GB of archives, which fit into the page cache


class TarImages:
    """The images of one split.

    Args:
        files: the shards, in the order of the index.
        index: the index file, which is mapped into memory: 280 MB for fourteen million images.
        size: side of the images, as in `shape`.
    """

    def __init__(self, files: list[str], index: Path, size: int) -> None:
        self.files, self.index, self.size = files, index, size
        try:
            self._rows = np.load(index, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DlkitError(f"cannot read {index}: {error}", "dlkit download NAME --verify repairs it") from error
        self.shape = (len(self._rows), 3, size, size)

    def __reduce__(self) -> Any:  # each worker process maps the index itself
        return type(self), (self.files, self.index, self.size)

    @property
    def labels(self) -> np.ndarray:
        """Class index of each image, (N,) int64."""
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
        """A `windowed_shuffle` of all images, (N,), so that only a part of the archives is read at a time."""
        counts = np.bincount(self._rows["shard"], minlength=len(self.files)).tolist()
        return windowed_shuffle(counts, _WINDOW, generator)

    def randomness(self) -> str:
        return describe_shuffle(len(self._rows), _WINDOW)
