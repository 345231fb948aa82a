"""Prepared texts: one uncompressed Arrow IPC file a split, which training maps into memory. Free of torch.

Rows are streamed in batches, so memory does not grow with the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from dlkit.data.registry import Column, DatasetInfo
from dlkit.download import failures
from dlkit.download.parquet_files import check_classes, read_batches
from dlkit.download.request import Step
from dlkit.errors import DlkitError

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "list<string>": pa.list_(pa.string()),
    "list<int32>": pa.list_(pa.int32()),
}


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a column, which may be a struct: `struct<a: int32, b: list<string>>`."""
    if isinstance(column, tuple):
        return pa.int64()
    if column.startswith("struct<"):
        pairs = (field.split(": ") for field in column[len("struct<") : -1].split(", "))
        return pa.struct([(name, _TYPES[kind]) for name, kind in pairs])
    return _TYPES[column]


def write_arrow_table(dataset: DatasetInfo, split: str, sources: list[Path], target: Path, step: Step) -> None:
    """Write `target`/SPLIT.arrow with the columns and types of the registry, and class names in its metadata.

    Raises:
        DlkitError: a column has another type, a class is out of range, or the disk is full.
    """
    schema = pa.schema([pa.field(name, arrow_type(column)) for name, column in dataset.columns.items()])
    schema = schema.with_metadata({"dlkit": json.dumps({"features": dataset.columns})})
    path = target / f"{split}.arrow"
    try:
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, schema) as writer:
            for source in sources:
                for batch in read_batches(source, list(dataset.columns)):
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
            check_classes(array.to_numpy(zero_copy_only=False), column, name, source)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _struct_of_lists(array: Any, kind: pa.StructType) -> pa.Array:
    """A list of structs as a struct of lists: Hugging Face's `datasets` writes either."""
    offsets, values = array.offsets, array.values
    lists = [pa.ListArray.from_arrays(offsets, values.field(field.name)) for field in kind]
    return pa.StructArray.from_arrays(lists, names=[field.name for field in kind])
