"""ImageNet and its like: class folders, Parquet shards or tar shards of encoded images, decoded when needed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlkit.annotations import Side
from dlkit.data import store
from dlkit.data.class_spelling import remarks_on
from dlkit.data.dataset import Dataset, Split, imagenet_statistics
from dlkit.data.images.class_folders import Examples, find_class_images
from dlkit.data.images.image_cache import ImageCache
from dlkit.data.images.image_sources import ImageFiles, ImageSource
from dlkit.data.images.parquet_shards import find_shards, read_shards
from dlkit.data.images.tar_shards import TarImages
from dlkit.data.known import Known
from dlkit.errors import DlkitError


def imagenet(known: Known | None = None, /, *, path: Path, size: Side = 224, cache: Path | None = None) -> Dataset:
    """Images of any size and number, (N, 3, size, size) once decoded, streamed from disk (Deng et al. 2009).

    `path` holds train/CLASS/IMAGE and val/CLASS/IMAGE, as torchvision has ImageNet-1k, 22k and their like; or Parquet
    shards as on the Hugging Face hub, in it or in a folder `data`: train-*.parquet and validation-*.parquet with the
    columns image and label. Splits may be spelled otherwise (Training, valid, dev, ...). Inputs are normalised by
    ImageNet's statistics.

    An epoch of training has each image once, in random order: uniform for files, and for shards up to 128 MB; larger
    shards are read by row groups in random order, and rows shuffled within a window of 128 MB. For a known model, a
    single class or split is enough.

    Args:
        path: the folder, relative to the current directory.
        size: height and width of what the model sees.
        cache: a folder for resized copies of all images (196 KB each), made at first use, for machines of few cores.

    Raises:
        DlkitError: there is no such folder, no image, a shard lacks images or labels, or a class is not in train.
    """
    root = Path(path)
    if not root.is_dir():
        raise DlkitError(f"no such folder: {root}", "data.path says where the data is")
    shards, left_out = find_shards(root)
    taken, remarks = "", list[str]()
    if any((root / f"{split}-index.npy").is_file() for split in _INDEXED):
        found, classes = _from_tars(root, size)
    elif shards or left_out:
        if "train" not in shards and (known is None or not shards):
            raise DlkitError(f"no train-*.parquet in {root}", "shards are called SPLIT-*.parquet")
        found, classes, remarks = read_shards(shards, size, known is None)
        taken = f"{root}: {len(classes)} classes, {sum(map(len, shards.values()))} Parquet files"
        taken += "".join(f"; left out: {count} {what}" for what, count in left_out.items())
    else:
        examples, classes, tally = find_class_images(root, known is None)
        found, left_out = _from_folders(examples, size), tally.left_out
        taken, remarks = tally.line(root, classes), remarks_on(str(root), classes)
    splits: dict[str, Split] = {}
    for name, (source, labels) in found.items():
        inputs: Any = ImageCache(source, Path(cache)) if cache is not None else source
        splits[name] = Split(inputs, torch.from_numpy(labels))
    mean, std = imagenet_statistics(3)
    training: Any = next(splits[name] for name in ("train", *splits) if name in splits).inputs
    sources = {
        "path": str(root.resolve()),
        "rows": {name: len(split.targets) for name, split in splits.items()},
        "order": training.randomness(),
        "left_out": dict(left_out),
        "remarks": remarks,
    }
    if taken:
        sources["taken"] = f"{taken}; {sources['order']}"
    return Dataset(root.resolve().name, splits, classes, mean, std, sources)


def downloaded_imagenet(name: str, /, *, size: Side = 224, cache: Path | None = None) -> Dataset:
    """ImageNet as prepared by `dlkit download`, ILSVRC 2012 or all of it, streamed as by `imagenet`.

    Deng et al. 2009.

    Args:
        size: height and width of what the model sees.
        cache: a folder for resized copies of all images (196 KB each), made at first use, for machines of few cores.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    folder, manifest = store.require_dataset(name)
    data = imagenet(path=folder, size=size, cache=cache)
    return replace(data, name=name, sources={**data.sources, "path": str(folder), **manifest.provenance()})


imagenet1k = partial(downloaded_imagenet, "imagenet1k")  # 1.28 million photographs in 1,000 classes
imagenet22k = partial(downloaded_imagenet, "imagenet22k")  # 14 million photographs in 21,841 classes

_INDEXED = {"train": "train", "validation": "val"}  # split in the file names of tar shards -> split
Found = dict[str, tuple[ImageSource, np.ndarray]]


def _from_tars(root: Path, size: int) -> tuple[Found, tuple[str, ...]]:
    found: Found = {}
    for split, name in _INDEXED.items():
        index = root / f"{split}-index.npy"
        if index.is_file():
            source = TarImages([str(path) for path in sorted(root.glob(f"*{split}-*.tar"))], index, size)
            found[name] = source, source.labels
    most = int(max(labels.max() for _, labels in found.values())) + 1
    return found, tuple(str(number) for number in range(most))


def _from_folders(examples: dict[str, Examples], size: int) -> Found:
    found: Found = {}
    for split, files in examples.items():
        labels = np.array([label for _, label in files], dtype=np.int64)
        found[split] = ImageFiles([str(path) for path, _ in files], size), labels
    return found
