"""From the fetched files to what training maps into memory: one uint8 array a split of images, one Arrow file of texts.

Everything is streamed in batches: memory does not grow with the data. Formats: https://numpy.org/neps/nep-0001-npy-format
and Arrow's IPC file, uncompressed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc
from pyarrow.parquet import ParquetFile

from dlkit.data.images.decoding import open_upright
from dlkit.data.registry import Column, DatasetInfo
from dlkit.download import failures
from dlkit.errors import DlkitError

_ROWS = 2048
_SIDE = 32
_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "list<string>": pa.list_(pa.string()),
    "list<int32>": pa.list_(pa.int32()),
}

Step = Callable[[int], None]  # called with the rows that were prepared; may raise to stop


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column; `struct<a: int32, b: list<string>>` by its fields."""
    if isinstance(column, tuple):
        return pa.int64()
    if column.startswith("struct<"):
        pairs = (field.split(": ") for field in column[len("struct<") : -1].split(", "))
        return pa.struct([(name, _TYPES[kind]) for name, kind in pairs])
    return _TYPES[column]


def count_rows(dataset: DatasetInfo, files: list[tuple[str, Path]]) -> dict[str, int]:
    """Rows of each split, from (split, file); checks that the columns are there.

    Raises:
        DlkitError: a file is not Parquet, or lacks a column.
    """
    rows = dict.fromkeys(dataset.rows, 0)
    for split, path in files:
        with _open(path) as file:
            names = file.schema_arrow.names
            for column in dataset.columns:
                if column not in names:
                    raise DlkitError(
                        f"{path.name} has no column {column!r}; its columns are {', '.join(names)}",
                        "this is another data set than it claims to be: try another --mirror",
                    )
            rows[split] += file.metadata.num_rows
    return rows


def _open(path: Path) -> ParquetFile:
    try:
        return ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise DlkitError(f"{path.name} is not a Parquet file: {_line(error)}", "try another --mirror") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with _open(path) as file:
        try:
            yield from file.iter_batches(batch_size=_ROWS, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DlkitError(f"{path.name} is damaged: {_line(error)}", "try another --mirror") from error


# ------------------------------------------------------------------ texts


def write_arrow_table(dataset: DatasetInfo, split: str, sources: list[Path], target: Path, step: Step) -> None:
    """Write `target`/SPLIT.arrow: the columns of the catalogue, in its order, of its types; classes in the metadata.

    Raises:
        DlkitError: a column of another type, a class out of range, or a disk that is full.
    """
    schema = pa.schema([pa.field(name, arrow_type(column)) for name, column in dataset.columns.items()])
    schema = schema.with_metadata({"dlkit": json.dumps({"features": dataset.columns})})
    path = target / f"{split}.arrow"
    try:
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, schema) as writer:
            for source in sources:
                for batch in _batches(source, list(dataset.columns)):
                    writer.write_batch(_conform(batch, dataset, schema, source))
                    step(len(batch))
    except OSError as error:
        raise failures.disk_error(error, path) from error


def _conform(batch: pa.RecordBatch, dataset: DatasetInfo, schema: pa.Schema, source: Path) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    for name, column in dataset.columns.items():
        array = batch.column(batch.schema.get_field_index(name))
        try:
            if pa.types.is_struct(schema.field(name).type) and pa.types.is_list(array.type):
                array = _struct_of_lists(array, schema.field(name).type)
            array = array.cast(schema.field(name).type, safe=True)
        except (pa.ArrowException, KeyError) as error:
            raise DlkitError(
                f"{source.name}: the column {name!r} is {array.type}, {schema.field(name).type} was expected"
            ) from error
        if isinstance(column, tuple):
            _check_classes(array.to_numpy(zero_copy_only=False), column, name, source)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _struct_of_lists(array: Any, kind: pa.StructType) -> pa.Array:
    """A list of structs as a struct of lists: `datasets` writes a sequence of mappings either way."""
    offsets, values = array.offsets, array.values
    lists = [pa.ListArray.from_arrays(offsets, values.field(field.name)) for field in kind]
    return pa.StructArray.from_arrays(lists, names=[field.name for field in kind])


def _check_classes(labels: NDArray[Any], classes: tuple[str, ...], name: str, source: Path) -> None:
    """-1 stands for a label that is hidden."""
    if labels.dtype.kind != "i" or labels.min(initial=0) < -1 or labels.max(initial=0) >= len(classes):
        raise DlkitError(f"{source.name}: the column {name!r} has values outside its {len(classes)} classes")


# ------------------------------------------------------------------ images


def write_image_arrays(
    dataset: DatasetInfo, split: str, rows: int, sources: list[Path], target: Path, step: Step
) -> NDArray[np.int64]:
    """Write SPLIT-images.npy, (rows, 3, 32, 32) uint8, and SPLIT-LABEL.npy, (rows,) int64, from Parquet files.

    Returns how often each channel has each value, (3, 256).
    """
    image, *labels = dataset.columns

    def parts() -> Iterator[tuple[NDArray[np.uint8], list[NDArray[np.int64]]]]:
        for source in sources:  # on one thread: images are so small that two only wait for each other
            for batch in _batches(source, list(dataset.columns)):
                encoded = batch.column(batch.schema.get_field_index(image)).field("bytes").to_pylist()
                pixels = np.stack([_decode(content) for content in encoded])
                yield pixels, [_labels(batch, name, dataset, source) for name in labels]

    return _write_arrays(dataset, split, rows, parts(), target, step)


def _decode(encoded: bytes | None) -> NDArray[np.uint8]:
    """An image (3, 32, 32)."""
    try:
        image = open_upright(encoded or b"", "RGB")
        if image.size != (_SIDE, _SIDE):
            raise ValueError(f"{image.width}x{image.height} pixels, 32x32 expected")
        return np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # PIL raises a dozen kinds for a damaged image
        raise DlkitError(f"an image cannot be decoded: {_line(error)}", "try another --mirror") from error


def _labels(batch: pa.RecordBatch, name: str, dataset: DatasetInfo, source: Path) -> NDArray[np.int64]:
    values = batch.column(batch.schema.get_field_index(name)).cast(pa.int64()).to_numpy(zero_copy_only=False)
    classes = dataset.columns[name]
    assert isinstance(classes, tuple)
    if values.min(initial=0) < 0:
        raise DlkitError(f"{source.name}: the column {name!r} has hidden labels")
    _check_classes(values, classes, name, source)
    return values


def write_cifar_arrays(
    dataset: DatasetInfo, split: str, rows: int, content: Iterator[bytes], target: Path, step: Step
) -> NDArray[np.int64]:
    """The same from CIFAR's binary form: a byte for each label (coarse before fine), then 3,072 of pixels, R G B.

    `content` yields the members of the archive, whole.
    """
    names = list(dataset.columns)[1:]
    width = len(names) + 3 * _SIDE * _SIDE

    def parts() -> Iterator[tuple[NDArray[np.uint8], list[NDArray[np.int64]]]]:
        for member in content:
            if len(member) % width:
                raise DlkitError(f"{dataset.name}: {len(member)} bytes are no whole number of images")
            table = np.frombuffer(member, dtype=np.uint8).reshape(-1, width)
            for begin in range(0, len(table), _ROWS):
                chunk = table[begin : begin + _ROWS]
                labels = [chunk[:, column].astype(np.int64) for column in reversed(range(len(names)))]
                for name, values in zip(names, labels, strict=True):
                    classes = dataset.columns[name]
                    assert isinstance(classes, tuple)
                    _check_classes(values, classes, name, Path(dataset.name))
                yield chunk[:, len(names) :].reshape(-1, 3, _SIDE, _SIDE), labels

    return _write_arrays(dataset, split, rows, parts(), target, step)


def _write_arrays(
    dataset: DatasetInfo,
    split: str,
    rows: int,
    parts: Iterator[tuple[NDArray[np.uint8], list[NDArray[np.int64]]]],
    target: Path,
    step: Step,
) -> NDArray[np.int64]:
    path = target / f"{split}-images.npy"
    names = list(dataset.columns)[1:]
    columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    histogram, count = np.zeros((3, 256), dtype=np.int64), 0
    try:
        with path.open("wb") as file:  # written, not mapped: a full disk is an error then and no signal
            header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 3, _SIDE, _SIDE)}
            np.lib.format.write_array_header_1_0(file, header)
            for pixels, labels in parts:
                file.write(np.ascontiguousarray(pixels).data)
                for name, values in zip(names, labels, strict=True):
                    columns[name].append(values)
                for channel in range(3):
                    histogram[channel] += np.bincount(pixels[:, channel].reshape(-1), minlength=256)
                count += len(pixels)
                step(len(pixels))
        for name, values in columns.items():
            path = target / f"{split}-{name}.npy"
            np.save(path, np.concatenate(values))
    except OSError as error:
        raise failures.disk_error(error, path) from error
    if count != rows:
        raise DlkitError(f"{dataset.name}: {count} images of the split {split!r}, {rows} were announced")
    return histogram


def channel_statistics(histogram: NDArray[np.int64]) -> dict[str, list[float]]:
    """Mean and population standard deviation of each channel, in units of 0..255, from its histogram (3, 256)."""
    values, count = np.arange(256), histogram.sum(1)
    mean = histogram @ values / count
    # std^2 = E[x^2] - E[x]^2, exact enough: the sums are integers
    std = np.sqrt(np.maximum(histogram @ values**2 / count - mean**2, 0))
    return {"mean": mean.tolist(), "std": np.where(std == 0, 1.0, std).tolist()}
