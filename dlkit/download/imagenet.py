"""ImageNet-1k from the user's own copy, the official archives or class folders, converted to Parquet like the hub's.

    DIR/ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz      (image-net.org)
    DIR/train/n01440764/*.JPEG, DIR/val/n01440764/*.JPEG, at any depth, the splits in any spelling

A class index is the position of the WordNet id among all of them, sorted, as on the hub. In the official archives the
validation images are unlabelled; the development kit has their ground truth, in ids of its own.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from dlkit.data.images.class_folders import Examples, find_class_images, split_folders
from dlkit.download import archives
from dlkit.download.request import Step
from dlkit.errors import DlkitError

TRAIN, VALIDATION, KIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
_META = "ILSVRC2012_devkit_t12/data/meta.mat"
_SHARD_BYTES = 400_000_000
_LARGEST_CLASS = 2**30  # bytes of the archive of one class
_SCHEMA = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])

Example = tuple[str, bytes, int]  # name, encoded image, class


def write_imagenet_shards(own: Path, target: Path, step: Step) -> tuple[dict[str, int], Counter[str]]:
    """Write `target`/data/SPLIT-*.parquet; returns the rows of each split, and the files left out by suffix.

    Raises:
        DlkitError: there are neither archives nor folders, or an archive is damaged or has an unsafe member.
    """
    left_out: Counter[str] = Counter()
    if (own / TRAIN).is_file() and (own / VALIDATION).is_file() and (own / KIT).is_file():
        ids, truth = _kit(own / KIT)
        splits = {"train": _train(own / TRAIN, ids), "validation": _validation(own / VALIDATION, truth)}
    elif {"train", "val"} <= (folders := split_folders(own, complete=False)).keys():
        found, _, tally = find_class_images(own, splits=("train", "val"))
        splits = {"train": _files(found["train"]), "validation": _files(found["val"])}
        # the labels of ImageNet's test images are secret
        left_out = tally.left_out + Counter(f"folder {name}" for name in folders if name == "test")
    else:
        raise DlkitError(
            f"{own} has neither the official archives nor train/ and val/",
            f"expected {TRAIN}, {VALIDATION} and {KIT}, or a folder a class in train/ and val/",
        )
    return {split: _shards(target / "data", split, examples, step) for split, examples in splits.items()}, left_out


def _shards(folder: Path, split: str, examples: Iterator[Example], step: Step) -> int:
    """Write Parquet files of about 400 MB, named like the hub's; returns the number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    writer, size, rows = None, 0, 0
    batch: list[Example] = []
    try:
        for example in examples:
            if writer is None:
                shards.append(folder / f"{split}.{len(shards)}")
                writer, size = parquet.ParquetWriter(shards[-1], _SCHEMA, compression="none"), 0
            batch.append(example)
            size += len(example[1])
            rows += 1
            full = size > _SHARD_BYTES
            if full or len(batch) == 100:
                _flush(writer, batch)
                step(100)
            if full:
                writer.close()
                writer = None
        if writer is not None and batch:
            _flush(writer, batch)
    finally:
        if writer is not None:
            writer.close()
    for number, shard in enumerate(shards):
        shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
    return rows


def _flush(writer: parquet.ParquetWriter, batch: list[Example]) -> None:
    images = [{"bytes": content, "path": name} for name, content, _ in batch]
    writer.write_table(pa.table([images, [label for *_, label in batch]], schema=_SCHEMA))
    batch.clear()


def _kit(path: Path) -> tuple[list[str], list[int]]:
    """The sorted WordNet ids, and the class index of each validation image in the order of file names."""
    from scipy.io import loadmat

    meta, truth = archives.read_members(path, (_META, _TRUTH))
    names: dict[int, str] = {}
    for row in loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]:
        if int(row["num_children"]) == 0:  # the thousand classes are the leaves of the hierarchy
            names[int(row["ILSVRC2012_ID"])] = str(row["WNID"])
    ids = sorted(names.values())
    class_index = {name: index for index, name in enumerate(ids)}
    try:
        return ids, [class_index[names[int(line)]] for line in truth.split()]
    except (KeyError, ValueError) as error:
        raise DlkitError(f"{path.name}: the ground truth has {error}, which is no class") from error


def _images(stream: tarfile.TarFile, name: str) -> Iterator[tuple[str, bytes]]:
    for member in stream:
        archives.check_member(member, name)
        if member.isfile():
            content = stream.extractfile(member)
            assert content is not None
            yield member.name, content.read()
        stream.members = []  # pyright: ignore[reportAttributeAccessIssue]


def _train(path: Path, ids: list[str]) -> Iterator[Example]:
    """The training images: an archive of archives, one a class."""
    try:
        with tarfile.open(path, "r:") as outer:
            for member in outer:
                archives.check_member(member, path.name, _LARGEST_CLASS)
                wordnet = member.name.removesuffix(".tar")
                if wordnet not in ids:
                    raise DlkitError(f"{path.name}: {member.name!r} is none of the classes")
                with tarfile.open(fileobj=outer.extractfile(member), mode="r:") as inner:
                    for name, content in _images(inner, member.name):
                        yield name, content, ids.index(wordnet)
    except (tarfile.TarError, EOFError) as error:
        raise DlkitError(f"{path.name} is damaged: {error}") from error


def _validation(path: Path, truth: list[int]) -> Iterator[Example]:
    try:
        with tarfile.open(path, "r:") as archive:
            for name, content in _images(archive, path.name):
                number = re.fullmatch(r"(?:.*/)?ILSVRC2012_val_(\d{8})\.JPEG", name)
                if number is None or not 1 <= int(number[1]) <= len(truth):
                    raise DlkitError(f"{path.name}: {name!r} has no ground truth")
                yield name, content, truth[int(number[1]) - 1]
    except (tarfile.TarError, EOFError) as error:
        raise DlkitError(f"{path.name} is damaged: {error}") from error


def _files(examples: Examples) -> Iterator[Example]:
    for file, number in examples:
        yield file.name, file.read_bytes(), number
