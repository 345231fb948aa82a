"""A cache of resized images on disk, for machines whose few cores cannot decode as fast as the model trains."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from dlkit.data.images.decoding import DamagedImageError
from dlkit.data.images.image_sources import ImageSource
from dlkit.data.images.stream_order import UNIFORM
from dlkit.errors import DlkitError
from dlkit.processors import usable_cores
from dlkit.progress import stage

MARGIN = 256  # side of cached images, in pixels
_SQUARE_BYTES = MARGIN * MARGIN * 3
_CHUNK = 4096  # rows submitted to the thread pool at once


class ImageCache:
    """Images of another source, the shorter side resized to MARGIN and the centre cropped, as raw bytes on disk.

    Created at first use: 196 KB per image, mapped into memory. A damaged image is black, and listed in `damaged`.

    Args:
        source: the images.
        folder: of the cache file.

    Raises:
        DlkitError: the cache cannot be written, has no room on the disk, or is damaged.
    """

    def __init__(self, source: ImageSource, folder: Path) -> None:
        self.source = source
        self.shape = source.shape
        count = source.shape[0]
        digest = hashlib.sha256(f"{MARGIN} upright\n".encode())
        for row in range(count):
            digest.update(f"{source.name(row)}\n".encode())
        self.file = folder / f"images-{digest.hexdigest()[:24]}.uint8"
        self.damaged_file = self.file.with_suffix(".damaged")
        if not self.file.exists():
            self._make_once(count)
        if self.file.stat().st_size != count * _SQUARE_BYTES:
            raise DlkitError(f"the cache {self.file} is damaged", "remove it, and it is made again")
        self.damaged = self.damaged_file.read_text(encoding="utf-8").split("\n")[:-1]
        self._bad = {int(line.split("\t")[0]): line.split("\t", 1)[1] for line in self.damaged}

    def _make_once(self, count: int) -> None:
        """Create the cache, unless another process has created it meanwhile."""
        temporary = self.file.with_suffix(".tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.file.with_suffix(".lock")):
                if self.file.exists():
                    return
                try:
                    self._make(count, temporary)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        except OSError as error:
            gigabytes = count * _SQUARE_BYTES / 1e9
            raise DlkitError(
                f"cannot write the cache {self.file}, {gigabytes:.1f} GB: {error.strerror}",
                "free some space, or leave out data.cache",
            ) from error

    def _make(self, count: int, temporary: Path) -> None:
        damaged: list[str] = []
        with temporary.open("wb") as file:
            # allocate it all: writing to a mapped page without room on the disk would kill the process
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, count * _SQUARE_BYTES)
            else:
                for _ in range(count):
                    file.write(bytes(_SQUARE_BYTES))
        pixels = np.memmap(temporary, np.uint8, "r+", shape=(count, MARGIN, MARGIN, 3))

        def store(row: int) -> None:
            try:
                pixels[row] = np.asarray(_square(self.source.image(row)))
            except DamagedImageError as error:
                damaged.append(f"{row}\t{error}")

        with stage("caching images", count) as advance, ThreadPoolExecutor(usable_cores()) as pool:
            for begin in range(0, count, _CHUNK):  # the pool keeps an object for each submitted row
                for _ in pool.map(store, range(begin, min(begin + _CHUNK, count))):
                    advance(1)
        pixels.flush()
        self.damaged_file.write_text("".join(f"{line}\n" for line in sorted(damaged)), encoding="utf-8")
        temporary.replace(self.file)

    def name(self, row: int) -> str:
        return self.source.name(row)

    def image(self, row: int) -> Image.Image:
        if row in self._bad:
            raise DamagedImageError(self._bad[row])
        pixels = np.memmap(self.file, np.uint8, "r", offset=row * _SQUARE_BYTES, shape=(MARGIN, MARGIN, 3))
        return Image.fromarray(np.array(pixels))

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self.shape[0], generator=generator)

    def randomness(self) -> str:
        return UNIFORM


def _square(image: Image.Image) -> Image.Image:
    """The centre square, resized to (MARGIN, MARGIN)."""
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return image.resize((MARGIN, MARGIN), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
