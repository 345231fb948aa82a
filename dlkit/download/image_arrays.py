"""Prepared images: one uint8 array and one array of labels a split, which training maps into memory. Free of torch.

Rows are streamed in batches, so memory does not grow with the data. Format: NumPy's, as in
https://numpy.org/neps/nep-0001-npy-format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.images.decoding import open_upright
from dlkit.data.registry import DatasetInfo
from dlkit.download import failures
from dlkit.download.parquet_files import BATCH_ROWS, check_classes, read_batches
from dlkit.download.request import Step
from dlkit.errors import DlkitError, error_line

_SIDE = 32
Chunk = tuple[NDArray[np.uint8], list[NDArray[np.int64]]]  # images (n, 3, 32, 32), and (n,) labels of each column


def write_image_arrays(
    dataset: DatasetInfo, split: str, rows: int, sources: list[Path], target: Path, step: Step
) -> NDArray[np.int64]:
    """Write SPLIT-images.npy, (rows, 3, 32, 32) uint8, and SPLIT-LABEL.npy, (rows,) int64, from Parquet files.

    Returns the histogram of pixel values per channel, (3, 256).

    Raises:
        DlkitError: an image or a label is invalid, the number of rows differs, or the disk is full.
    """
    image, *labels = dataset.columns

    def chunks() -> Iterator[Chunk]:
        for source in sources:  # on one thread: for images this small, a second one does not pay
            for batch in read_batches(source, list(dataset.columns)):
                encoded = batch.column(batch.schema.get_field_index(image)).field("bytes").to_pylist()
                pixels = np.stack([_decode(content) for content in encoded])
                yield pixels, [_labels(batch, name, dataset, source) for name in labels]

    return _write_arrays(dataset, split, rows, chunks(), target, step)


def _decode(encoded: bytes | None) -> NDArray[np.uint8]:
    """One image, (3, 32, 32)."""
    try:
        image = open_upright(encoded or b"", "RGB")
        if image.size != (_SIDE, _SIDE):
            raise ValueError(f"{image.width}x{image.height} pixels, 32x32 expected")
        return np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # PIL raises a dozen types for damaged images
        raise DlkitError(f"an image cannot be decoded: {error_line(error)}", "try another `mirror`") from error


def _labels(batch: pa.RecordBatch, name: str, dataset: DatasetInfo, source: Path) -> NDArray[np.int64]:
    values = batch.column(batch.schema.get_field_index(name)).cast(pa.int64()).to_numpy(zero_copy_only=False)
    classes = dataset.columns[name]
    assert isinstance(classes, tuple)
    if values.min(initial=0) < 0:
        raise DlkitError(f"{source.name}: the column {name!r} has hidden labels")
    check_classes(values, classes, name, source)
    return values


def write_cifar_arrays(
    dataset: DatasetInfo, split: str, rows: int, content: Iterator[bytes], target: Path, step: Step
) -> NDArray[np.int64]:
    """The same from CIFAR's binary format: one byte per label (coarse before fine), then 3,072 bytes of pixels, R G B.

    `content` yields the contents of the archive's members.
    """
    names = list(dataset.columns)[1:]
    width = len(names) + 3 * _SIDE * _SIDE

    def chunks() -> Iterator[Chunk]:
        for member in content:
            if len(member) % width:
                raise DlkitError(f"{dataset.name}: {len(member)} bytes are not a whole number of images")
            table = np.frombuffer(member, dtype=np.uint8).reshape(-1, width)
            for begin in range(0, len(table), BATCH_ROWS):
                chunk = table[begin : begin + BATCH_ROWS]
                labels = [chunk[:, column].astype(np.int64) for column in reversed(range(len(names)))]
                for name, values in zip(names, labels, strict=True):
                    classes = dataset.columns[name]
                    assert isinstance(classes, tuple)
                    check_classes(values, classes, name, Path(dataset.name))
                yield chunk[:, len(names) :].reshape(-1, 3, _SIDE, _SIDE), labels

    return _write_arrays(dataset, split, rows, chunks(), target, step)


def _write_arrays(
    dataset: DatasetInfo,
    split: str,
    rows: int,
    chunks: Iterator[Chunk],
    target: Path,
    step: Step,
) -> NDArray[np.int64]:
    path = target / f"{split}-images.npy"
    names = list(dataset.columns)[1:]
    columns: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    histogram, count = np.zeros((3, 256), dtype=np.int64), 0
    try:
        with path.open("wb") as file:  # written, not mapped: a full disk is then an exception, not a SIGBUS
            header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 3, _SIDE, _SIDE)}
            np.lib.format.write_array_header_1_0(file, header)
            for pixels, labels in chunks:
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
    """Mean and population standard deviation per channel, in units of 0..255, from a histogram (3, 256)."""
    values, count = np.arange(256), histogram.sum(1)
    mean = histogram @ values / count
    # std^2 = E[x^2] - E[x]^2; accurate, since the sums are integers
    std = np.sqrt(np.maximum(histogram @ values**2 / count - mean**2, 0))
    return {"mean": mean.tolist(), "std": np.where(std == 0, 1.0, std).tolist()}
