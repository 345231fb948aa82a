"""Images that stay compressed on disk until they are wanted: files, rows of Parquet shards, a cache of resized ones.

A source has the `shape` that its images will have, (N, 3, size, size), and decodes one row at a time.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from dlkit.errors import DlkitError
from dlkit.processors import cores
from dlkit.stages import stage

MARGIN = 256  # side of the images in a cache
_SQUARE_BYTES = MARGIN * MARGIN * 3
_CHUNK = 4096  # rows that are resized for a cache together
_KEPT_GROUPS = 2  # row groups of Parquet that a process keeps


class DamagedImageError(Exception):
    """An image that cannot be decoded: its name, and why."""


class Source(Protocol):
    """Images by row."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    def name(self, row: int) -> str: ...
    def image(self, row: int) -> Image.Image: ...
    def order(self, generator: torch.Generator) -> Tensor: ...


def decoded(data: bytes | Path, name: str) -> Image.Image:
    """An RGB image of a file's bytes, `flat`; of an animation the first frame. Raises DamagedImageError."""
    try:
        with Image.open(regular(data) if isinstance(data, Path) else io.BytesIO(data)) as image:
            return flat(image, "RGB")
    except Exception as error:
        raise DamagedImageError(f"{name}: {why(error)}") from error


def regular(file: Path) -> Path:
    """The file itself. Raises OSError if it is none: a pipe would be waited for."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a regular file")
    return file


def why(error: Exception) -> str:
    """The reason in one line: PIL raises a dozen kinds for a damaged file, SyntaxError and struct.error among them."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode of 8 bits a channel, L or RGB; transparent pixels are laid on white.

    Raises:
        ValueError: its numbers have no known range.
    """
    if image.mode.startswith("I"):  # 16 bits: the upper 8 are kept (PIL would clip)
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


@dataclass
class Files:
    """Image files, one a row."""

    paths: Sequence[str]
    size: int

    def __post_init__(self) -> None:
        self.shape = (len(self.paths), 3, self.size, self.size)

    def name(self, row: int) -> str:
        return self.paths[row]

    def image(self, row: int) -> Image.Image:
        return decoded(Path(self.paths[row]), self.paths[row])

    def order(self, generator: torch.Generator) -> Tensor:
        """A random order of all rows, (N,)."""
        return torch.randperm(len(self.paths), generator=generator)


@dataclass
class Pixels:
    """Images that are decoded already: (N, 3, H, W) uint8."""

    pixels: Tensor

    def __post_init__(self) -> None:
        self.shape = tuple(self.pixels.shape)

    def name(self, row: int) -> str:
        return f"image {row}"

    def image(self, row: int) -> Image.Image:
        return Image.fromarray(self.pixels[row].permute(1, 2, 0).numpy())

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self.pixels), generator=generator)


class Shards:
    """Rows of Parquet files with a column of encoded images, read one row group at a time.

    Args:
        files: the shards.
        column: of images: structs with a field `bytes`, or bytes.
        counts: rows of each group: (file, group, rows), in order.
        size: as in `shape`.
    """

    def __init__(self, files: Sequence[str], column: str, counts: Sequence[tuple[int, int, int]], size: int) -> None:
        self.files, self.column, self.counts = list(files), column, list(counts)
        self._ends = np.cumsum([rows for _, _, rows in self.counts])
        self.shape = (int(self._ends[-1]), 3, size, size)
        self._group = functools.lru_cache(_KEPT_GROUPS)(self._read)

    def __reduce__(self) -> Any:  # the open groups stay behind
        return type(self), (self.files, self.column, self.counts, self.shape[-1])

    def _place(self, row: int) -> tuple[int, int]:
        """The group of a row, and the row in it."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        return group, row - int(self._ends[group] - self.counts[group][2])

    def _read(self, group: int) -> Any:
        import pyarrow.parquet as pq

        file, number, _ = self.counts[group]
        return pq.ParquetFile(self.files[file]).read_row_group(number, columns=[self.column]).column(0)

    def name(self, row: int) -> str:
        group, within = self._place(row)
        return f"{self.files[self.counts[group][0]]}, row group {self.counts[group][1]}, row {within}"

    def image(self, row: int) -> Image.Image:
        group, within = self._place(row)
        value: Any = self._group(group)[within].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise DamagedImageError(f"{self.name(row)}: no bytes of an image")
        return decoded(data, self.name(row))

    def order(self, generator: torch.Generator) -> Tensor:
        """Row groups in random order, and the rows of each: a group is read once, and not all at once. (N,)"""
        parts: list[Tensor] = []
        for group in torch.randperm(len(self.counts), generator=generator).tolist():
            rows = self.counts[group][2]
            parts.append(int(self._ends[group]) - rows + torch.randperm(rows, generator=generator))
        return torch.cat(parts)


class Cached:
    """The images of another source, the shorter side resized to MARGIN and the centre cropped, as bytes on disk.

    It is made at first use: 196 KB an image, mapped into memory and never wholly in it. For machines whose few cores
    cannot decode as fast as the model trains. A damaged image is black in it, and listed in `damaged`.

    Args:
        source: the images.
        folder: where the cache is.

    Raises:
        DlkitError: there is no room for it, it cannot be written, or it is damaged.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.shape = source.shape
        count = source.shape[0]
        digest = hashlib.sha256(f"{MARGIN}\n".encode())
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
        """Make the cache, unless another process has made it meanwhile."""
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
            # all of it now: a page of a mapped file for which the disk has no room would kill the process
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

        with stage("caching images", count) as advance, ThreadPoolExecutor(cores()) as pool:
            for begin in range(0, count, _CHUNK):  # the pool keeps an object for each row that it is told of
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


def _square(image: Image.Image) -> Image.Image:
    """The centre square, (MARGIN, MARGIN)."""
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return image.resize((MARGIN, MARGIN), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
