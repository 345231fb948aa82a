"""ImageNet and everything of its form: class folders or Parquet shards of encoded images, decoded when needed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlkit.annotations import Side
from dlkit.data import store
from dlkit.data.dataset import Dataset, Split, imagenet_statistics
from dlkit.data.encoded import Cached, Files, Shards, Source
from dlkit.data.images import class_files
from dlkit.data.tars import Tars
from dlkit.errors import DlkitError

_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def imagenet(*, path: Path, size: Side = 224, cache: Path | None = None) -> Dataset:
    """Images of any size and number, (N, 3, size, size) once decoded; never all in memory (Deng et al. 2009).

    `path` holds train/CLASS/IMAGE and val/CLASS/IMAGE, as torchvision has ImageNet-1k, 22k and their like; or Parquet
    shards as on the Hugging Face hub, in it or in a folder `data`: train-*.parquet and validation-*.parquet with the
    columns image and label. Inputs are normalised by ImageNet's statistics.

    Args:
        path: the folder, relative to the current directory.
        size: height and width of what the model sees.
        cache: a folder for resized copies of all images (196 KB each), made at first use, for machines of few cores.

    Raises:
        DlkitError: no such folder, no images, shards without images and labels, classes that are not in train.
    """
    root = Path(path)
    if not root.is_dir():
        raise DlkitError(f"no such folder: {root}", "data.path says where the data is")
    shards = sorted(root.glob("*.parquet")) or sorted((root / "data").glob("*.parquet"))
    if (root / "train-index.npy").is_file():
        found, classes = _from_tars(root, size)
    else:
        found, classes = _from_shards(shards, size) if shards else _from_folders(root, size)
    splits: dict[str, Split] = {}
    for name, (source, labels) in found.items():
        inputs: Any = Cached(source, Path(cache)) if cache is not None else source
        splits[name] = Split(inputs, torch.from_numpy(labels))
    mean, std = imagenet_statistics(3)
    rows = {name: len(split.targets) for name, split in splits.items()}
    return Dataset(root.resolve().name, splits, classes, mean, std, {"path": str(root.resolve()), "rows": rows})


def downloaded(name: str, /, *, size: Side = 224, cache: Path | None = None) -> Dataset:
    """ImageNet as `dlkit download` has it: ILSVRC 2012, or all of it; streamed as `imagenet` does.

    Args:
        size: height and width of what the model sees.
        cache: a folder for resized copies of all images (196 KB each), made at first use, for machines of few cores.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    place, manifest = store.require(name)
    data = imagenet(path=place, size=size, cache=cache)
    return replace(data, name=name, sources={"path": str(place), **manifest.provenance()})


imagenet1k = partial(downloaded, "imagenet1k")  # 1.28 million photographs in 1,000 classes
imagenet22k = partial(downloaded, "imagenet22k")  # 14 million photographs in 21,841 classes

Found = dict[str, tuple[Source, np.ndarray]]


def _from_tars(root: Path, size: int) -> tuple[Found, tuple[str, ...]]:
    found: Found = {}
    for split, name in (("train", "train"), ("validation", "val")):
        index = root / f"{split}-index.npy"
        if index.is_file():
            source = Tars([str(path) for path in sorted(root.glob(f"*{split}-*.tar"))], index, size)
            found[name] = source, source.labels
    most = int(max(labels.max() for _, labels in found.values())) + 1
    return found, tuple(str(number) for number in range(most))


def _from_folders(root: Path, size: int) -> tuple[Found, tuple[str, ...]]:
    examples, classes = class_files(root)
    found: Found = {}
    for split, files in examples.items():
        labels = np.array([label for _, label in files], dtype=np.int64)
        found[split] = Files([str(path) for path, _ in files], size), labels
    return found, classes


def _from_shards(files: list[Path], size: int) -> tuple[Found, tuple[str, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    groups: dict[str, list[Path]] = {}
    for file in files:
        prefix = file.name.split("-")[0].removesuffix(".parquet")
        if prefix in _SPLITS:
            groups.setdefault(_SPLITS[prefix], []).append(file)
    if "train" not in groups:
        raise DlkitError(f"no train-*.parquet beside {files[0]}", "shards are called SPLIT-*.parquet")
    found: Found = {}
    classes: tuple[str, ...] = ()
    for split, members in groups.items():
        counts: list[tuple[int, int, int]] = []
        labels: list[np.ndarray] = []
        image = ""
        for number, file in enumerate(members):
            try:
                shard = pq.ParquetFile(file)
                schema = shard.schema_arrow
                image = next((name for name in ("image", "img") if name in schema.names), "")
                label = next((name for name in ("label", "fine_label", "labels") if name in schema.names), "")
                if not image or not label:
                    raise DlkitError(f"{file}: no columns image and label: {', '.join(schema.names)}")
                labels.append(shard.read(columns=[label]).column(0).to_numpy().astype(np.int64))
            except (OSError, pa.ArrowException, ValueError, TypeError) as error:
                raise DlkitError(f"cannot read {file}: {' '.join(str(error).split())[:200]}", "is it whole?") from error
            counts += [
                (number, group, shard.metadata.row_group(group).num_rows)
                for group in range(shard.metadata.num_row_groups)
            ]
            classes = classes or _class_names(schema.metadata, label)
        together = np.concatenate(labels)
        if split == "test" and len(together) and together.max() < 0:
            continue  # the hub's test split of ImageNet-1k: its labels are secret
        if not len(together) or together.min() < 0:
            raise DlkitError(f"{members[0].parent}: the {split} shards have no rows, or rows without a label")
        found[split] = Shards([str(file) for file in members], image, counts, size), together
    most = int(max(labels.max() for _, labels in found.values())) + 1
    if classes and most > len(classes):
        raise DlkitError(f"{files[0].parent}: label {most - 1}, but only {len(classes)} names of classes")
    return found, classes or tuple(str(number) for number in range(most))


def _class_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...]:
    """The names that the hub writes into a shard, if it did."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return ()
