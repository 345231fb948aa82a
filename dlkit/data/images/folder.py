"""Your own images, one folder a class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit import memory
from dlkit.annotations import Count, Natural, Rate, Side
from dlkit.data.class_spelling import remarks_on
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.images.class_folders import Examples, Tally, class_files, image_files, split_folders
from dlkit.data.images.decoding import square, why
from dlkit.data.known import Known
from dlkit.data.splits import three_way
from dlkit.data.subset import subset
from dlkit.errors import DlkitError, RequestError
from dlkit.progress import stage


def images(
    known: Known | None = None,
    /,
    *,
    path: Path,
    size: Side = 32,
    channels: Literal[1, 3] = 3,
    test: Rate = 0.2,
    validation: Rate = 0.0,
    classes: tuple[str, ...] | None = None,
    per_class: Count | None = None,
    draw: Natural = 0,
) -> Dataset:
    """A folder of class folders of images, at any depth inside these: images (N, channels, size, size) uint8.

    If `path`/train holds class folders, `path`/train, `path`/val and `path`/test are the splits, in any case and
    spelling (Training, valid, dev, ...); a split that is not there is held out of train by its share. Names that begin
    with a dot and files with another suffix than an image's are left out, and counted. Of an animation the first
    frame is taken; the camera's orientation (EXIF) is applied; transparent pixels are laid on white. For a model that
    is known, a single class or split will do.

    Args:
        path: the folder, relative to the current directory.
        size: height and width in pixels: the shorter side is resized to it (antialiased), the centre is cropped.
        channels: 3 for colour, 1 for grey.
        test: share of the images that is held out as "test", where there is no test folder.
        validation: share of the training images that is held out as "val", where there is no val folder.
        classes: those to keep, numbered in this order; null for all.
        per_class: training examples to keep of each class, at most; null for all.
        draw: which of the possible choices of per_class examples.

    Raises:
        DlkitError: what `class_files` raises; an image that cannot be decoded.
        RequestError: `validation` is given and there is a val folder; a class that is not there.
    """
    root = Path(path)
    folders = split_folders(root, known is None)
    if validation > 0 and "val" in folders:
        both = f"data.validation is {validation}, but there is a folder {folders['val']}"
        raise RequestError(both, "data.validation=0 takes the folder")
    examples, found, tally = class_files(root, known is None)
    if "train" in examples:
        labels = np.array([label for _, label in examples["train"]], dtype=np.int64)
        parts = three_way(labels, found, test=0.0 if "test" in folders else test, validation=validation)
        examples |= {split: [examples["train"][row] for row in rows] for split, rows in parts.items()}
    if known and classes:  # of those that were kept, there may be some
        classes = tuple(name for name in classes if name in found) or classes
    splits = {
        split: _decode(examples[split], size, channels) for split in ("train", "val", "test") if split in examples
    }
    sources = {"path": str(root.resolve()), "taken": tally.line(root, found), "left_out": dict(tally.left_out)}
    sources |= {"remarks": remarks_on(str(root), found)}
    whole = make_dataset(root.resolve().name, splits, found, **sources)
    return subset(whole, classes, per_class, draw)


def every_image(folder: Path, size: int, channels: Literal[1, 3]) -> tuple[torch.Tensor, Tally]:
    """All `image_files` of a folder: (N, channels, size, size) uint8, cut as by `images`; what was left out.

    Raises:
        DlkitError: what `image_files` raises; an image that cannot be decoded.
    """
    files, tally = image_files(folder)
    return _decode([(file, 0) for file in files], size, channels).inputs, tally


def _decode(examples: Examples, size: int, channels: Literal[1, 3]) -> Split:
    needed = len(examples) * size * size * channels
    memory.require(needed, f"{len(examples):,} images of {size}x{size} pixels", "lower data.size")
    pixels = np.empty((len(examples), size, size, channels), dtype=np.uint8)  # (N, H, W, C)

    def decode(row: int) -> None:
        pixels[row] = _load(examples[row][0], size, channels)

    # PIL works outside Python's lock; the first failure, in the order of the files, cancels the rest.
    with stage("reading images", len(examples)) as advance, ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(decode, range(len(examples))):
            advance(1)
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()  # (N, C, H, W)
    return Split(inputs, torch.tensor([label for _, label in examples]))


def _load(file: Path, size: int, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """One image, (size, size, channels)."""
    try:
        return np.asarray(square(file, "RGB" if channels == 3 else "L", size)).reshape(size, size, channels)
    except Exception as error:
        raise DlkitError(f"cannot read the image {file}: {why(error)}", "repair or remove the file") from error
