"""Tables that are too large for memory: read block by block into files of their columns.

The types of their columns are those that reading all at once would have inferred.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.tables.column_files import on_disk
from dlkit.data.tables.dialect import Dialect
from dlkit.data.tables.without_dictionaries import without_dictionaries

_BLOCK = 1 << 20  # bytes of text that are read at once; pyarrow reads some forty of them ahead
_LARGEST_BLOCK = 2**31 - 1
_ROWS = 1 << 16  # of Parquet
# What pyarrow takes a column of CSV for, in this order: the first type that all of its values have.
_CSV_TYPES = (pa.null(), pa.int64(), pa.bool_(), pa.date32(), pa.time32("s"), pa.timestamp("s"), pa.timestamp("ns"),
              pa.timestamp("s", "UTC"), pa.timestamp("ns", "UTC"), pa.float64(), pa.string())  # fmt: skip
_CONVERSION = re.compile(r"In CSV column #(\d+):.*?CSV conversion error to [^:]*(?:: invalid value '(.*)')?", re.DOTALL)


def kept_on_disk(rows: pa.Table, kept: NDArray[np.bool_]) -> pa.Table:
    """Some rows of a table, those where `kept`, (N,), is true."""

    def batches() -> Iterator[Any]:
        begin = 0
        for batch in rows.to_batches(_ROWS):
            yield batch.filter(pa.array(kept[begin : begin + len(batch)]))
            begin += len(batch)

    return on_disk(rows.schema, batches(), rows.nbytes)


def read_large_csv(file: Path, written: Collection[str], dialect: Dialect) -> pa.Table:
    """The rows of CSV. A value of another type than those before it has its column read again as what all of it is."""
    from pyarrow import csv

    types: dict[str, pa.DataType] = {}
    names: list[str] = []
    block = _BLOCK
    while True:
        kinds = types | dict.fromkeys(written, pa.string())
        try:
            reader = csv.open_csv(
                file,
                read_options=csv.ReadOptions(encoding=dialect.encoding, use_threads=False, block_size=block),
                parse_options=csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=dialect.multiline),
                convert_options=csv.ConvertOptions(column_types=kinds, decimal_point=dialect.decimal),
            )
            # from now on no type is inferred anew, so that each column goes through the types once
            names, types = reader.schema.names, dict(zip(reader.schema.names, reader.schema.types, strict=True))
            return on_disk(reader.schema, reader, file.stat().st_size)
        except pa.ArrowInvalid as error:
            if "straddl" in str(error) and block < _LARGEST_BLOCK:  # a row longer than a block
                block = min(4 * block, _LARGEST_BLOCK)
                continue
            found = _CONVERSION.search(str(error))
            name = names[int(found[1])] if found and names else None
            if found is None or name is None or name in written or types[name] not in _CSV_TYPES[:-1]:
                raise
            types[name] = _next_type(types[name], found[2], dialect)


def _next_type(kind: pa.DataType, value: str | None, dialect: Dialect) -> pa.DataType:
    """The first type after `kind` that a value of CSV has."""
    from pyarrow import csv

    later = _CSV_TYPES[_CSV_TYPES.index(kind) + 1 :]
    if value is None:
        return later[0]
    line = '"' + value.replace('"', '""') + '"\n'
    for other in later[:-1]:
        with contextlib.suppress(pa.ArrowInvalid):
            csv.read_csv(
                pa.py_buffer(line.encode()),
                read_options=csv.ReadOptions(column_names=["value"]),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types={"value": other}, decimal_point=dialect.decimal),
            )
            return other
    return later[-1]


def read_large_parquet(file: Path, written: Collection[str], dialect: Dialect) -> pa.Table:
    """The rows of Parquet, some at a time."""
    from pyarrow.parquet import ParquetFile

    # read ahead by row groups, all of the file would stay in memory
    with ParquetFile(file, page_checksum_verification=True, pre_buffer=False, buffer_size=_BLOCK) as reader:
        batches = (
            batch
            for few in reader.iter_batches(_ROWS)
            for batch in without_dictionaries(pa.Table.from_batches([few])).to_batches()
        )
        schema = without_dictionaries(reader.schema_arrow.empty_table()).schema
        return on_disk(schema, batches, parquet_size(file))


def parquet_size(file: Path) -> int:
    """Bytes of the columns of Parquet, decompressed."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as reader:
        groups = (reader.metadata.row_group(index) for index in range(reader.metadata.num_row_groups))
        # dictionaries and runs may make a file smaller than its columns, numbers of eight bytes and more
        plain = 8 * reader.metadata.num_rows * reader.metadata.num_columns
        return max(plain, sum(group.total_byte_size for group in groups))


def read_large_jsonl(open_file: Callable[[], BinaryIO], size: int) -> pa.Table:
    """The rows of JSON Lines: once for the types of all of it, and once more for its values.

    Args:
        open_file: opens it, decompressed.
        size: about how many they are.

    Raises pyarrow.ArrowInvalid, which counts rows from the first of all, for what is no JSON or of two types.
    """
    from pyarrow import json

    def lines_of_blocks() -> Iterator[list[bytes]]:
        with open_file() as stream:
            yield from iter(lambda: stream.readlines(_BLOCK), [])

    def blocks(explicit: pa.Schema | None) -> Iterator[pa.Table]:
        before = 0
        for lines in lines_of_blocks():
            content = b"".join(lines)
            if not content.strip():
                continue
            try:
                yield json.read_json(
                    pa.BufferReader(content),
                    read_options=json.ReadOptions(use_threads=False, block_size=len(content) + 1),
                    parse_options=json.ParseOptions(explicit_schema=explicit),
                )
            except pa.ArrowInvalid as error:
                message, found, row = str(error).strip().rpartition("in row ")
                raise pa.ArrowInvalid(f"{message}in row {int(row) + before}" if found else row) from error
            before += sum(1 for line in lines if line.strip())

    types: dict[str, pa.DataType] = {}
    for rows in blocks(None):
        for field in rows.schema:
            types[field.name] = _common_type(field.name, types.get(field.name, pa.null()), field.type)
    schema = pa.schema(list(types.items()))
    return on_disk(schema, (batch for rows in blocks(schema) for batch in rows.to_batches()), size)


def _common_type(name: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of a column of JSON some of whose values are of one type, others of another."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.string() in (one, other) and any(map(pa.types.is_temporal, (one, other))):
        return pa.string()
    if pa.types.is_nested(one) and pa.types.is_nested(other):
        return pa.unify_schemas(
            [pa.schema([(name, one)]), pa.schema([(name, other)])], promote_options="permissive"
        ).field(0).type  # fmt: skip
    raise pa.ArrowInvalid(f"JSON parse error: Column(/{name}) changed from {one} to {other}")
