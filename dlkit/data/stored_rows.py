"""Rows of features that are too large for memory, in a file of their own from which batches are read in any order.

A row is a few dozen bytes, and the disk takes about as long for one as for a hundred thousand bytes side by side.
Batches in random order are therefore read many at once, each in its place in the order, by going through the file:
as many rows as a share of the memory holds. The order is the same as in memory, uniform over all rows.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlkit.data.dataset import standardize, standardized_blocks
from dlkit.data.scratch import is_large, room_on_disk
from dlkit.memory import free_memory

_SHARE = 8  # the part of the free memory that rows read ahead may take
_FIRST = 4096  # rows that are read ahead for the first batches; then twice as many, and so on
_BLOCK = 1 << 22  # bytes that are read at once
_GAP = 1 << 16  # bytes between two rows that are rather read than skipped
_UNSETTLED = 1 << 26  # bytes that are written before the disk has them


def standardized_rows(inputs: Tensor, mean: Tensor, std: Tensor, device: torch.device) -> Tensor | StoredRows:
    """`standardize` of rows (N, F), on the device; in a file where they are too large for the memory of a CPU.

    Raises DlkitError where the disk has no room for them.
    """
    if not is_large(4 * inputs.numel()):
        return standardize(inputs, mean, std).to(device)
    if device.type == "cpu":
        return StoredRows(inputs, mean, std)
    rows = torch.empty(inputs.shape, device=device)
    for begin, values in standardized_blocks(inputs, mean, std):
        rows[begin : begin + len(values)] = torch.from_numpy(values.astype(np.float32)).to(device)
    return rows


class StoredRows:
    """Rows, (N, F) float32, in a file of TMPDIR that has no name; indexed as a tensor is.

    Args:
        inputs: (N, F) float64.
        mean: of each column, (F,).
        std: of each column, (F,).
    """

    def __init__(self, inputs: Tensor, mean: Tensor, std: Tensor) -> None:
        self._width, size = inputs.shape[1], 4 * inputs.numel()
        self._row = 4 * self._width  # bytes
        self._block, self._block_begin = np.empty((0, self._width), np.float32), 0
        self.expect(torch.empty(0, dtype=torch.int64), 1)
        with room_on_disk(size):
            self._file: Any = tempfile.TemporaryFile(prefix="dlkit-", buffering=0)  # noqa: SIM115  gone with this object
            weakref.finalize(self, self._file.close)
            unsettled = 0
            for _, values in standardized_blocks(inputs, mean, std):
                data = memoryview(values.astype(np.float32).data).cast("B")
                while data:
                    data = data[self._file.write(data) :]
                unsettled += values.nbytes // 2
                if unsettled > _UNSETTLED:
                    os.fsync(self._file.fileno())
                    unsettled = 0
            os.fsync(self._file.fileno())
        if hasattr(os, "posix_fadvise"):  # what is read ahead is decided here
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def __getitem__(self, rows: slice) -> Tensor:
        """Some rows that follow each other."""
        begin, end = rows.start - self._block_begin, rows.stop - self._block_begin
        if begin < 0 or end > len(self._block):
            self._block_begin, begin, end = rows.start, 0, rows.stop - rows.start
            self._block = self._read(rows.start, max(end, _BLOCK // self._row))
        return torch.from_numpy(self._block[begin:end])

    def expect(self, order: Tensor, batch_size: int) -> None:
        """Get ready for rows that are asked for in an order, in batches of one size."""
        self._order, self._next = order.numpy(), 0
        self._ahead = -(-_FIRST // batch_size) * batch_size
        self._most = max((free_memory() or 1 << 32) // _SHARE // (self._row + 16) // batch_size, 1) * batch_size
        self._rows, self._values = self._order[:0], np.empty((0, self._width), np.float32)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Rows in any order, (n, F). `dim` is 0. Those that were not expected are read one by one."""
        chosen = rows.numpy()
        place = self._places(chosen)
        if place is None:
            self._rows, self._values = self._order[:0], self._values[:0]  # frees the memory for the next
            ahead = min(self._ahead, self._most)
            self._rows = np.unique(self._order[self._next : self._next + ahead])
            self._values = self._gather(self._rows)
            self._next, self._ahead = self._next + ahead, 2 * ahead
            place = self._places(chosen)
        if place is None:
            distinct, place = np.unique(chosen, return_inverse=True)
            return torch.from_numpy(self._gather(distinct)[place])
        return torch.from_numpy(self._values[place])

    def _places(self, chosen: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where rows are among those read ahead; None if any of them is not."""
        place = np.searchsorted(self._rows, chosen)
        there = len(self._rows) and (self._rows[np.minimum(place, len(self._rows) - 1)] == chosen).all()
        return place if there else None

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Ascending rows, (n, F)."""
        found = np.empty((len(rows), self._width), np.float32)
        breaks = np.flatnonzero(np.diff(rows) > max(1, _GAP // self._row)) + 1  # where a gap is skipped
        breaks = np.append(breaks, len(rows))
        begin = 0
        for stop in breaks.tolist():
            while begin < stop:
                first = int(rows[begin])
                last = int(np.searchsorted(rows[begin:stop], first + max(1, _BLOCK // self._row))) + begin
                values = self._read(first, int(rows[last - 1]) + 1 - first)
                found[begin:last] = values[rows[begin:last] - first]
                begin = last
        return found

    def _read(self, begin: int, count: int) -> NDArray[np.float32]:
        """Rows that follow each other, (n, F); fewer than `count` at the end of all."""
        self._file.seek(begin * self._row)
        data = bytearray()
        while len(data) < count * self._row and (more := self._file.read(count * self._row - len(data))):
            data += more
        return np.frombuffer(data, np.float32).reshape(-1, self._width)
