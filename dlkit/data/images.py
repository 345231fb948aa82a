"""Your own images, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit import memory
from dlkit.annotations import Count, Natural, Rate, Side
from dlkit.data.dataset import Dataset, Split, assemble
from dlkit.data.decoding import SUFFIXES, square, why
from dlkit.data.splits import three_way
from dlkit.data.subset import subset
from dlkit.errors import DlkitError, RequestError
from dlkit.stages import stage

_LAYOUT = "expected PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE with PATH/test/CLASS/IMAGE"

_Examples = list[tuple[Path, int]]  # files and their classes


def images(
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

    If `path`/train holds class folders, `path`/train, `path`/val and `path`/test are the splits; a split that is not
    there is held out of train by its share. Names that begin with a dot and files with another suffix than an
    image's are ignored, as torchvision's ImageFolder does. Of an animation the first frame is taken; the camera's
    orientation (EXIF) is applied; transparent pixels are laid on white.

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
        DlkitError: no such folder, a folder without images, a single class, a class that is not in train, an image
            that cannot be decoded.
        RequestError: `validation` is given and there is a val folder; a class that is not there.
    """
    root = Path(path)
    folders = _split_folders(root)
    if validation > 0 and "val" in folders:
        raise RequestError(f"validation: {validation} is given, but there is {folders['val']}", "leave out one of them")
    examples, found = class_files(root)
    labels = np.array([label for _, label in examples["train"]], dtype=np.int64)
    parts = three_way(labels, found, test=0.0 if "test" in folders else test, validation=validation)
    examples |= {split: [examples["train"][row] for row in rows] for split, rows in parts.items()}
    splits = {
        split: _decode(examples[split], size, channels) for split in ("train", "val", "test") if split in examples
    }
    whole = assemble(root.resolve().name, splits, found, path=str(root.resolve()))
    return subset(whole, classes, per_class, draw)


def every_image(folder: Path, size: int, channels: Literal[1, 3]) -> torch.Tensor:
    """All `image_files` of a folder: (N, channels, size, size) uint8, cut as by `images`.

    Raises:
        DlkitError: what `image_files` raises; an image that cannot be decoded.
    """
    return _decode([(file, 0) for file in image_files(folder)], size, channels).inputs


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder, at any depth, sorted. Raises DlkitError where there is no folder, or no image."""
    if not folder.is_dir():
        raise DlkitError(f"no such folder: {folder}")
    files = sorted(_image_files(folder))
    if not files:
        raise DlkitError(f"no images in {folder}", f"image files end in {', '.join(SUFFIXES)}")
    return files


def class_files(root: Path) -> tuple[dict[str, list[tuple[Path, int]]], tuple[str, ...]]:
    """The image files of each split's class folders, with their classes; and the names of the classes.

    Raises:
        DlkitError: what `images` raises of folders.
    """
    folders = _split_folders(root)
    classes = tuple(folder.name for folder in _subfolders(folders["train"]))
    if len(classes) < 2:
        found = f"only one class folder, {classes[0]!r}" if classes else "no class folders"
        raise DlkitError(f"{folders['train']}: {found}", _LAYOUT)
    with stage("looking for images") as advance:
        return {split: _scan(folder, classes, advance) for split, folder in folders.items()}, classes


def _split_folders(root: Path) -> dict[str, Path]:
    """Folder of each split; that of "train" is `root` itself where the splits have none."""
    if not root.exists():
        raise DlkitError(f"no such folder: {root}")
    if not root.is_dir():
        raise DlkitError(f"not a folder: {root}", _LAYOUT)
    folders = _subfolders(root)
    if not any(folder.name == "train" and _subfolders(folder) for folder in folders):
        return {"train": root}
    for folder in folders:
        if folder.name not in ("train", "val", "test"):
            raise DlkitError(f"{folder} is not a split: beside 'train' only 'val' and 'test' are", _LAYOUT)
    return {folder.name: folder for folder in folders}


def _subfolders(folder: Path) -> list[Path]:
    names = (entry.name for entry in _list(folder) if _is_folder(entry) and not entry.name.startswith("."))
    return [folder / name for name in sorted(names)]


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DlkitError(f"cannot read the folder {folder}: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself; opening it will say so
        return False


def _scan(folder: Path, classes: tuple[str, ...], advance: Callable[[int], None]) -> _Examples:
    """The images of one split, sorted by class and path."""
    examples: _Examples = []
    for entry in _subfolders(folder):
        if entry.name not in classes:
            raise DlkitError(f"{entry}: the class {entry.name!r} is not in train", f"classes: {', '.join(classes)}")
        files = sorted(_image_files(entry))
        if not files:
            raise DlkitError(f"class folder without images: {entry}", f"image files end in {', '.join(SUFFIXES)}")
        examples += [(file, classes.index(entry.name)) for file in files]
        advance(len(files))
    if not examples:
        raise DlkitError(f"no images in {folder}", _LAYOUT)
    return examples


def _image_files(folder: Path, above: tuple[str, ...] = ()) -> list[Path]:
    """The image files in a folder, at any depth, in no order; `above` are the real paths of the folders it lies in."""
    real = os.path.realpath(folder)
    if real in above:
        raise DlkitError(f"{folder} leads back to {real}, in which it lies", "remove the link")
    files: list[Path] = []
    for entry in _list(folder):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            files += _image_files(folder / entry.name, (*above, real))
        elif entry.name.lower().endswith(SUFFIXES):
            files.append(folder / entry.name)
    return files


def _decode(examples: _Examples, size: int, channels: Literal[1, 3]) -> Split:
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
