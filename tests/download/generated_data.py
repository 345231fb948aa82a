"""Generated data sets in the schemas of the real ones."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from dlkit.data.registry import DatasetInfo
from dlkit.download.text_tables import arrow_type


def encoded(dice: np.random.Generator, size: tuple[int, int], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(dice.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def column(dice: np.random.Generator, kind: Any, rows: int, split: str, side: int) -> pa.Array:
    if kind == "image":
        images = [{"bytes": encoded(dice, (side, side)), "path": None} for _ in range(rows)]
        return pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    if isinstance(kind, tuple):
        return pa.array([int(value) for value in dice.integers(0, len(kind), rows)], pa.int64())
    values: dict[str, Callable[[int], Any]] = {
        "string": lambda row: f"{split} line {row}: na\u00efve \u4e2d\u6587",
        "int32": lambda row: row,
        "int64": lambda row: row % 1000,
        "float32": lambda row: row / 2,
        "list<string>": lambda row: ["a"] * row,
    }
    if kind.startswith("struct"):
        spans = {"text": ["x"], "start": [0], "end": [1]}
        names = arrow_type(kind)
        fields = {f.name: spans.get(f.name, 0) for f in names}
        return pa.array([fields] * rows, names)
    return pa.array([values[kind](row) for row in range(rows)], arrow_type(kind))


def content(dataset: DatasetInfo, rows: dict[str, int]) -> dict[str, bytes]:
    """Path in the repository -> bytes."""
    dice = np.random.default_rng(len(dataset.name))
    files: dict[str, bytes] = {}
    for split, count in rows.items():
        stream = io.BytesIO()
        if dataset.form == "archives":
            with tarfile.open(fileobj=stream, mode="w") as archive:
                for row in range(count):
                    for suffix, body in (
                        ("jpg", encoded(dice, (40, 30), "JPEG")),
                        ("cls", b"%d" % row),
                        ("json", b"{}"),
                    ):
                        member = tarfile.TarInfo(f"n0000_{row}.{suffix}")
                        member.size = len(body)
                        archive.addfile(member, io.BytesIO(body))
            files[f"imagenet22k-{split}-0000.tar"] = stream.getvalue()
            continue
        side = 32 if dataset.form == "images" else 40
        columns = {name: column(dice, kind, count, split, side) for name, kind in dataset.columns.items()}
        parquet.write_table(pa.table(columns), stream)
        converted = dataset.revisions[0].startswith("refs/")
        name = f"{split}/0000.parquet" if converted else f"{split}-00000-of-00001.parquet"
        files[f"{dataset.folder}/{name}"] = stream.getvalue()
    return files
