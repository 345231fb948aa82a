"""The columns of a table that is too large for memory, in mapped Arrow files: a column is read without the others."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from dlkit.data.scratch import room_on_disk

_MOST_FILES = 64  # a process may have some hundred open
_UNSETTLED = 1 << 26  # bytes that are written to all files before the disk has them


def on_disk(schema: pa.Schema, batches: Iterable[Any], size: int) -> pa.Table:
    """The rows of batches, in files of TMPDIR that have no name; their pages come into memory as they are used.

    Args:
        schema: of the rows.
        batches: of them, one in memory at a time.
        size: about how many bytes they are.

    Raises DlkitError where the disk has no room for them.
    """
    names = list(range(len(schema)))
    count = max(1, min(len(names), _MOST_FILES))
    groups = [names[len(names) * i // count : len(names) * (i + 1) // count] for i in range(count)]
    with room_on_disk(size), contextlib.ExitStack() as files:
        written = [_ColumnFile(files, pa.schema([schema.field(i) for i in group])) for group in groups]
        for batch in batches:
            for file, group in zip(written, groups, strict=True):
                file.write(pa.record_batch([batch.column(i) for i in group], schema=file.schema), _UNSETTLED // count)
        columns = [column for file in written for column in file.columns()]
    pa.default_memory_pool().release_unused()  # which it keeps for itself otherwise
    return pa.Table.from_arrays(columns, schema=schema)


class _ColumnFile:
    """A file of some of the columns.

    Args:
        files: closes it.
        schema: of the columns.
    """

    def __init__(self, files: contextlib.ExitStack, schema: pa.Schema) -> None:
        self.schema = schema
        self._file: BinaryIO = files.enter_context(tempfile.TemporaryFile(prefix="dlkit-"))  # pyright: ignore  # noqa: SIM115
        self._writer = pa.ipc.new_file(self._file, schema)
        self._settled = 0

    def write(self, batch: pa.RecordBatch, most: int) -> None:
        """Add rows, and wait for the disk when `most` bytes are not on it yet."""
        self._writer.write(batch)
        if self._file.tell() - self._settled > most:
            self._settle()

    def _settle(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._settled = self._file.tell()

    def columns(self) -> Iterator[pa.ChunkedArray]:
        """The columns of all rows."""
        self._writer.close()
        self._settle()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        advise = getattr(mapped, "madvise", lambda _: None)
        # opening it reads a little of each batch, and reading ahead of that would read all of it
        advise(getattr(mmap, "MADV_RANDOM", None))
        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()
        advise(getattr(mmap, "MADV_SEQUENTIAL", None))
        return iter(table.columns)
