"""Images in Parquet shards, as on the Hugging Face hub: each row is an encoded image and its class."""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlkit.data.class_spelling import remarks_on
from dlkit.data.images.decoding import DamagedImageError, decode_image
from dlkit.data.images.shard_labels import ShardLabels, merge_classes, read_shard_labels, shard_class_indices
from dlkit.data.images.stream_order import describe_shuffle, windowed_shuffle
from dlkit.data.split_names import split_of_file, split_of_folder
from dlkit.errors import DlkitError, error_line

_WINDOW_BYTES = 128 * 2**20  # of encoded images in memory, among which rows are shuffled
_KEPT_FOOTERS = 16
_IMAGES, _LABELS = ("image", "img"), ("label", "fine_label", "labels")


class ParquetImages:
    """Encoded images of Parquet files, read one row group at a time.

    Args:
        files: the shards.
        column: of the images: structs with a field `bytes`, or bytes.
        counts: (file, row group, rows) of each row group, in order.
        size: side of the images, as in `shape`.
        window: rows among which each row is shuffled; about as many are kept in memory.
    """

    def __init__(
        self, files: Sequence[str], column: str, counts: Sequence[tuple[int, int, int]], size: int, window: int
    ) -> None:
        self.files, self.column, self.counts, self.window = list(files), column, list(counts), window
        self._ends = np.cumsum([rows for _, _, rows in self.counts])
        self.shape = (int(self._ends[-1]), 3, size, size)
        # rows of the groups that a window touches, of which the first and the last may lie mostly outside
        self._most = window + 2 * max(rows for _, _, rows in self.counts)
        self._groups: OrderedDict[int, Any] = OrderedDict()  # least recently used first
        self._metadata = functools.lru_cache(_KEPT_FOOTERS)(_metadata)

    def __reduce__(self) -> Any:  # without the cached groups
        return type(self), (self.files, self.column, self.counts, self.shape[-1], self.window)

    def _locate(self, row: int) -> tuple[int, int]:
        """The row group of a row, and its index within the group."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        return group, row - int(self._ends[group] - self.counts[group][2])

    def _group(self, group: int) -> Any:
        """The encoded images of a row group, from an LRU cache."""
        import pyarrow.parquet as pq

        if group not in self._groups:
            number, within, rows = self.counts[group]
            while self._groups and rows + sum(self.counts[i][2] for i in self._groups) > self._most:
                self._groups.popitem(last=False)
            with pq.ParquetFile(self.files[number], metadata=self._metadata(self.files[number])) as file:
                self._groups[group] = file.read_row_group(within, [self.column]).column(0)
        self._groups.move_to_end(group)
        return self._groups[group]

    def name(self, row: int) -> str:
        group, within = self._locate(row)
        return f"{self.files[self.counts[group][0]]}, row group {self.counts[group][1]}, row {within + 1}"

    def image(self, row: int) -> Image.Image:
        group, within = self._locate(row)
        value: Any = self._group(group)[within].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise DamagedImageError(f"{self.name(row)}: no bytes of an image")
        return decode_image(data, self.name(row))

    def order(self, generator: torch.Generator) -> Tensor:
        """A `windowed_shuffle` of all rows, (N,)."""
        return windowed_shuffle([rows for _, _, rows in self.counts], self.window, generator)

    def randomness(self) -> str:
        return describe_shuffle(self.shape[0], self.window)


def _metadata(file: str) -> Any:
    import pyarrow.parquet as pq

    return pq.read_metadata(file)


# ---------------------------------------------------------------------- which files, which classes


def find_shards(root: Path) -> tuple[dict[str, list[Path]], Counter[str]]:
    """The shards of each split, in a folder, in `data` inside it, or in folders named after the splits.

    Also counts the Parquet files that belong to no split. Raises DlkitError if a name is ambiguous.
    """
    found: dict[str, list[Path]] = {}
    left_out: Counter[str] = Counter()
    for parent in (root, root / "data"):
        if found or not parent.is_dir():
            left_out["Parquet files beside them"] += len(_parquet(parent)) if parent.is_dir() else 0
            continue
        for file in _parquet(parent):
            split = split_of_file(file)
            if split is None:
                left_out["Parquet files of no split"] += 1
            else:
                found.setdefault(split, []).append(file)
        for folder in sorted(parent.iterdir()):
            split = split_of_folder(folder.name) if folder.is_dir() else None
            if split is not None:
                found.setdefault(split, []).extend(_parquet(folder))
    return {split: files for split, files in found.items() if files}, +left_out


def _parquet(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() == ".parquet" and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def read_shards(
    groups: Mapping[str, Sequence[Path]], size: int, complete: bool = True
) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """Images and class indices of each split, the class names, and remarks for the user.

    Classes are matched by name, since each shard may number them differently; numbers that no shard names are the
    classes themselves.

    Args:
        groups: the shards of each split.
        size: side of the decoded images.
        complete: require training shards that have all of the classes, at least two.

    Raises:
        DlkitError: a shard is damaged, lacks images or labels, has labels that are not classes, or has a class that is
            not in the training shards.
    """
    found: dict[str, Any] = {}
    remarks: list[str] = []
    labels: dict[str, list[ShardLabels]] = {}
    for split in sorted(groups, key=("train", "val", "test").index):
        source, columns = _open(groups[split], size)
        hidden = np.concatenate([column.indices for column in columns]) < 0
        if not len(hidden):
            raise DlkitError(f"{groups[split][0].parent}: the {split} shards have no rows")
        if split == "test" and hidden.all():
            # the hub's test split of ImageNet-1k: its labels are secret
            remarks.append(f"{groups[split][0].parent}: the test shards have no labels, and are left out")
            continue
        if hidden.any():
            raise DlkitError(
                f"{groups[split][0].parent}: {hidden.sum()} rows of the {split} shards have no label, "
                f"the first is row {int(hidden.argmax()) + 1}",
                "remove them",
            )
        found[split], labels[split] = source, columns
    classes = merge_classes(labels, remarks, complete)
    if complete and len(classes) < 2:
        raise DlkitError(f"{groups['train'][0].parent}: only one class, {', '.join(map(repr, classes))}")
    remarks += remarks_on(str(next(iter(groups.values()))[0].parent), classes)
    index_of = {name: index for index, name in enumerate(classes)}
    result: dict[str, Any] = {}
    for split, columns in labels.items():
        result[split] = (
            found[split],
            np.concatenate([shard_class_indices(column, classes, index_of) for column in columns]),
        )
    return result, classes, remarks


def _open(files: Sequence[Path], size: int) -> tuple[ParquetImages, list[ShardLabels]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels: list[ShardLabels] = []
    column = ""
    for file in files:
        try:
            shard = pq.ParquetFile(file)
            schema = shard.schema_arrow
            image, label = (next((name for name in known if name in schema.names), "") for known in (_IMAGES, _LABELS))
            if not image or not label:
                raise DlkitError(f"{file}: no columns image and label: {', '.join(schema.names)}")
            if column not in ("", image):
                raise DlkitError(f"{file} has its images in {image!r}, {files[0]} in {column!r}")
            column = image
            labels.append(read_shard_labels(file, shard.read(columns=[label]).column(0), schema.metadata, label))
        except (OSError, pa.ArrowException, ValueError, TypeError) as error:
            raise _unreadable(file, error) from error
    return images_in_shards([str(file) for file in files], column, size), labels


def images_in_shards(files: Sequence[str], column: str, size: int) -> ParquetImages:
    """The images of Parquet files, in a column that each of them has. Raises DlkitError if one is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts: list[tuple[int, int, int]] = []
    total = 0
    for number, file in enumerate(files):
        try:
            metadata = pq.read_metadata(file)
            for group in range(metadata.num_row_groups):
                part = metadata.row_group(group)
                counts.append((number, group, part.num_rows))
                chunks = (part.column(i) for i in range(part.num_columns))
                total += sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(file, error) from error
    rows = sum(count for _, _, count in counts)
    window = max(_WINDOW_BYTES * rows // max(total, 1), max((count for _, _, count in counts), default=1))
    return ParquetImages(files, column, counts or [(0, 0, 0)], size, window)


def _unreadable(file: Path | str, error: Exception) -> DlkitError:
    return DlkitError(f"cannot read {file}: {error_line(error)}", "is it whole?")
