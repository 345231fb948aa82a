"""Images and their classes of a data set of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from dlkit.annotations import HubPath, Rate, Side
from dlkit.data.dataset import Dataset, Split, imagenet_statistics
from dlkit.data.hub.columns import IMAGE, LABELS, kind_of, require_hub_column
from dlkit.data.hub.encoded_images import ArrowImages
from dlkit.data.hub.labelled_splits import hold_out_rows, hub_classes, hub_sources, read_labelled_splits
from dlkit.data.hub.opened import HubData, open_hub_data
from dlkit.data.images.image_cache import ImageCache
from dlkit.data.images.image_sources import ImageFiles, ImageSource, SelectedImages
from dlkit.data.images.parquet_shards import images_in_shards
from dlkit.data.known import Known
from dlkit.data.tables.table_file import join_names
from dlkit.errors import DlkitError


def hub_images(
    known: Known | None = None,
    /,
    *,
    path: HubPath,
    config: str | None = None,
    split: str | None = None,
    image: str | None = None,
    label: str | None = None,
    size: Side = 224,
    cache: Path | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> Dataset:
    """Images of a data set in the Hub's layout, (N, 3, size, size) once decoded, streamed from disk.

    Its splits are train, val and test by their names; a class label gives names and order of the classes. Inputs are
    normalised by ImageNet's statistics. For a known model, classes are matched by name, and one split is enough.

    Args:
        path: OWNER/NAME as `dlkit download hf:OWNER/NAME` has fetched it, perhaps with @REVISION; or a folder in the
            Hub's layout, or one that `save_to_disk` wrote.
        config: the configuration, where the data set has several.
        split: the only split to take; null for all that are called after train, validation or test.
        image: the column of images; null for the only one.
        label: the column of classes: class labels, text, integers or booleans; null for the only class label.
        size: height and width of what the model sees.
        cache: a folder for resized copies of all images (196 KB each), made at first use, for machines of few cores.
        test: share of the training images held out as "test", where there is neither a validation nor a test split.
        validation: share of the training images held out as "val", where there is no validation split.

    Raises:
        RequestError: there is no such configuration, split or column, or it holds something else.
        DlkitError: the data set is not here, damaged, or without labels.
    """
    data = open_hub_data(path, config)
    pictures = require_hub_column(data, "image", image, (IMAGE, "binary"), ("image", "img"))
    answers = require_hub_column(data, "label", label, LABELS, ("label", "labels", "fine_label"))
    found = read_labelled_splits(data, answers, [] if data.shards else [pictures], split, known)
    classes, targets, remarks = hub_classes(found, answers, known)
    rows = hold_out_rows(found, targets, classes, test, validation)
    splits: dict[str, Split] = {}
    for name, (origin, chosen) in rows.items():
        source = _images(data, found.chosen.names[origin], found.rows, pictures, size)
        if source.shape[0] != len(targets[origin]):
            raise DlkitError(f"{data.shown}: {source.shape[0]} images and {len(targets[origin])} labels in {origin}")
        if len(chosen) != len(targets[origin]):
            source = SelectedImages(source, torch.from_numpy(chosen))
        inputs: Any = ImageCache(source, Path(cache)) if cache is not None else source
        splits[name] = Split(inputs, torch.from_numpy(targets[origin][chosen]))
    mean, std = imagenet_statistics(3)
    counts = {name: len(of.targets) for name, of in splits.items()}
    read = f"image {pictures!r}, label {answers!r}: {len(classes)} classes ({join_names(classes, 5)})"
    sources = hub_sources(data, found.chosen, counts, (pictures, answers), read)
    training: Any = next(iter(splits.values())).inputs
    # of the labels, and of the files where they were downloaded: images of a folder are not read for it
    digest = hashlib.sha256(f"{classes} {data.place.sha256}".encode())
    for name, of in splits.items():
        digest.update(name.encode() + of.targets.numpy().tobytes())
    sources |= {"rows": counts, "sha256": digest.hexdigest(), "order": training.randomness(), "remarks": remarks}
    return Dataset(data.place.shown.rpartition("/")[2], splits, classes, mean, std, sources)


def _images(data: HubData, split: str, rows: dict[str, Any], column: str, size: int) -> ImageSource:
    """The images of a split: of shards in place, else of what `datasets` maps into memory, or the files it names."""
    if data.shards is not None:
        return images_in_shards(data.shards[split], column, size)
    held = rows[split].select_columns([column])
    chunks = held[:].column(0).chunks
    if kind_of(data.features[column]) == IMAGE and all(part.field("bytes").null_count == len(part) for part in chunks):
        paths = [path for part in chunks for path in part.field("path").to_pylist()]
        if all(path and Path(path).is_absolute() for path in paths):
            return ImageFiles(paths, size)
    return ArrowImages(held, f"{data.shown}, {split}", size)
