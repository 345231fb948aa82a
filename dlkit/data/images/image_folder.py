"""A folder of the user's images, with one folder per class."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit import memory
from dlkit.annotations import Count, Natural, Rate, Side
from dlkit.data.class_spelling import remarks_on
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.images.class_folders import Examples, FileTally, find_class_images, find_images, split_folders
from dlkit.data.images.decoding import decoding_failure, open_square
from dlkit.data.known import Known
from dlkit.data.splits import split_three_ways
from dlkit.data.subset import subset
from dlkit.errors import DlkitError, RequestError
from dlkit.progress import stage


def image_folder(
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
    """Class folders of images, at any depth inside these: images (N, channels, size, size) uint8.

    If `path`/train holds class folders, `path`/train, `path`/val and `path`/test are the splits, in any case and
    spelling (Training, valid, dev, ...); a missing split is held out of train by its share. Names that begin with a dot
    and files without the suffix of an image are left out, and counted. Of an animation the first frame is taken; EXIF
    orientation is applied; transparent images are composited onto white. For a known model, a single class or split is
    enough.

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
        DlkitError: as `find_class_images`; an image cannot be decoded.
        RequestError: `validation` is given and there is a val folder; there is no such class.
    """
    root = Path(path)
    folders = split_folders(root, known is None)
    if validation > 0 and "val" in folders:
        both = f"data.validation is {validation}, but there is a folder {folders['val']}"
        raise RequestError(both, "data.validation=0 takes the folder")
    examples, found, tally = find_class_images(root, known is None)
    if "train" in examples:
        labels = np.array([label for _, label in examples["train"]], dtype=np.int64)
        rows_of = split_three_ways(labels, found, test=0.0 if "test" in folders else test, validation=validation)
        examples |= {split: [examples["train"][row] for row in rows] for split, rows in rows_of.items()}
    if known and classes:  # some of them may be missing here
        classes = tuple(name for name in classes if name in found) or classes
    splits = {
        split: _decode(examples[split], size, channels) for split in ("train", "val", "test") if split in examples
    }
    sources = {"path": str(root.resolve()), "taken": tally.line(root, found), "left_out": dict(tally.left_out)}
    sources |= {"remarks": remarks_on(str(root), found)}
    whole = make_dataset(root.resolve().name, splits, found, **sources)
    names = {split: functools.partial(_file_name, examples[split]) for split in splits}
    return subset(replace(whole, names=names), classes, per_class, draw)


def _file_name(examples: Examples, row: int) -> str:
    return str(examples[row][0])


def load_all_images(folder: Path, size: int, channels: Literal[1, 3]) -> tuple[torch.Tensor, FileTally]:
    """All images in a folder, (N, channels, size, size) uint8, cropped as by `image_folder`; and the tally of files.

    Raises:
        DlkitError: as `find_images`; an image cannot be decoded.
    """
    files, tally = find_images(folder)
    return _decode([(file, 0) for file in files], size, channels).inputs, tally


def _decode(examples: Examples, size: int, channels: Literal[1, 3]) -> Split:
    needed = len(examples) * size * size * channels
    memory.require_memory(needed, f"{len(examples):,} images of {size}x{size} pixels", "lower data.size")
    pixels = np.empty((len(examples), size, size, channels), dtype=np.uint8)  # (N, H, W, C)

    def decode(row: int) -> None:
        pixels[row] = _load(examples[row][0], size, channels)

    # PIL releases the GIL; the first failure, in the order of the files, cancels the rest
    with stage("reading images", len(examples)) as advance, ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(decode, range(len(examples))):
            advance(1)
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()  # (N, C, H, W)
    return Split(inputs, torch.tensor([label for _, label in examples]))


def _load(file: Path, size: int, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """One image, (size, size, channels)."""
    try:
        return np.asarray(open_square(file, "RGB" if channels == 3 else "L", size)).reshape(size, size, channels)
    except Exception as error:
        raise DlkitError(
            f"cannot read the image {file}: {decoding_failure(error)}", "repair or remove the file"
        ) from error
