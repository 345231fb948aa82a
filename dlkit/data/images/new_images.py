"""Images without labels: decoded by threads while the model works, in the order in which they are named.

An image that cannot be decoded takes nothing with it: its place in the batch holds the reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dlkit.data.images.decoding import DamagedImageError, decode_image, decoding_failure, open_square
from dlkit.data.images.ood_sources import fit_images
from dlkit.lines import batched_as_they_come

_AHEAD = 2  # batches that are decoded before they are needed


class View(Protocol):
    """What of an image a model sees."""

    @property
    def white(self) -> int:
        """The brightest value of a pixel."""
        ...

    def __call__(self, name: str) -> Tensor:
        """The image of a file, (C, H, W) uint8. Raises DamagedImageError."""
        ...

    def describe(self) -> dict[str, Any]:
        """The same for a program with Pillow; JSON values."""
        ...


@dataclass(frozen=True)
class DecodedImages:
    """A batch: `pixels` (n, C, H, W) uint8 of the images that could be decoded, and why the others could not.

    `damaged` maps positions in `names` to reasons.
    """

    names: list[str]
    pixels: Tensor
    damaged: dict[int, str]


@dataclass(frozen=True)
class FittedView:
    """How images in memory are read: the centre square, resized, in the range 0..`white` of the training images.

    Args:
        shape: (C, H, W) of what the model sees.
        white: the brightest value.
    """

    shape: tuple[int, int, int]
    white: int = 255

    def __call__(self, name: str) -> Tensor:
        channels, height, width = self.shape
        try:
            image = open_square(Path(name), "L" if channels == 1 else "RGB", max(height, width))
        except Exception as error:
            raise DamagedImageError(decoding_failure(error)) from error
        pixels = torch.from_numpy(np.array(image)).view(*image.size[::-1], -1)  # (S, S, 1 or 3)
        return fit_images(pixels.permute(2, 0, 1)[None], self.shape, self.white / 255)[0]

    def describe(self) -> dict[str, Any]:
        """The same for a program with Pillow; JSON values."""
        _, height, width = self.shape
        side = max(height, width)
        draft = f"of a JPEG, image.draft(None, ({2 * side}, {2 * side})) first; "
        box = "box=((w - s) / 2, (h - s) / 2, (w + s) / 2, (h + s) / 2)), where s = min(w, h)"
        whole = f"{draft}image.resize(({side}, {side}), Image.Resampling.BILINEAR, {box}"
        more = [f"round(pixels * {self.white} / 255)"] if self.white != 255 else []
        if (height, width) != (side, side):
            more.append(f"resized to {height} rows and {width} columns, bilinear, antialiased")
        return {"view": "centre square", "size": [height, width], "steps": [whole, *more], "white": self.white}


@dataclass(frozen=True)
class StreamedView:
    """How images of a stream are read: decoded whole, the shorter side resized, the centre cropped.

    Args:
        size: height and width of what the model sees.
        margin: of the shorter side.
        crop: does it with a decoded image.
        interpolation: bilinear or bicubic.
    """

    size: int
    margin: int
    crop: Callable[..., Tensor]
    interpolation: str = "bilinear"
    white: int = 255

    def __call__(self, name: str) -> Tensor:
        try:
            return self.crop(decode_image(Path(name), name))
        except DamagedImageError as error:
            raise DamagedImageError(str(error).removeprefix(f"{name}: ")) from error

    def describe(self) -> dict[str, Any]:
        """The same for a program with Pillow; JSON values."""
        steps = [
            f"image.resize((W, H), Image.Resampling.{self.interpolation.upper()}), the shorter side {self.margin}, the "
            f"longer one int({self.margin} * longer / shorter)",
            f"image.crop((x, y, x + {self.size}, y + {self.size})), where x = round((W - {self.size}) / 2) and "
            f"y = round((H - {self.size}) / 2)",
        ]
        return {
            "view": "centre crop",
            "size": [self.size] * 2,
            "shorter_side": self.margin,
            "interpolation": self.interpolation,
            "steps": steps,
            "white": 255,
        }


def decoded_batches(names: Iterable[str | None], view: View, batch_size: int, threads: int) -> Iterator[DecodedImages]:
    """Batches in the order of the names; None among them is a pause, before which everything comes out.

    PIL decodes and resizes outside of Python's lock, so that threads do what processes would.
    """
    waiting: deque[tuple[list[str], list[Future[Tensor | str]]]] = deque()

    def read(name: str) -> Tensor | str:
        try:
            return view(name)
        except DamagedImageError as error:
            return str(error)

    pool = ThreadPoolExecutor(threads)
    try:
        for batch in batched_as_they_come(names, batch_size):
            if batch:
                waiting.append((batch, [pool.submit(read, name) for name in batch]))
            while len(waiting) > (_AHEAD if len(batch) == batch_size else 0):
                yield _collected(*waiting.popleft())
        while waiting:
            yield _collected(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _collected(names: list[str], futures: list[Future[Tensor | str]]) -> DecodedImages:
    found = [future.result() for future in futures]
    good = [image for image in found if isinstance(image, Tensor)]
    damaged = {position: why for position, why in enumerate(found) if isinstance(why, str)}
    return DecodedImages(names, torch.stack(good) if good else torch.empty(0), damaged)
